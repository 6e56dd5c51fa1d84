"""Rows of a source as rows of a part: what the policy lets through, and in which form.

Columns stay columns wherever a value does not depend on the rest of its row. Free text does: what is looked for in it
stands in the row's other columns.
"""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from operators.core.anonymisation.anonymiser import IDENTIFIER, Anonymiser, check_clean
from operators.core.anonymisation.moving import cut_spans
from operators.core.anonymisation.occurrences import Entity
from operators.core.anonymisation.spec import SOUGHT, Action, AnonymisationSpec, ColumnPolicy, Recogniser
from operators.core.errors import DataError
from operators.core.ingestion.parquet import schema_with
from operators.core.ingestion.spec import IngestionSpec, output_columns
from operators.core.labels import LabelledSpan, decode_spans, encode_spans
from operators.core.sources.contents import RowContent, normalise, read_content
from operators.core.sources.spec import ROW_SHA256, Content, SourceSpec
from operators.core.sources.texts import column_of, joined_texts, replaced

if TYPE_CHECKING:
    from operators.core.models.names import NameModel

_SOUGHT = SOUGHT | {Action.IDENTIFIER}
"""Columns whose values are looked for in the row's text; of identifiers those that do not leave as they are."""


class _Read(NamedTuple):
    """What rows say, one by one."""

    texts: list[str]
    labels: list[str]
    """Of tokens; empty where labels are of texts."""
    known: list[dict[str, Any]]
    """What is looked for in each row's texts."""

    def only(self, left: list[bool]) -> _Read:
        """Return what the rows say that are left."""
        kept = itertools.compress(zip(*self, strict=True), left)
        texts, labels, known = [list(some) for some in zip(*kept, strict=True)] or ([], [], [])
        return _Read(texts, labels, known)


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
        self.schema = schema_with(self._further)
        own = {"id": source.id_column, "label": source.label_column}
        sought = [(item, own.get(item.column, item.column)) for item in policy.columns if item.action in _SOUGHT]
        # A digest of the row can stand in no text of it.
        self._sought = [(item, column) for item, column in sought if column != ROW_SHA256]
        has_free_text = any(item.action is Action.TEXT for item in policy.columns)
        self._one_by_one = has_free_text or self._has_spans or source.content is Content.MAIL

    def batch(self, rows: pa.RecordBatch, day: datetime.date) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
        """Return what leaves rows, of the columns of `schema`, and the numbers of those of whose text nothing is left.

        Args:
            rows: As `read_columns` has them.
            day: When they arrived.

        Raises:
            DataError: The id or the label is missing, a category or a span's name is none that the policy lists, or a
                span lies beyond the text.
            PrivacyRiskTooHigh: A mail address would leave.
        """
        read = self._read(rows) if self._one_by_one else None
        texts = self._cut_texts(rows) if read is None else pa.array(read.texts, pa.string())
        is_left = pc.greater(pc.binary_length(texts), 0)
        empty = np.flatnonzero(~is_left.to_numpy(zero_copy_only=False))
        if len(empty):
            rows, texts = rows.filter(is_left), texts.filter(is_left)
            read = read and read.only(is_left.to_pylist())
        columns = {
            "id": self._word("id", rows, self._source.id_column),
            "day": pa.repeat(pa.scalar(day, pa.date32()), rows.num_rows),
            "text": texts,
            "label": self._label(rows, read),
        }
        for field, further in zip(list(self.schema)[len(columns) :], self._further, strict=True):
            columns[field.name] = self._leaving(further.policy, column_of(rows, field.name, field.type), read)
        if Recogniser.ADDRESS in self._anonymiser.spec.recognisers:
            for name, array in columns.items():
                _check_all_clean(array, name)
        return pa.RecordBatch.from_arrays(list(columns.values()), schema=self.schema), empty

    def take_originals(self) -> dict[str, str]:
        """Return what each pseudonym stands for that was made since the last call, where the policy is reversible."""
        return self._anonymiser.take_originals()

    def _cut_texts(self, rows: pa.RecordBatch) -> pa.Array:
        texts = pc.fill_null(joined_texts(rows, self._source), "")
        most = self._spec.max_text_characters
        if (pc.max(pc.binary_length(texts)).as_py() or 0) <= most:
            return texts
        too_long = pc.greater(pc.utf8_length(texts), most).to_numpy(zero_copy_only=False)
        return replaced(texts, np.flatnonzero(too_long), lambda text: cut(text, most))

    def _read(self, rows: pa.RecordBatch) -> _Read:
        read = _Read([], [], [])
        policy = self._anonymiser.spec.policy("text")
        for row in rows.to_pylist():
            content = read_content(row, self._source)
            known = self._known(row, content)
            text, spans = self._text(policy, content.text, self._spans(row, content.text), known)
            read.texts.append(text)
            read.labels.append(encode_spans(spans))
            read.known.append(known)
        return read

    def _known(self, row: Mapping[str, Any], content: RowContent) -> dict[str, Any]:
        return {"names": content.names, "addresses": content.addresses, "entities": tuple(self._entities(row))}

    def _spans(self, row: Mapping[str, Any], text: str) -> tuple[LabelledSpan, ...]:
        """Return the labelled spans of a row's text, none where a label is of the whole text."""
        if not self._has_spans:
            return ()
        column = self._source.label_column
        if row.get(column) is None:
            raise _missing(column)
        spans = decode_spans(str(self._anonymiser.value(self._anonymiser.spec.policy("label"), row[column])))
        if spans and spans[-1].end > len(text):
            raise DataError(f"column {column}: a span ends at {spans[-1].end} of a text of {len(text)} characters")
        return spans

    def _label(self, rows: pa.RecordBatch, read: _Read | None) -> pa.Array:
        if self._has_spans and read is not None:
            return pa.array(read.labels, pa.string())
        return self._word("label", rows, self._source.label_column)

    def _word(self, name: str, rows: pa.RecordBatch, column: str) -> pa.Array:
        array = column_of(rows, column, pa.string())
        if array.null_count:
            raise _missing(column)
        policy = self._anonymiser.spec.policy(name)
        if policy.action is Action.KEEP:
            return array.cast(pa.string())
        return _mapped(array, policy, lambda value: str(self._anonymiser.value(policy, value)))

    def _leaving(self, policy: ColumnPolicy, array: pa.Array, read: _Read | None) -> pa.Array:
        if policy.action is Action.KEEP:
            return array
        if policy.action is Action.TEXT and read is not None:
            pairs = zip(array.to_pylist(), read.known, strict=True)
            texts = [None if v is None else self._text(policy, normalise(v), (), known)[0] for v, known in pairs]
            return pa.array(texts, pa.string())

        def leaving(value: Any) -> Any:
            # As it would stand in a text, where it is looked for.
            is_as_read = policy.action is Action.CATEGORY or not isinstance(value, str)
            return self._anonymiser.value(policy, value if is_as_read else normalise(value))

        return _mapped(array, policy, leaving)

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


def _missing(column: str) -> DataError:
    return DataError(f"column {column}: missing in a row that was validated; let the suite hold such rows back")


def _mapped(array: pa.Array, policy: ColumnPolicy, change: Callable[[Any], Any]) -> pa.Array:
    """Return what a policy makes of values, each distinct one asked for once."""
    if policy.action is Action.IDENTIFIER and pa.types.is_string(array.type):
        stays = pc.match_substring_regex(array, f"^(?:{IDENTIFIER.pattern})$")
        if pc.all(stays, min_count=0).as_py():
            return array
    coded = array.dictionary_encode()
    return pa.array([change(value) for value in coded.dictionary.to_pylist()], pa.string()).take(coded.indices)


def _check_all_clean(array: pa.Array, name: str) -> None:
    values = array.buffers()[2] if pa.types.is_string(array.type) else None
    held = b"" if values is None else values.to_pybytes()
    # One character is looked for many times as fast as three.
    if b"@" in held or (b"%" in held and b"%40" in held):
        for text in array.drop_null().to_pylist():
            check_clean(text, name)


def cut(text: str, max_characters: int) -> str:
    """Return a text's beginning, ended at white space so that no half of an address escapes its recogniser."""
    if len(text) <= max_characters:
        return text
    head = text[: max_characters + 1]
    words = head.rsplit(None, 1)
    # One word of that length is an encoded attachment; nothing of it is worth reading.
    return words[0] if len(words) > 1 else ""
