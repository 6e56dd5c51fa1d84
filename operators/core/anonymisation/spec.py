"""The anonymisation policy of a recipe: what may leave a row, and in which form. What no policy names is dropped."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from operators.core.labels import Task

OWN_COLUMNS = ("id", "label", "text")
"""The columns that every data set has, whatever the source calls them."""

ID_COUNTRIES = ("CA", "DE", "ES", "FI", "GB", "IN", "IT", "KR", "PL", "SE", "TH", "TR", "US")
"""Countries, by ISO 3166 code, whose identity numbers can be looked for."""


class Action(enum.Enum):
    """What happens to a column."""

    KEEP = "keep"
    """As it is, with its type, for what names nobody; a mail address in it stops the run."""
    DROP = "drop"
    """Never leaves, and what it holds is looked for in the row's free text."""
    MASK = "mask"
    """`****` and the last characters; the whole is looked for in the row's free text."""
    PSEUDONYM = "pseudonym"
    """Its keyed pseudonym, in the row's free text too."""
    GENERALISE = "generalise"
    """A number's range, a moment's period or the beginning of a code."""
    CATEGORY = "category"
    """Kept if it is one of the policy's values; anything else stops the run."""
    IDENTIFIER = "identifier"
    """Kept if it is one word of `[A-Za-z0-9._/-]`; anything else is replaced by its keyed pseudonym."""
    SPANS = "spans"
    """Labelled spans of the text, moved with what is replaced in it; kept if the policy's values list each one's name,
    anything else stops the run."""
    TEXT = "text"
    """Free text: personal data found in it is replaced by keyed pseudonyms."""


class Recogniser(enum.Enum):
    """What is looked for in free text."""

    ADDRESS = "address"
    """Mail addresses, invalid domains too: every match of `addresses.ADDRESS_PATTERN`."""
    NAME = "name"
    """Every name in the row's own From, To and Cc headers, and in its columns that hold names."""
    HOST = "host"
    """Hosts of URLs."""
    PHONE = "phone"
    IP = "ip"
    CARD = "card"
    IBAN = "iban"
    """Bank account numbers with right check digits."""
    WALLET = "wallet"
    """Bitcoin and Ethereum addresses."""
    NATIONAL_ID = "nationalid"
    """Identity, tax and insurance numbers of `id_countries`."""


class Period(enum.Enum):
    """What a moment is generalised to, in UTC; the value is how much of `2024-05-01` stays."""

    DAY = 10
    MONTH = 7
    YEAR = 4


FITTING = {
    "id": frozenset({Action.KEEP, Action.PSEUDONYM, Action.IDENTIFIER}),
    "label": frozenset({Action.KEEP, Action.PSEUDONYM, Action.IDENTIFIER, Action.CATEGORY, Action.SPANS}),
    "text": frozenset({Action.KEEP, Action.TEXT}),
}
"""What may happen to the columns that every data set has."""
FITTING_OTHERS = frozenset(Action) - {Action.SPANS}
"""What may happen to any other column."""
SOUGHT = frozenset({Action.DROP, Action.MASK, Action.PSEUDONYM})
"""Actions of columns whose values are looked for in the row's free text."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnPolicy:
    """What happens to one column."""

    column: str
    """`id`, `label` or `text`, which every data set has, or a column of the source that is to stand beside them."""
    action: Action
    values: tuple[str, ...] = ()
    """CATEGORY: the values that it may take. SPANS: the names that spans may have."""
    visible: int | None = None
    """MASK: how many characters stay at the end, 0 to 8, at most half of them."""
    width: float | None = None
    """GENERALISE, of numbers: how wide the ranges are; one begins at 0."""
    period: Period | None = None
    """GENERALISE, of moments."""
    prefix: int | None = None
    """GENERALISE, of codes: how many characters stay at the beginning, 1 to 10."""
    holds: Recogniser | None = None
    """DROP, MASK, PSEUDONYM: what the column holds, where that is looked for in texts anyway: both get one pseudonym,
    and names are found by their parts."""

    def __post_init__(self) -> None:
        if self.column == "day" or not self.column:
            raise ValueError(f"column {self.column!r}: no name for a column, or that of a data set's own; rename it")
        if self.action not in (allowed := FITTING.get(self.column, FITTING_OTHERS)):
            fitting = sorted(action.name for action in allowed)
            raise ValueError(f"column {self.column!r}: {self.action.name} does not fit it; one of {fitting} does")
        self._check_options()
        self._check_ranges()

    def _check_options(self) -> None:
        of = {
            Action.CATEGORY: {"values"},
            Action.SPANS: {"values"},
            Action.MASK: {"visible"},
            Action.GENERALISE: {"width", "period", "prefix"},
        }
        wanted = of.get(self.action, set())
        given = {name for name in set().union(*of.values()) if getattr(self, name) not in (None, ())}
        if not given <= wanted or len(given) != min(1, len(wanted)):
            needs = f"one of {sorted(wanted)}" if wanted else "no option"
            raise ValueError(f"column {self.column!r}: {self.action.name} takes {needs}, not {sorted(given)}")
        if self.holds is not None and self.action not in SOUGHT:
            raise ValueError(f"column {self.column!r}: holds={self.holds.name} is for DROP, MASK and PSEUDONYM")

    def _check_ranges(self) -> None:
        if self.visible is not None and not 0 <= self.visible <= 8:
            raise ValueError(f"column {self.column!r}: visible={self.visible}: 0 to 8 characters")
        if self.prefix is not None and not 1 <= self.prefix <= 10:
            raise ValueError(f"column {self.column!r}: prefix={self.prefix}: 1 to 10 characters")
        if self.width is not None and not 0 < self.width < float("inf"):
            raise ValueError(f"column {self.column!r}: width={self.width}: above 0")

    @property
    def kind(self) -> str:
        """What its pseudonyms are called after."""
        return "id" if self.holds is None else self.holds.value


@dataclass(frozen=True, kw_only=True, slots=True)
class RiskSpec:
    """How many rows must be alike before a data set is published."""

    quasi_identifiers: tuple[str, ...]
    """Columns of the data set that together could single somebody out: age, postcode, day of birth."""
    min_k: int = 5
    """k-anonymity: rows that have the same quasi-identifiers, at least 2."""
    sensitive: tuple[str, ...] = ("label",)
    """Columns whose value must not follow from the quasi-identifiers."""
    min_l: int = 1
    """l-diversity: distinct values of each sensitive column among such rows; 1 asks for nothing."""

    def __post_init__(self) -> None:
        if not self.quasi_identifiers or len(set(self.columns)) != len(self.columns):
            raise ValueError(
                f"quasi_identifiers={self.quasi_identifiers}, sensitive={self.sensitive}: each column once"
            )
        if self.min_k < 2 or self.min_l < 1 or (self.min_l > 1 and not self.sensitive):
            raise ValueError(f"min_k={self.min_k}, min_l={self.min_l}: from 2 and from 1; l needs a sensitive column")

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that it looks at."""
        return (*self.quasi_identifiers, *self.sensitive)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnonymisationSpec:
    """Typed column policies, default deny, and the recognisers for free text."""

    columns: tuple[ColumnPolicy, ...]
    """One for each of id, label and text; more for columns of the source that stand beside them, in this order."""
    recognisers: tuple[Recogniser, ...] = tuple(Recogniser)
    """Empty turns recognition off: for the leak check's own test, never for a recipe."""
    phone_regions: tuple[str, ...] = ("US", "GB", "IE", "DE", "FR")
    """ISO 3166 codes whose national formats are recognised; international `+` formats always are."""
    id_countries: tuple[str, ...] = ID_COUNTRIES
    """Countries whose identity numbers are recognised."""
    reversible: bool = False
    """Whether originals of pseudonyms are kept, sealed for the vault, beside the parts; see docs/data.md."""
    min_name_characters: int = 3
    """Shorter names, parts of names and values of columns are left in the text: "Al" and "Jo" are everyday words."""

    def __post_init__(self) -> None:
        names = [policy.column for policy in self.columns]
        if len(set(names)) != len(names) or not set(OWN_COLUMNS) <= set(names):
            raise ValueError(f"columns={names}: a policy for each of id, label and text, and none twice")
        if len(set(self.recognisers)) != len(self.recognisers):
            raise ValueError(f"recognisers={self.recognisers}: name each once")
        bad = [region for region in self.phone_regions if not re.fullmatch(r"[A-Z]{2}", region)]
        if bad or not self.phone_regions:
            raise ValueError(f"phone_regions={self.phone_regions}: name ISO 3166 codes of two capitals, at least one")
        if unknown := set(self.id_countries) - set(ID_COUNTRIES):
            raise ValueError(f"id_countries={self.id_countries}: {sorted(unknown)} are none of {ID_COUNTRIES}")
        if not 2 <= self.min_name_characters <= 20:
            raise ValueError(f"min_name_characters={self.min_name_characters}: 2 to 20")

    def policy(self, column: str) -> ColumnPolicy:
        """Return the policy of a column."""
        return next(policy for policy in self.columns if policy.column == column)

    @property
    def task(self) -> Task:
        """What rows with such labels teach: spans are for tokens, anything else is for a text."""
        return "token_classification" if self.policy("label").action is Action.SPANS else "text_classification"

    @property
    def further(self) -> tuple[ColumnPolicy, ...]:
        """The policies of columns that are none of every data set's own."""
        return tuple(policy for policy in self.columns if policy.column not in OWN_COLUMNS)
