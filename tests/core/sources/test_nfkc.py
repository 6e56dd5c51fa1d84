"""Normal form as Unicode has it, and no text that takes a machine to find it."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as some

from operators.core.sources import nfkc as module
from operators.core.sources.contents import normalise
from operators.core.sources.nfkc import nfkc
from tests.core.sources.hostile import growth

# Letters that marks join, marks that are two, letters of two and of eighteen, jamo, one that shows nothing.
LETTERS = (
    "ae \n\u00e9\u212b\u0301\u0308\u0323\u0344\u0f73\U0001d15e\U0001e8d0\ufb01\ufdfa\u1100\u1161\u11a8\u09be\u200b"
)
MARKS = 4_000_000
"""In two bytes each they are a line as long as a file may hold."""


@given(some.text(LETTERS, max_size=20))
def test_a_text_comes_out_as_unicode_says(text: str) -> None:
    """Whatever piece of it is normalised at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_AT_ONCE", 3)
        assert nfkc(text) == unicodedata.normalize("NFKC", text)


@given(some.lists(some.tuples(some.sampled_from(LETTERS), some.sampled_from([1, 29, 30, 31, 40])), max_size=8))
def test_what_came_out_stays(runs: list[tuple[str, int]]) -> None:
    """A text in normal form is left alone, where marks were left out too."""
    once = normalise("".join(letter * times for letter, times in runs))

    assert normalise(once) == once


@pytest.mark.parametrize(
    "text",
    ["a" + "\u0301\u0323" * (MARKS // 2), "\u0344" * MARKS, "\u0301\U0001e8d0" * (MARKS // 3), "\ufdfa" * 1_000_000],
)
def test_no_text_takes_its_normal_form_long_or_much(text: str) -> None:
    """A row of marks, or letters that each stand for many, cost seconds at most and no gigabyte."""
    start, grown = time.process_time(), growth()
    normalise(text)

    assert time.process_time() - start < 10
    assert grown() < 500_000_000
