"""Places in a text that hold personal data, and how overlapping ones are settled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Personal data at [start, end) of a text."""

    start: int
    end: int
    kind: str
    """What its pseudonym is called after."""
    value: str
    """The value in its normal form, from which the pseudonym follows."""


RANK = {
    kind: -place
    for place, kind in enumerate(
        ("address", "id", "iban", "card", "wallet", "ip", "host", "phone", "nationalid", "name")
    )
}
"""Which of two overlapping spans speaks: the host inside an address is not told from the address."""


def settle(spans: Iterable[Span]) -> list[Span]:
    """Return spans that do not overlap, by position, and that cover every character that any span covered.

    Of overlapping ones the highest rank speaks for all of them, then the longest: no half of a loser stays in the text.
    """
    chosen: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if chosen and span.start < chosen[-1].end:
            chosen[-1] = _merged(chosen[-1], span)
        else:
            chosen.append(span)
    return chosen


def _merged(left: Span, right: Span) -> Span:
    speaker = max(left, right, key=lambda s: (RANK[s.kind], s.end - s.start))
    return Span(start=left.start, end=max(left.end, right.end), kind=speaker.kind, value=speaker.value)
