"""The recipe `banking_intents` on the files that it was written for, from landing zone to data set."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN
from operators.core.storage import Store
from tests.dags.published import DATASETS, land, published, recipe_named

QUESTIONS = DATASETS / "banking77"
DAY = datetime.date(2022, 4, 29)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
@pytest.mark.skipif(not QUESTIONS.is_dir(), reason="needs shared/datasets/banking77 beside the project")
def test_rows_without_an_id_get_one_that_tells_nothing(store: Store, tmp_path: Path) -> None:
    """13,083 questions are kept or doubled, of all 77 intents, each under a pseudonym of its own."""
    recipe = recipe_named("banking_intents")
    land(tmp_path, recipe, DAY, *QUESTIONS.glob("*.csv"))
    dataset = published(store, tmp_path, recipe, DAY)

    rows = dataset.facts["rows"]
    assert rows["in"] == 13_083 == rows["kept"] + rows["duplicates"]
    assert rows["kept"] > 13_000 and len(dataset.facts["labels"]) == 77
    table = pa.concat_tables(pq.read_table(io.BytesIO(store.read(entry))) for entry in dataset.files)
    assert len(pc.unique(table["id"])) == rows["kept"]
    assert all(map(PSEUDONYM_PATTERN.fullmatch, table["id"].to_pylist()))
