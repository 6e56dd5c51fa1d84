"""Texts to token numbers, cut to length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from operators.core.errors import DataError

TOKENS = "tokens"
"""The column of a data set's shards that holds each text's tokens, and the fact that says whose they are."""
CHARACTERS_PER_TOKEN = 12
"""Characters read for each token kept, at first: texts are many times longer than what a model sees of them."""


class Words(NamedTuple):
    """A text's tokens, and the words that they are pieces of."""

    ids: list[int]
    """Token numbers, special ones included."""
    firsts: list[int]
    """Where each word begins, among the tokens."""
    places: list[tuple[int, int]]
    """Where each word begins and ends, in characters of the text."""


class Continued(NamedTuple):
    """A text's tokens, and those of them that a causal language model is asked for."""

    ids: list[int]
    first: int
    """The place of the first token asked for, 1 at least; as many as there are tokens where none is."""


def load_tokenizer(folder: Path) -> Tokenizer:
    """Return the folder's tokenizer without any padding or cutting of its own.

    Raises:
        DataError: `tokenizer.json` is unreadable.
    """
    try:
        return read_tokenizer((folder / "tokenizer.json").read_bytes())
    except OSError as error:
        raise DataError(f"tokenizer.json is unreadable: {error}") from error


def read_tokenizer(data: bytes) -> Tokenizer:
    """Return the tokenizer of a `tokenizer.json` without any padding or cutting of its own.

    Raises:
        DataError: It is unreadable.
    """
    try:
        tokenizer = Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises bare Exception
        raise DataError(f"tokenizer.json is unreadable: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def num_closing(tokenizer: Tokenizer) -> int | None:
    """Return how many special tokens stand behind a text's own, which cutting it leaves; None if that is unclear."""
    mask = tokenizer.encode("a").special_tokens_mask
    return mask[::-1].index(0) if 0 in mask else None


def encode(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return each text's token numbers, special ones included, at most `max_length` of them."""
    return [encoding.ids for encoding in _encodings(tokenizer, texts, max_length)]


def encode_words(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[Words]:
    """Return each text's tokens with the words they make up; words beyond `max_length` tokens are not there."""
    return [_words(encoding) for encoding in _encodings(tokenizer, texts, max_length)]


def encode_continued(
    tokenizer: Tokenizer, texts: Sequence[str], max_length: int, end: int, answers_after: str | None
) -> list[Continued]:
    """Return each text's tokens and its end, at most `max_length` of them, and from where on they are asked for.

    Args:
        tokenizer: Makes the tokens.
        texts: Plain ones.
        max_length: Tokens kept of a text, its end included.
        end: The token that closes a text; one that is cut has none.
        answers_after: What stands before the tokens asked for, at its first place; None: all but the first are.
    """
    rows = []
    for text, encoding in zip(texts, _encodings(tokenizer, texts, max_length), strict=True):
        ids = encoding.ids if encoding.ids[-1:] == [end] else [*encoding.ids, end][:max_length]
        rows.append(Continued(ids, _first_asked(text, encoding, len(ids), answers_after)))
    return rows


def _first_asked(text: str, encoding: Encoding, size: int, answers_after: str | None) -> int:
    if answers_after is None:
        return 1
    _, _, answer = text.partition(answers_after)
    if not answer:
        return size
    begin = len(text) - len(answer)
    known = (place for place, (start, end) in enumerate(encoding.offsets) if start >= begin and end > start)
    # Where the text is cut before its answer, so is its end.
    return max(1, next(known, size))


def _words(encoding: Encoding) -> Words:
    firsts: list[int] = []
    places: list[tuple[int, int]] = []
    before = None
    for index, (word, (start, end)) in enumerate(zip(encoding.word_ids, encoding.offsets, strict=True)):
        if word is not None and word == before:
            places[-1] = (places[-1][0], end)
        elif word is not None:
            firsts.append(index)
            places.append((start, end))
        before = word
    return Words(encoding.ids, firsts, places)


def _encodings(tokenizer: Tokenizer, texts: Sequence[str], max_length: int) -> list[Encoding]:
    """Return what the tokenizer makes of texts.

    Only the beginning of a long text is read, up to a white space, where no token can straddle; a text whose beginning
    gives too few tokens is read whole. So the numbers are those of the whole text.
    """
    tokenizer.enable_truncation(max_length)
    heads = [_head(text, max_length * CHARACTERS_PER_TOKEN) for text in texts]
    rows: list[Encoding] = tokenizer.encode_batch(heads)
    for index, row in enumerate(rows):
        if len(row) < max_length and len(heads[index]) < len(texts[index]):
            rows[index] = tokenizer.encode(texts[index])
    return rows


def _head(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    cut = max(text.rfind(space, 0, limit) for space in (" ", "\n"))
    # White space in a row may be one token.
    return text[:cut].rstrip() if cut > 0 else text
