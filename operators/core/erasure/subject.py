"""Whom a request is about, as a person typed it: never stored, never printed, never in a message."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from operators.core.sources.contents import normalise

MIN_CHARACTERS = 4
"""Of an identifier: a shorter one stands in half of all rows by chance."""
_NAMED = re.compile(r"(?P<name>.*?)\s*<(?P<value>[^<>]+)>")


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A person by names and identifiers, or rows by their ids."""

    names: tuple[str, ...] = field(default=(), repr=False)
    """Whole names; single words of them are not looked for, since they are others' names too."""
    values: tuple[str, ...] = field(default=(), repr=False)
    """Mail addresses, telephone numbers, customer numbers: each belongs to this person alone."""
    row_ids: tuple[str, ...] = field(default=(), repr=False)
    """Ids of rows, as the source has them or as they are stored."""
    day: str | None = None
    """With it, ids of rows mean those of this day only, `YYYY-MM-DD`."""

    def __post_init__(self) -> None:
        # No message repeats what was typed.
        if not self.values and not self.row_ids:
            raise ValueError("nobody is named: give a mail address, another identifier of a person, or the id of a row")
        if any(len(value) < MIN_CHARACTERS for value in self.values):
            raise ValueError(f"an identifier has fewer than {MIN_CHARACTERS} characters: it would match other people")
        if any("@" not in value and not any(character.isdigit() for character in value) for value in self.values):
            raise ValueError(
                "a word without @ or digit is no identifier: many people share a name, so give it as 'Name <address>'"
            )
        if any(len(name.split()) < 2 for name in self.names):
            raise ValueError("a name of one word is many people's: give the whole name, or the address alone")

    @classmethod
    def parse(cls, words: list[str], row_ids: list[str], day: str | None) -> Subject:
        """Read `address`, `Name <address>` or another identifier, each in a form of its own.

        Raises:
            ValueError: They name nobody, or too many.
        """
        names, values = [], []
        for word in words:
            text = normalise(word)
            named = _NAMED.fullmatch(text)
            names += [named["name"].strip("\"' ")] if named and named["name"].strip("\"' ") else []
            values.append(named["value"].strip() if named else text)
        return cls(names=tuple(names), values=tuple(values), row_ids=tuple(row_ids), day=day)

    def is_in(self, text: str) -> bool:
        """Say whether a text names this person."""
        return any(value.casefold() in text.casefold() for value in (*self.names, *self.values))
