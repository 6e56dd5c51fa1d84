"""Unicode's normal form NFKC, in time and room that a text's length bounds."""

from __future__ import annotations

import functools
import re
import unicodedata

MOST_MARKS = 30
"""Combining characters in a row that stay, as in Unicode's stream-safe texts: to sort them takes time by the square."""
MOST_GROWTH, FREE_CHARACTERS = 2, 1024**2
"""How much longer a text may become, and how long it may at any rate: one letter, U+FDFA, stands for eighteen."""
_AT_ONCE = 256 * 1024
_ASTRAL = re.compile("[\U00010000-\U0001efff]")
"""Characters of which some are marks, and emoji none."""


def nfkc(text: str) -> str:
    """Return a text in normal form, without the marks of a row behind the thirtieth; a long one at most twice as long.

    What came out stays as it is.
    """
    if text.isascii():
        return text
    text = _without_rows_of_marks(text)
    room = max(MOST_GROWTH * len(text), FREE_CHARACTERS)
    pieces = []
    for start in range(0, len(text), _AT_ONCE):
        pieces.append(unicodedata.normalize("NFKC", text[start : start + _AT_ONCE])[:room])
        room -= len(pieces[-1])
    # What stood on both sides of a cut may be one character.
    plain = pieces[0] if len(pieces) == 1 else unicodedata.normalize("NFKC", "".join(pieces))
    # Again: one mark may have become two.
    return _without_rows_of_marks(plain)


def _without_rows_of_marks(text: str) -> str:
    return _rows_of_marks(bool(_ASTRAL.search(text))).sub(r"\1", text)


@functools.cache
def _rows_of_marks(astral: bool) -> re.Pattern[str]:
    """Return what finds the marks of longer rows, the first as a group; those of rare scripts make it slow."""
    marks = "".join(filter(unicodedata.combining, map(chr, range(0x300, 0x1F000 if astral else 0x10000))))
    return re.compile(f"([{marks}]{{{MOST_MARKS}}})[{marks}]+")
