"""Texts to token numbers, cut to length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from operators.core.errors import DataError

CHARACTERS_PER_TOKEN = 12
"""Characters read for each token kept, at first: texts are many times longer than what a model sees of them."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the folder's tokenizer without any padding or cutting of its own.

    Raises:
        DataError: `tokenizer.json` is unreadable.
    """
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"tokenizer.json is unreadable: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return each text's token numbers, special ones included, at most `max_length` of them.

    Only the beginning of a long text is read, up to a white space, where no token can straddle; a text whose beginning
    gives too few tokens is read whole. So the numbers are those of the whole text.
    """
    tokenizer.enable_truncation(max_length)
    heads = [_head(text, max_length * CHARACTERS_PER_TOKEN) for text in texts]
    rows = [encoding.ids for encoding in tokenizer.encode_batch(heads)]
    for index, row in enumerate(rows):
        if len(row) < max_length and len(heads[index]) < len(texts[index]):
            rows[index] = tokenizer.encode(texts[index]).ids
    return rows


def _head(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    cut = max(text.rfind(space, 0, limit) for space in (" ", "\n"))
    return text[:cut] if cut > 0 else text
