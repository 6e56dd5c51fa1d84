"""Spans as tags of words, and back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.labels import LabelledSpan
from operators.core.models.tags import OUTSIDE, UNTOLD, num_tags, read_spans, tag_tokens
from operators.core.models.tokenising import encode_words
from tests.core.models.test_tokenising import tokenizer

NAMES = ("group", "person")
PIECES = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["a", "ab", "abba", "bbb"]), min_size=1, max_size=3), st.sampled_from([-1, 0, 1])
    ),
    max_size=6,
)


@settings(deadline=None)
@given(pieces=PIECES)
def test_spans_of_whole_words_come_back(pieces: list[tuple[list[str], int]]) -> None:
    """Whatever words they are of, touching ones of one name too: each begins with its own tag."""
    text, spans = "", []
    for words, number in pieces:
        begin = len(text) + bool(text)
        text = f"{text} {' '.join(words)}".strip()
        if number >= 0:
            spans.append(LabelledSpan(begin, len(text), NAMES[number]))
    (words_of,) = encode_words(tokenizer(), [text], 512)
    tags = tag_tokens(words_of, spans, NAMES)

    assert read_spans(words_of, tags[words_of.firsts].tolist(), NAMES) == tuple(spans)
    assert (tags != UNTOLD).sum() == len(words_of.firsts) == len(text.split())
    assert tags.max() < num_tags(len(NAMES))


def test_punctuation_is_a_word_of_its_own() -> None:
    """A full stop behind a name is none of it, with a blank before it or not."""
    (words,) = encode_words(tokenizer(), ["ab bb."], 512)

    assert words.places == [(0, 2), (3, 5), (5, 6)]
    assert read_spans(words, [0, 3, 0], NAMES) == (LabelledSpan(3, 5, "person"),)


def test_what_is_cut_off_has_no_tag() -> None:
    """Words beyond the most tokens are not told, and not found."""
    (words,) = encode_words(tokenizer(), ["a b a"], 4)

    assert words.places == [(0, 1), (2, 3)]
    assert tag_tokens(words, [LabelledSpan(4, 5, "person")], NAMES).tolist() == [UNTOLD, OUTSIDE, OUTSIDE, UNTOLD]


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ([2, 2, 0], [(0, 3, "group")]),
        ([1, 4, 4], [(0, 1, "group"), (2, 5, "person")]),
        ([3, 3, 4], [(0, 1, "person"), (2, 5, "person")]),
        ([0, 4, 2], [(2, 3, "person"), (4, 5, "group")]),
        ([0, 0, 0], []),
    ],
)
def test_tags_against_the_grammar_are_read_as_conll_does(tags: list[int], spans: list[tuple[int, int, str]]) -> None:
    """What goes on with another name, or with nothing, begins."""
    (words,) = encode_words(tokenizer(), ["a b a"], 512)

    assert read_spans(words, tags, NAMES) == tuple(LabelledSpan(*span) for span in spans)
