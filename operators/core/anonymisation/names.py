"""Names of people, taken from a row's own headers and found again in its text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator

from operators.core.anonymisation.common_words import COMMON_WORDS
from operators.core.anonymisation.lines import Finder
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN, normal_form
from operators.core.anonymisation.spans import Span

WORD = re.compile(r"\w+")
UNSPACED = re.compile(r"[\u0e00-\u0eff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""Scripts that write no spaces between words: Thai, Lao, Chinese, Japanese, Korean."""
MAX_GAP = 3
"""Most characters between two words of one name: `Smith, John`, `O'Brien`, a line break."""
MAX_NAMES = 2000
"""Names of one row that are looked for; a mail that names more is a list, not a letter."""

Words = tuple[str, ...]


def find_names(text: str, names: Iterable[str], min_characters: int) -> Iterator[Span]:
    """Yield where a row's people are named: whole names, and single words of them.

    Whole names count in any case. A single word (a first name, a surname, a nickname) counts if it has at least
    `min_characters` letters and is no everyday word: "Will" and "List" stay, "Will Smith" does not. Names in scripts
    without spaces count as they stand, from two characters on.
    """
    names = list(names)[:MAX_NAMES]
    wanted = _wanted(names, min_characters)
    if wanted:
        # In a script without spaces a Latin name would be part of the word around it.
        yield from _in_words(text if text.isascii() else UNSPACED.sub(" ", text), wanted)
    for name in names:
        if UNSPACED.search(name) and len(name) > 1:
            for match in re.finditer(re.escape(name), text):
                yield Span(start=match.start(), end=match.end(), kind="name", value=name)


def finder_by_model(find: Callable[[str], Iterable[tuple[int, int]]], min_characters: int) -> Finder:
    """Return a finder of the names that a model finds in a line; a name and its header have one pseudonym.

    Args:
        find: Gives the places of names in a line.
        min_characters: Names of fewer letters stay.
    """

    def find_in(line: str) -> Iterator[Span]:
        taken = [match.span() for match in PSEUDONYM_PATTERN.finditer(line)]
        for start, end in find(line):
            # A pseudonym stands for itself, whatever a model takes it for.
            is_free = all(end <= left or right <= start for left, right in taken)
            if is_free and _letters(line[start:end]) >= min_characters:
                yield Span(start=start, end=end, kind="name", value=normal_form("name", line[start:end]))

    return find_in


def _wanted(names: Iterable[str], min_characters: int) -> dict[str, list[Words]]:
    """Return names as words in lower case, by their first word, longest first."""
    found: set[Words] = set()
    for name in names:
        if "@" in name:
            continue
        words = tuple(word.casefold() for word in WORD.findall(name))
        singles = {(word,) for word in words if _telling(word, min_characters)}
        found |= singles
        if len(words) > 1 and any(_letters(word) >= min_characters for word in words):
            found.add(words)
    by_first: dict[str, list[Words]] = {}
    for words in sorted(found, key=lambda w: (-len(w), w)):
        by_first.setdefault(words[0], []).append(words)
    return by_first


def _telling(word: str, min_characters: int) -> bool:
    return _letters(word) >= min_characters and word not in COMMON_WORDS


def _letters(word: str) -> int:
    return sum(character.isalpha() for character in word)


def _in_words(text: str, wanted: dict[str, list[Words]]) -> Iterator[Span]:
    places = [(match[0].casefold(), match.start(), match.end()) for match in WORD.finditer(text)]
    index = 0
    while index < len(places):
        words = next((w for w in wanted.get(places[index][0], ()) if _stands(w, places, index)), None)
        if words is None:
            index += 1
            continue
        last = index + len(words) - 1
        yield Span(start=places[index][1], end=places[last][2], kind="name", value=" ".join(words))
        index = last + 1


def _stands(words: Words, places: list[tuple[str, int, int]], index: int) -> bool:
    if index + len(words) > len(places):
        return False
    here = places[index : index + len(words)]
    gaps = (right[1] - left[2] for left, right in itertools.pairwise(here))
    return words == tuple(place[0] for place in here) and all(gap <= MAX_GAP for gap in gaps)
