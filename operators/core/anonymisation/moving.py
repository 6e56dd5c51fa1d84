"""Where the labelled spans of a text lie once pieces of it were cut off or replaced by words of other lengths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from operators.core.labels import LabelledSpan


@dataclass(frozen=True, slots=True)
class Replaced:
    """The characters [start, end) of a text, which became so many others."""

    start: int
    end: int
    characters: int


def cut_spans(spans: Iterable[LabelledSpan], end: int) -> tuple[LabelledSpan, ...]:
    """Return what is left of spans in a text that was cut off at a character."""
    return tuple(replace(span, end=min(span.end, end)) for span in spans if span.start < end)


def move_spans(spans: Iterable[LabelledSpan], replaced: Sequence[Replaced]) -> tuple[LabelledSpan, ...]:
    """Return spans in the new text; one that shares a character with a replaced piece takes the whole replacement.

    Where two share characters with one piece the first takes it, and nothing may be left of the second.

    Args:
        spans: In order, without overlap.
        replaced: Pieces of the old text, in order, without overlap.
    """
    moved: list[LabelledSpan] = []
    for span in spans:
        start, end = _place(span.start, replaced, is_end=False), _place(span.end, replaced, is_end=True)
        start = max(start, moved[-1].end if moved else 0)
        if start < end:
            moved.append(replace(span, start=start, end=end))
    return tuple(moved)


def _place(place: int, replaced: Sequence[Replaced], *, is_end: bool) -> int:
    """Return where a border of a span lies in the new text; one inside a piece goes to its near end."""
    shift = 0
    for piece in replaced:
        if place < piece.end and (place > piece.start or (place == piece.start and not is_end)):
            return piece.start + shift + (piece.characters if is_end else 0)
        if place < piece.end:
            break
        shift += piece.characters - (piece.end - piece.start)
    return place + shift
