"""The expectation suite of a recipe: what every row and every file must satisfy."""

from __future__ import annotations

import re
from dataclasses import dataclass

Argument = str | int | float | bool | tuple[str | int | float | bool, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """One Great Expectations expectation, and what follows when it is not met.

    Columns are those of the source and the derived ones of `operators.core.validation.table`: `text_characters`,
    `decodable`, `sent_offset_days`.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ValidationSpec:
    """The suite, in the order in which a row's first failure names its reason."""

    expectations: tuple[Expectation, ...]
    max_quarantined_share: float = 0.25
    """Part of a group's rows that may be quarantined; above it the source itself is broken and the run stops."""

    def __post_init__(self) -> None:
        if not self.expectations:
            raise ValueError("expectations is empty: data that nobody checks must not be trained on")
        if len(set(self.expectations)) != len(self.expectations):
            raise ValueError("an expectation is listed twice: remove one")
        if not 0 <= self.max_quarantined_share <= 1:
            raise ValueError(f"max_quarantined_share={self.max_quarantined_share}: 0 to 1")
