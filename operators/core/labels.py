"""Labels as data sets hold them, by task: a name for a whole text, or spans of the text with a name each.

A label is one text in either case. That of a text classification is the name; that of a token classification lists
where each span begins and ends, in characters of the row's text, and its name: `[[0,5,"person"],[10,16,"location"]]`.
Spans hold nothing of the text itself. They come in its order and do not overlap; a row without any has `[]`.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from operators.core.errors import DataError

Task = Literal["text_classification", "token_classification"]
TASKS: tuple[Task, ...] = get_args(Task)


@dataclass(frozen=True, slots=True)
class LabelledSpan:
    """The characters [start, end) of a text, and what they are."""

    start: int
    end: int
    name: str


def encode_spans(spans: Iterable[LabelledSpan]) -> str:
    """Return spans as the label of a row; equal spans give equal labels."""
    return json.dumps([[span.start, span.end, span.name] for span in spans], separators=(",", ":"))


def decode_spans(label: str) -> tuple[LabelledSpan, ...]:
    """Return the spans of a label.

    Raises:
        DataError: It is none of a token classification, or its spans are out of order.
    """
    try:
        listed = json.loads(label)
        if not isinstance(listed, list):
            raise ValueError
        spans = tuple(LabelledSpan(start, end, name) for start, end, name in listed)
    except (ValueError, TypeError, RecursionError):
        raise DataError("a label lists no spans: [[start, end, name], ...] is expected") from None
    if not all(_is_span(span) for span in spans) or any(a.end > b.start for a, b in itertools.pairwise(spans)):
        raise DataError("the spans of a label must have 0 <= start < end and a name, in order and without overlap")
    return spans


def names_in(label: str, task: Task) -> tuple[str, ...]:
    """Return the names in a row's label, in order: one of a text, one a span of tokens."""
    return (label,) if task == "text_classification" else tuple(span.name for span in decode_spans(label))


def _is_span(span: LabelledSpan) -> bool:
    has_types = type(span.start) is int and type(span.end) is int and isinstance(span.name, str)
    return has_types and 0 <= span.start < span.end and bool(span.name)
