"""Where known values stand in a text: entities that the row itself names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN, normal_form
from operators.core.anonymisation.spans import Span

LONG = 6
"""A value of so many characters is found inside of words too: `K12345` in `refK12345b`."""


@dataclass(frozen=True, slots=True)
class Entity:
    """A value of a row's column that must not stand in its free text."""

    kind: str
    """What its pseudonym is called after."""
    value: str
    """Normalised as the text is."""


def find_entities(text: str, entities: Iterable[Entity], min_characters: int) -> Iterator[Span]:
    """Yield where values of the row's own columns stand, in any case, over line ends too; not inside of pseudonyms.

    Shorter ones than `min_characters` are not looked for, those below six only between what is no letter or digit.
    """
    taken = [match.span() for match in PSEUDONYM_PATTERN.finditer(text)]
    haystack = text.replace("\n", " ")
    for entity in entities:
        if len(entity.value) < min_characters:
            continue
        for start in occurrences(haystack, entity.value):
            end = start + len(entity.value)
            inside = any(start < there and here < end for here, there in taken)
            if not inside and (len(entity.value) >= LONG or _stands_alone(text, start, end)):
                yield Span(start=start, end=end, kind=entity.kind, value=normal_form(entity.kind, entity.value))


def occurrences(text: str, value: str) -> Iterator[int]:
    """Yield where a value begins, in any case, left to right; none overlaps the one before."""
    folded, wanted = text.lower(), value.lower()
    if len(folded) != len(text) or len(wanted) != len(value):
        # Some capitals are two characters in lower case: places would no longer agree.
        folded, wanted = text, value
    start = folded.find(wanted)
    while start >= 0:
        yield start
        start = folded.find(wanted, start + len(wanted))


def _stands_alone(text: str, start: int, end: int) -> bool:
    # A letter beyond ASCII beside it may be a script that writes no spaces: better one word too many replaced.
    around = text[start - 1 : start] + text[end : end + 1]
    return not any(character.isascii() and character.isalnum() for character in around)
