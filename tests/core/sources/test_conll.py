"""CoNLL files: sentences as rows, tags as spans of the text that the words make."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.core.errors import DataError, HostileInput
from operators.core.labels import decode_spans
from operators.core.sources.conll import parse_conll
from operators.core.sources.contents import normalise, read_content
from operators.core.sources.job import ParseJob
from operators.core.sources.reader import read_rows
from operators.core.sources.spec import WRONG_TYPE, Column, ColumnType, ReadLimits
from tests.core.sources.files import PACK
from tests.core.training.wnut import SOURCE

PATH = "entities/dt=2017-09-07/a.conll"
WORDS = st.text(st.characters(exclude_characters="\t\n\r", exclude_categories=["Cs"]), min_size=1, max_size=6)
PIECES = st.lists(
    st.tuples(st.lists(WORDS, min_size=1, max_size=3), st.sampled_from(["", "person", "group"])), max_size=5
)


def _parsed(data: bytes, **limits: int) -> list[dict[str, Any]]:
    """Return rows as the child parses them, in this process."""
    job = ParseJob.of(PATH, replace(SOURCE, limits=ReadLimits(**limits)))
    batches = [part for part in parse_conll(io.BytesIO(data), job) if isinstance(part, pa.RecordBatch)]
    return [row for batch in batches for row in batch.to_pylist()]


def _seen(row: dict[str, Any]) -> list[tuple[str, str]]:
    return [(row["text"][span.start : span.end], span.name) for span in decode_spans(row["entities"])]


@settings(max_examples=300, deadline=None)
@given(pieces=PIECES)
@example(pieces=[(["\u200b", "a"], "person"), (["\u200b"], "group"), (["b", "\u200b"], "person")])
@example(pieces=[(["x\u200d\u0301", "\u0301"], "person")])
def test_every_tagged_piece_is_a_span_of_the_text(pieces: list[tuple[list[str], str]]) -> None:
    """Whatever the words: the text is in normal form, and each span is its words, those that can be seen."""
    lines = [
        f"{word}\t{'BI'[number > 0] + '-' + name if name else 'O'}\n"
        for words, name in pieces
        for number, word in enumerate(words)
    ]
    rows = _parsed("".join(lines).encode())
    normal = [(" ".join(normalise(" ".join(words)).split()), name) for words, name in pieces]

    for row in rows:
        assert normalise(row["text"]) == row["text"] == read_content(row, SOURCE).text
    found = [pair for row in rows for pair in _seen(row)]
    assert [name for _, name in found] == [name for text, name in normal if name and text]
    assert [text.split() for text, _ in found] == [
        [word for word in (" ".join(normalise(word).split()) for word in words) for word in word.split()]
        for words, name in pieces
        if name and normalise(" ".join(words))
    ]


def test_sentences_are_rows() -> None:
    """Empty lines part them, however many and whatever blanks stand in them; a file need not end with one."""
    data = b"\xef\xbb\xbfIn\tO\nNew\tB-place\nYork\tI-place\n\t\n \n\r\nAnn\tB-person\r\nBob\tB-person"
    first, second = _parsed(data)

    assert (first["text"], _seen(first)) == ("In New York", [("New York", "place")])
    assert (second["text"], _seen(second)) == ("Ann Bob", [("Ann", "person"), ("Bob", "person")])


def test_the_form_of_conll_2003_is_read() -> None:
    """Blanks between columns, the tag in the last one, lines that begin a document."""
    data = b"-DOCSTART- -X- -X- O\n\nU.N. NNP I-NP B-ORG\nofficial NN I-NP O\n"

    assert [(row["text"], _seen(row)) for row in _parsed(data)] == [("U.N. official", [("U.N.", "ORG")])]


@pytest.mark.parametrize("tags", ["O I-a", "I-a", "B-a I-b", "B-", "b-a", "B-a O I-a", "X"])
def test_a_sentence_whose_tags_are_no_iob2_is_marked(tags: str) -> None:
    """It stays a row without entities, for the suite to hold back; its neighbours are untouched."""
    sentence = "".join(f"w\t{tag}\n" for tag in tags.split()).encode()
    rows = read_rows(b"a\tB-a\n\n" + sentence + b"\nb\tO\n", PATH, SOURCE).rows

    assert [row[WRONG_TYPE] for row in rows] == [None, "entities", None]
    assert [row["entities"] for row in rows] == ['[[0,1,"a"]]', None, "[]"]


@pytest.mark.parametrize("suffix", PACK)
def test_a_child_reads_it_under_any_compression(suffix: str) -> None:
    """As every other format."""
    found = read_rows(PACK[suffix](b"Ann\tB-person\n"), f"{PATH}{suffix}", SOURCE)

    assert [(row["text"], row["entities"]) for row in found.rows] == [("Ann", '[[0,3,"person"]]')]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a\tO\nsecret\n", "line 2: a word without a tag"),
        (b"a\tO\nsecret\t\n", "line 2: a word without a tag"),
        (b"secret\tO\n\xff\tO\n", "line 2: not UTF-8 at byte 0"),
    ],
)
def test_what_is_no_conll_is_refused_with_its_line(data: bytes, words: str) -> None:
    """The line and what is wrong with it, never the word."""
    with pytest.raises(DataError, match=words) as caught:
        read_rows(data, PATH, SOURCE)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("data", [b"a\tO\n" * 1000, b"a" * 1000, b"\t" * 1000 + b"O", b"a\tB-" + b"x" * 1000])
def test_a_sentence_without_an_end_is_hostile(data: bytes) -> None:
    """In many lines or in one: no more is held than a row may have."""
    with pytest.raises(HostileInput, match="a sentence of more than 500 bytes"):
        _parsed(data, max_line_bytes=500)


@pytest.mark.parametrize("columns", [(Column("text"), Column("tags")), (Column("text", ColumnType.INTEGER),)])
def test_a_spec_asks_for_the_columns_that_there_are(columns: tuple[Column, ...]) -> None:
    """`text` and `entities`, both texts."""
    with pytest.raises(ValueError, match=r"CoNLL files have \('text', 'entities'\)|type text"):
        replace(SOURCE, columns=columns, label_column=columns[-1].name)
