"""How validated rows become anonymised Parquet, and Parquet parts a data set."""

from __future__ import annotations

from dataclasses import dataclass

from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy, RiskSpec
from operators.core.models.spec import NAME_MODELS, BaseModelSpec
from operators.core.sources.spec import ColumnType, SourceSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class NameModelSpec:
    """A model that looks for names in free text which nothing in the row gives."""

    model: BaseModelSpec
    """A token classifier, pinned byte for byte, below the models folder."""
    types: tuple[str, ...] = ("PER",)
    """The types of entity that are names, as its labels call them without `B-` and `I-`."""
    min_probability: float = 0.5
    """From which a word is part of a name: lower finds more names, and more that are none."""

    def __post_init__(self) -> None:
        if set(self.model.architectures) - set(NAME_MODELS):
            raise ValueError(f"names: architectures {self.model.architectures}: choose among {NAME_MODELS}")
        if not self.types or len(set(self.types)) != len(self.types):
            raise ValueError(f"names: types={self.types}: at least one, each once")
        if not 0.01 <= self.min_probability <= 0.99:
            raise ValueError(f"names: min_probability={self.min_probability}: 0.01 to 0.99")


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestionSpec:
    """What is kept of a row."""

    max_text_characters: int = 4000
    """Longer texts are cut at the last white space before. A model of 128 tokens reads about the first 600."""
    names: NameModelSpec | None = None
    """What looks for names beside the policy's recognisers; None looks for those that the row itself gives."""

    def __post_init__(self) -> None:
        if not 200 <= self.max_text_characters <= 100_000:
            raise ValueError(f"max_text_characters={self.max_text_characters}: 200 to 100000")


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """How the parts of a window become one data set."""

    test_share: float = 0.2
    """Part of the distinct texts held out, chosen by a keyed hash of the text."""
    near_duplicates: float | None = None
    """Rows whose text is at least so similar to an earlier row's are dropped: Jaccard index of windows of eight bytes.
    None keeps them, and then nothing keeps near-copies of test rows out of train: right where a word decides."""
    target_bytes: int = 128 * 1024**2
    """Size of a Parquet file: a shard is closed by the row group, of at most 16 MiB of values, that reaches it."""
    risk: RiskSpec | None = None
    """How many rows must be alike; None asks for nothing."""
    tokens: int | None = None
    """Most tokens of a text, 8 to 4096, that shards hold in a column, by the tokenizer of the recipe's base model. A
    training with that tokenizer, and a `max_length` no longer, reads them instead of tokenising. None leaves it out."""

    def __post_init__(self) -> None:
        if not 0 < self.test_share < 1:
            raise ValueError(f"test_share={self.test_share}: above 0 and below 1")
        if self.near_duplicates is not None and not 0.7 <= self.near_duplicates <= 1:
            raise ValueError(f"near_duplicates={self.near_duplicates}: from 0.7 to 1, or None")
        if not 1024 <= self.target_bytes <= 4 * 1024**3:
            raise ValueError(f"target_bytes={self.target_bytes}: 1024 to {4 * 1024**3}")
        if self.tokens is not None and not 8 <= self.tokens <= 4096:
            raise ValueError(f"tokens={self.tokens}: from 8 to 4096, or None")


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputColumn:
    """A column that stands beside those that every data set has."""

    policy: ColumnPolicy
    type: ColumnType
    """Of what leaves; a value may be missing."""


_FITTING_TYPES = {
    Action.MASK: {ColumnType.TEXT, ColumnType.INTEGER},
    Action.PSEUDONYM: {ColumnType.TEXT, ColumnType.INTEGER},
    Action.IDENTIFIER: {ColumnType.TEXT, ColumnType.INTEGER},
    Action.CATEGORY: {ColumnType.TEXT, ColumnType.INTEGER},
    Action.TEXT: {ColumnType.TEXT},
}
"""The types that an action fits; what stands for a value is text."""


def output_columns(source: SourceSpec, policy: AnonymisationSpec) -> tuple[OutputColumn, ...]:
    """Return what a data set holds beside id, day, text and label, in the policy's order.

    Raises:
        ValueError: The policy names a column that the source does not have, an action does not fit a column's type or
            its label, or ids made of the rows would leave as they are.
    """
    _check_own(source, policy)
    types = {column.name: column.type for column in source.columns}
    columns = []
    for item in policy.further:
        if item.column not in types:
            raise ValueError(f"anonymisation: column {item.column!r} is none of the source's {list(types)}")
        kind = types[item.column]
        if kind not in _fitting(item):
            raise ValueError(
                f"anonymisation: {item.action.name} does not fit column {item.column!r} of type {kind.value}"
            )
        if item.action is not Action.DROP:
            left = kind if item.action is Action.KEEP else ColumnType.TEXT
            columns.append(OutputColumn(policy=item, type=left))
    return tuple(columns)


def _check_own(source: SourceSpec, policy: AnonymisationSpec) -> None:
    if not source.has_ids and policy.policy("id").action is not Action.PSEUDONYM:
        raise ValueError(
            "anonymisation: rows without an id get a digest of what they hold, by which a guess could be checked: "
            "give the column 'id' the action PSEUDONYM"
        )
    if source.has_spans != (policy.task == "token_classification"):
        raise ValueError(
            "anonymisation: the label 'entities' of CoNLL files beside their 'text' takes the action SPANS, no other "
            "label does: change the action or the column"
        )


def check_risk(source: SourceSpec, policy: AnonymisationSpec, risk: RiskSpec) -> None:
    """Return if all that a risk is measured on stands in the data set as what can be counted.

    Raises:
        ValueError: A column does not; the message names it.
    """
    there = {"label", *(column.policy.column for column in output_columns(source, policy))}
    for name in risk.columns:
        if name not in there or policy.policy(name).action is Action.TEXT:
            raise ValueError(f"risk: column {name!r} is none that the data set has and that can be counted: {there}")


def _fitting(policy: ColumnPolicy) -> set[ColumnType]:
    if policy.action is not Action.GENERALISE:
        return _FITTING_TYPES.get(policy.action, set(ColumnType))
    if policy.width is not None:
        return {ColumnType.INTEGER, ColumnType.NUMBER}
    return {ColumnType.TIMESTAMP} if policy.period is not None else {ColumnType.TEXT}
