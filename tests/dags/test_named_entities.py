"""The recipe `named_entities` on the files that it was written for, from landing zone to data set."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.core.labels import decode_spans
from operators.core.storage import Store
from tests.core.training.wnut import FOLDER, NEEDED
from tests.dags.published import land, published, recipe_named

DAY = datetime.date(2017, 9, 7)
FILES = ("wnut17train.conll", "emerging.dev.conll", "emerging.test.annotated")


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
@pytest.mark.skipif(not FOLDER.is_dir(), reason=NEEDED)
def test_every_sentence_is_accounted_for_and_every_span_has_words(store: Store, tmp_path: Path) -> None:
    """5,690 sentences are kept, doubled or held back; spans of six kinds begin and end with a word of their text."""
    recipe = recipe_named("named_entities")
    land(tmp_path, recipe, DAY, *(FOLDER / name for name in FILES))
    dataset = published(store, tmp_path, recipe, DAY)

    rows = dataset.facts["rows"]
    assert rows["in"] == 5_690 == rows["kept"] + rows["duplicates"] + sum(rows["quarantined"].values())
    assert rows["kept"] > 5_500
    assert dataset.facts["labels"] == ["corporation", "creative-work", "group", "location", "person", "product"]
    table = pa.concat_tables(pq.read_table(io.BytesIO(store.read(entry))) for entry in dataset.files)
    pieces = [row["text"][span.start : span.end] for row in table.to_pylist() for span in decode_spans(row["label"])]
    assert len(pieces) > 3_700
    assert [piece for piece in pieces if piece != piece.strip()] == []
