"""CoNLL files: a word and its tag a line, an empty line after each sentence, a row a sentence.

Source:
    The form of CoNLL-2003, with tags in IOB2: `B-x` begins a span of kind x, `I-x` goes on with it, `O` is outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from operators.core.errors import DataError, HostileInput
from operators.core.labels import LabelledSpan, encode_spans
from operators.core.sources.columns import WRITTEN, Batches
from operators.core.sources.contents import normalise
from operators.core.sources.job import ParseJob

_DOCUMENT = "-DOCSTART-"
"""The word of a line that begins a document and is no sentence."""


class _Word(NamedTuple):
    text: str
    """In normal form; empty where nothing of it can be seen."""
    tag: str


def parse_conll(plain: BinaryIO, job: ParseJob) -> Iterator[pa.RecordBatch | set[str]]:
    """Yield batches of sentences: `text`, the words with blanks between, and `entities`, the spans of it.

    A sentence whose tags are no IOB2 has no entities, and is marked as of the wrong type. Of lines with further
    columns the first and the last are read.

    Raises:
        DataError: It is not UTF-8, or a word has no tag.
        HostileInput: A sentence is too long.
    """
    batches = Batches(job, WRITTEN)
    for words, size in _sentences(plain, job.limits.max_line_bytes):
        if batches.add(_row(words), size):
            yield batches.take()
    yield from batches.rest()
    yield set()


def _sentences(plain: BinaryIO, limit: int) -> Iterator[tuple[list[_Word], int]]:
    """Yield each sentence's words, and its bytes in the file."""
    words: list[_Word] = []
    size = number = 0
    while line := plain.readline(limit + 2):
        number += 1
        size += len(line)
        if size > limit:
            raise HostileInput(f"line {number}: a sentence of more than {limit} bytes")
        if line.strip():
            words += _word(line, number)
            continue
        if words:
            yield words, size
        words, size = [], 0
    if words:
        yield words, size


def _word(line: bytes, number: int) -> list[_Word]:
    """Return the word of a line, in a list; an empty one where it begins a document."""
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise DataError(f"line {number}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    # Between tabs a word may hold blanks.
    mark = "\t" if "\t" in text else None
    fields = text.split(mark, 1)
    tag = fields[-1].rsplit(mark, 1)[-1].strip()
    if len(fields) < 2 or not tag:
        raise DataError(f"line {number}: a word without a tag; write one after a tab, `O` outside of entities")
    return [] if fields[0] == _DOCUMENT else [_Word(" ".join(normalise(fields[0]).split()), tag)]


def _row(words: Sequence[_Word]) -> dict[str, Any]:
    spans = _spans(words)
    return {
        "text": " ".join(word.text for word in words if word.text),
        # What is no text is marked as of the wrong type.
        "entities": False if spans is None else encode_spans(spans),
    }


def _spans(words: Sequence[_Word]) -> list[LabelledSpan] | None:
    """Return the spans of the text that `_row` makes, None where the tags are no IOB2."""
    spans: list[LabelledSpan] = []
    start, inside = 0, ""
    for word in words:
        mark, kind = word.tag[:2], word.tag[2:]
        end = start + len(word.text)
        if word.tag == "O":
            inside = ""
        elif mark == "B-" and kind:
            spans.append(LabelledSpan(start, end, kind))
            inside = kind
        elif mark == "I-" and kind and kind == inside:
            spans[-1] = replace(spans[-1], end=end if word.text else spans[-1].end)
        else:
            return None
        start = end + 1 if word.text else start
    return [span for span in spans if span.start < span.end]
