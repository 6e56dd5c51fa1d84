"""A text as recognisers see it that know only ASCII."""

from __future__ import annotations

import unicodedata

_MINUS = 0x2212


def plain(text: str) -> str:
    """Return a text of the same length in ASCII: all digits as 0 to 9, dashes as hyphens, other characters as blanks.

    To a pattern, a Chinese letter is part of the number that stands beside it, and an Arabic digit is none.
    """
    return text if text.isascii() else text.translate(_ASCII)


class _Ascii(dict[int, int]):
    """What stands for each character, filled as characters come."""

    def __missing__(self, code: int) -> int:
        character = chr(code)
        if code < 128:
            found = code
        elif character.isdecimal():
            found = ord(str(unicodedata.decimal(character)))
        else:
            found = ord("-" if unicodedata.category(character) == "Pd" or code == _MINUS else " ")
        self[code] = found
        return found


_ASCII = _Ascii()
