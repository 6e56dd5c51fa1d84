"""One row of a source as one row of a part: what the policy lets through, and in which form."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from operators.core.anonymisation.anonymiser import Anonymiser, check_clean
from operators.core.anonymisation.moving import cut_spans
from operators.core.anonymisation.occurrences import Entity
from operators.core.anonymisation.spec import SOUGHT, Action, AnonymisationSpec, ColumnPolicy, Recogniser
from operators.core.errors import DataError
from operators.core.ingestion.spec import IngestionSpec, output_columns
from operators.core.labels import LabelledSpan, decode_spans, encode_spans
from operators.core.sources.contents import normalise, read_content
from operators.core.sources.spec import ROW_SHA256, SourceSpec

if TYPE_CHECKING:
    from operators.core.models.names import NameModel

_SOUGHT = SOUGHT | {Action.IDENTIFIER}
"""Columns whose values are looked for in the row's text; of identifiers those that do not leave as they are."""


class RowAnonymiser:
    """Makes rows of a part.

    Args:
        source: What the rows come from.
        policy: What may leave them.
        spec: What is kept of a text.
        key: The key of the pseudonyms.
        names: What looks for names in texts, if the spec asks for a model.
    """

    def __init__(
        self,
        source: SourceSpec,
        policy: AnonymisationSpec,
        spec: IngestionSpec,
        key: bytes,
        names: NameModel | None = None,
    ) -> None:
        self._source = source
        self._spec = spec
        self._anonymiser = Anonymiser(policy, key, None if names is None else names.find)
        self._has_spans = policy.task == "token_classification"
        self._further = output_columns(source, policy)
        own = {"id": source.id_column, "label": source.label_column}
        sought = [(item, own.get(item.column, item.column)) for item in policy.columns if item.action in _SOUGHT]
        # A digest of the row can stand in no text of it.
        self._sought = [(item, column) for item, column in sought if column != ROW_SHA256]

    def row(self, row: Mapping[str, Any], day: datetime.date) -> dict[str, Any] | None:
        """Return what leaves a row, or None where nothing is left of its text.

        Raises:
            DataError: The id or the label is missing, a category or a span's name is none that the policy lists, or a
                span lies beyond the text.
            PrivacyRiskTooHigh: A mail address would leave.
        """
        content = read_content(row, self._source)
        known = {"names": content.names, "addresses": content.addresses, "entities": tuple(self._entities(row))}
        spans = self._spans(row, content.text)
        text, spans = self._text(self._anonymiser.spec.policy("text"), content.text, spans, known)
        if not text:
            return None
        done: dict[str, Any] = {"day": day, "text": text}
        for name, column in (("id", self._source.id_column), ("label", self._source.label_column)):
            done[name] = self._word(name, row.get(column), column)
        if self._has_spans:
            done["label"] = encode_spans(spans)
        for policy in (column.policy for column in self._further):
            done[policy.column] = self._leaving(policy, row.get(policy.column), known)
        if Recogniser.ADDRESS in self._anonymiser.spec.recognisers:
            for name, value in done.items():
                if isinstance(value, str):
                    check_clean(value, name)
        return done

    def take_originals(self) -> dict[str, str]:
        """Return what each pseudonym stands for that was made since the last call, where the policy is reversible."""
        return self._anonymiser.take_originals()

    def _spans(self, row: Mapping[str, Any], text: str) -> tuple[LabelledSpan, ...]:
        """Return the labelled spans of a row's text, none where a label is of the whole text."""
        if not self._has_spans:
            return ()
        column = self._source.label_column
        spans = decode_spans(self._word("label", row.get(column), column))
        if spans and spans[-1].end > len(text):
            raise DataError(f"column {column}: a span ends at {spans[-1].end} of a text of {len(text)} characters")
        return spans

    def _word(self, name: str, value: Any, column: str) -> str:
        if value is None:
            raise DataError(f"column {column}: missing in a row that was validated; let the suite hold such rows back")
        return str(self._anonymiser.value(self._anonymiser.spec.policy(name), value))

    def _leaving(self, policy: ColumnPolicy, value: Any, known: Mapping[str, Any]) -> Any:
        if isinstance(value, str) and policy.action not in (Action.KEEP, Action.CATEGORY):
            # As it would stand in a text, where it is looked for.
            value = normalise(value)
        if policy.action is Action.TEXT and value is not None:
            return self._text(policy, value, (), known)[0]
        return self._anonymiser.value(policy, value)

    def _text(
        self, policy: ColumnPolicy, text: str, spans: tuple[LabelledSpan, ...], known: Mapping[str, Any]
    ) -> tuple[str, tuple[LabelledSpan, ...]]:
        """Return what leaves of a text, and where its labelled spans lie in it."""
        raw = cut(text, self._spec.max_text_characters)
        spans = cut_spans(spans, len(raw))
        if policy.action is Action.KEEP:
            return raw, spans
        # It begins with no blank, before or after: what replaces a piece is a word.
        done, spans = self._anonymiser.labelled_text(raw, spans, **known)
        return done.rstrip(), spans

    def _entities(self, row: Mapping[str, Any]) -> Iterator[Entity]:
        for policy, column in self._sought:
            value = row.get(column)
            if isinstance(value, str | int) and not isinstance(value, bool):
                word = normalise(str(value))
                if policy.action is not Action.IDENTIFIER or self._anonymiser.value(policy, word) != word:
                    yield Entity(policy.kind, word)


def cut(text: str, max_characters: int) -> str:
    """Return a text's beginning, ended at white space so that no half of an address escapes its recogniser."""
    if len(text) <= max_characters:
        return text
    head = text[: max_characters + 1]
    words = head.rsplit(None, 1)
    # One word of that length is an encoded attachment; nothing of it is worth reading.
    return words[0] if len(words) > 1 else ""
