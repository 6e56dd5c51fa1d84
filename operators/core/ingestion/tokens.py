"""Tokens of texts as a column of a data set's shards, so that training need not tokenise."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from tokenizers import Tokenizer

from operators.core.models.tokenising import TOKENS, encode, read_tokenizer
from operators.core.storage import Store

FIELD = pa.field(TOKENS, pa.list_(pa.int32()), nullable=False)


class TokenColumn:
    """Gives rows the tokens of their texts.

    Args:
        tokenizer: The base model's.
        sha256: Of its file.
        most: How many tokens of a text are kept at most, special ones included.
    """

    def __init__(self, tokenizer: Tokenizer, sha256: str, most: int) -> None:
        self._tokenizer, self._most = tokenizer, most
        self.facts: dict[str, Any] = {"tokenizer": sha256, "most": most}
        """What a reader has to know to use the column instead of a tokenizer of its own."""

    @classmethod
    def of(cls, store: Store, base_model: str, most: int) -> TokenColumn:
        """Return what tokenises as an adopted base model does, given its digest."""
        file = store.manifest(base_model).file("tokenizer.json")
        return cls(read_tokenizer(store.read(file)), file.sha256, most)

    def of_rows(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows with the column beside their others."""
        tokens = encode(self._tokenizer, rows.column("text").to_pylist(), self._most)
        return rows.append_column(FIELD, pa.array(tokens, FIELD.type))
