"""The anonymisation policy of a recipe: what may leave a row, and in which form. What no policy names is dropped."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass


class Action(enum.Enum):
    """What happens to a column."""

    TEXT = "text"
    """Free text: personal data found in it is replaced by keyed pseudonyms."""
    IDENTIFIER = "identifier"
    """Kept if it is one word of `[A-Za-z0-9._/-]`; anything else is replaced by its keyed pseudonym."""
    CATEGORY = "category"
    """Kept if it is one of the policy's values; anything else stops the run."""


class Recogniser(enum.Enum):
    """What is looked for in free text."""

    ADDRESS = "address"
    """Mail addresses, invalid domains too: every match of `recognisers.ADDRESS_PATTERN`."""
    NAME = "name"
    """Every name in the row's own From, To and Cc headers."""
    HOST = "host"
    """Hosts of URLs."""
    PHONE = "phone"
    IP = "ip"
    CARD = "card"


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnPolicy:
    """What happens to one output column."""

    column: str
    """`id`, `label` or `text`, the columns of a data set."""
    action: Action
    values: tuple[str, ...] = ()
    """The values a category may take."""

    def __post_init__(self) -> None:
        if self.column not in ("id", "label", "text"):
            raise ValueError(f"column {self.column!r}: a data set has id, label and text; all else is dropped")
        if (self.action is Action.CATEGORY) != bool(self.values):
            raise ValueError(f"column {self.column!r}: a category, and only a category, lists its values")


@dataclass(frozen=True, kw_only=True, slots=True)
class AnonymisationSpec:
    """Typed column policies, default deny, and the recognisers for free text."""

    columns: tuple[ColumnPolicy, ...]
    recognisers: tuple[Recogniser, ...] = tuple(Recogniser)
    """Empty turns recognition off: for the leak check's own test, never for a recipe."""
    phone_regions: tuple[str, ...] = ("US", "GB", "IE", "DE", "FR")
    """ISO 3166 codes whose national formats are recognised; international `+` formats always are."""
    min_name_characters: int = 3
    """Shorter names, and shorter parts of names, are left in the text: "Al" and "Jo" are words of many languages."""

    def __post_init__(self) -> None:
        names = [policy.column for policy in self.columns]
        if sorted(names) != ["id", "label", "text"]:
            raise ValueError(f"columns={names}: a policy for each of id, label and text, once each")
        if len(set(self.recognisers)) != len(self.recognisers):
            raise ValueError(f"recognisers={self.recognisers}: name each once")
        bad = [region for region in self.phone_regions if not re.fullmatch(r"[A-Z]{2}", region)]
        if bad or not self.phone_regions:
            raise ValueError(f"phone_regions={self.phone_regions}: name ISO 3166 codes of two capitals, at least one")
        if not 2 <= self.min_name_characters <= 20:
            raise ValueError(f"min_name_characters={self.min_name_characters}: 2 to 20")

    def policy(self, column: str) -> ColumnPolicy:
        """Return the policy of a column of the data set."""
        return next(policy for policy in self.columns if policy.column == column)
