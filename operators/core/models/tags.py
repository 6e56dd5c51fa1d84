"""Spans as tags of words, and back: `O`, then `B-` and `I-` of each name, numbered in the order of the names.

A word is what the tokeniser takes apart at blanks and punctuation, so that a full stop behind a name is none of it in
any text, whoever wrote it. A model tells the tag of a word at its first token; the others say nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from operators.core.labels import LabelledSpan
from operators.core.models.tokenising import Words

OUTSIDE = 0
UNTOLD = -100
"""Tag of a token that begins no word: special ones, and all but the first of a word."""

Tags = npt.NDArray[np.int64]


def num_tags(num_names: int) -> int:
    """Return how many tags there are for so many names."""
    return 2 * num_names + 1


def tag_tokens(words: Words, spans: Iterable[LabelledSpan], names: Sequence[str]) -> Tags:
    """Return the tag of each token, shape (tokens,).

    A word belongs to the span that it shares a character with. What lies beyond the last token has no tag.
    """
    tags = np.full(len(words.ids), UNTOLD, dtype=np.int64)
    tags[words.firsts] = OUTSIDE
    numbers = {name: number for number, name in enumerate(names)}
    for span in spans:
        inside = [
            first
            for first, (start, end) in zip(words.firsts, words.places, strict=True)
            if start < span.end and span.start < end
        ]
        tags[inside] = 2 * numbers[span.name] + 2
        tags[inside[:1]] = 2 * numbers[span.name] + 1
    return tags


def read_spans(words: Words, tags: Iterable[int], names: Sequence[str]) -> tuple[LabelledSpan, ...]:
    """Return the spans that the tags of a text's words make.

    `I-` after another name or none begins a span, as in CoNLL's own evaluation: a model need not keep to the grammar.
    """
    spans: list[LabelledSpan] = []
    before = OUTSIDE
    for (start, end), tag in zip(words.places, tags, strict=True):
        name = names[(tag - 1) // 2] if tag != OUTSIDE else ""
        goes_on = tag != OUTSIDE and tag % 2 == 0 and before in (tag, tag - 1)
        if goes_on:
            spans[-1] = LabelledSpan(spans[-1].start, end, name)
        elif tag != OUTSIDE:
            spans.append(LabelledSpan(start, end, name))
        before = tag
    return tuple(spans)
