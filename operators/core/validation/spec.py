"""The expectation suite of a recipe: what every row and every file must satisfy."""

from __future__ import annotations

import re
from dataclasses import dataclass

Argument = str | int | float | bool | tuple[str | int | float | bool, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """One Great Expectations expectation, and what follows when it is not met.

    Columns are those of the source and the derived ones of `operators.core.validation.table`: `wrong_type`,
    `text_characters`, `decodable`, `sent_offset_days`.
    """

    kind: str
    """Name in Great Expectations, e.g. `expect_column_values_to_be_unique`."""
    column: str | None = None
    """The column it looks at; None for the table as a whole."""
    arguments: tuple[tuple[str, Argument], ...] = ()
    """Its other arguments, by name."""
    reason: str | None = None
    """Rows that fail are quarantined under this word. None: a failure stops the run."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"expect_[a-z_]{1,80}", self.kind):
            raise ValueError(f"expectation {self.kind!r}: use the snake-case name of a Great Expectations expectation")
        if self.reason is not None and not re.fullmatch(r"[a-z][a-z_]{0,40}", self.reason):
            raise ValueError(f"reason {self.reason!r}: use a few lower-case words joined by '_'")
        if self.reason is not None and self.column is None:
            raise ValueError(f"{self.kind}: only an expectation on a column can quarantine rows; drop the reason")
        for name, value in self.arguments:
            if not all(isinstance(one, str | int | float | bool) for one in _each(value)):
                raise ValueError(f"{self.kind}: {name}={value!r}: a word, a number, True, False, or a tuple of these")

    def asks_for(self, column: str) -> bool:
        """Return whether it may look at a column's values: it is its own, or an argument, a condition say, names it."""
        values = [value for _, argument in self.arguments for value in _each(argument)]
        return column == self.column or any(isinstance(value, str) and column in value for value in values)

    @classmethod
    def of_rows(cls, column: str, kind: str, reason: str, **arguments: Argument) -> Expectation:
        """Return what every row must meet; one that fails is quarantined under the reason.

        Args:
            column: The column it looks at.
            kind: The end of its name, after `expect_column_values_to_`.
            reason: A few lower-case words joined by `_`.
            arguments: Its other arguments.
        """
        kind = f"expect_column_values_to_{kind}"
        return cls(kind=kind, column=column, arguments=tuple(arguments.items()), reason=reason)

    @classmethod
    def of_file(cls, kind: str, **arguments: Argument) -> Expectation:
        """Return what a file must meet as a whole; a failure stops the run.

        Args:
            kind: The end of its name, after `expect_table_`.
            arguments: Its arguments.
        """
        return cls(kind=f"expect_table_{kind}", arguments=tuple(arguments.items()))


def _each(argument: Argument) -> tuple[str | int | float | bool, ...]:
    return argument if isinstance(argument, tuple) else (argument,)


@dataclass(frozen=True, kw_only=True, slots=True)
class Levels:
    """From which size on a drift is told of, and from which on it stops the run; sizes are 0 to 1."""

    warn: float
    block: float | None
    """None: it stops none, whatever its size."""

    def __post_init__(self) -> None:
        if not 0 < self.warn <= (1 if self.block is None else self.block) <= 1:
            raise ValueError(f"levels warn={self.warn}, block={self.block}: 0 < warn <= block <= 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class DriftSpec:
    """How far new rows may be from those of the live release."""

    labels: Levels = Levels(warn=0.3, block=0.6)
    """Of labels and of repeated rows. Between one day of real mail and its sixty days before, up to 0.46 was seen."""
    numbers: Levels = Levels(warn=0.3, block=0.6)
    """Of lengths and shares of a text: up to 0.58 was seen."""
    lost_label: Levels = Levels(warn=0.9, block=None)
    """Of the label that lost most, the part of its rows that is gone: 1 on 14 of 64 days of real mail, without spam."""
    vocabulary: Levels = Levels(warn=0.25, block=0.5)
    """Up to 0.24 was seen."""
    label_words: Levels = Levels(warn=0.15, block=0.3)
    """Of the words that go with each label: up to 0.08 was seen, 0.22 and more where labels are dealt out at random."""
    max_chance: float = 1e-4
    """A difference that is more probable than this where nothing changed is none."""
    min_rows: int = 30
    """With fewer new rows nothing is judged."""
    blocks: bool = True
    """Whether a drift can stop a run; else it is only told of."""

    def __post_init__(self) -> None:
        if not 0 < self.max_chance < 1:
            raise ValueError(f"max_chance={self.max_chance}: above 0 and below 1")
        if self.min_rows < 2:
            raise ValueError(f"min_rows={self.min_rows}: at least 2")


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationSpec:
    """The suite, in the order in which a row's first failure names its reason."""

    expectations: tuple[Expectation, ...]
    max_quarantined_share: float = 0.25
    """Part of a group's rows that may be quarantined; above it the source itself is broken and the run stops."""
    drift: DriftSpec = DriftSpec()

    def __post_init__(self) -> None:
        if not self.expectations:
            raise ValueError("expectations is empty: data that nobody checks must not be trained on")
        if len(set(self.expectations)) != len(self.expectations):
            raise ValueError("an expectation is listed twice: remove one")
        if not 0 <= self.max_quarantined_share <= 1:
            raise ValueError(f"max_quarantined_share={self.max_quarantined_share}: 0 to 1")
