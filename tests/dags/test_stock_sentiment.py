"""The recipe `stock_sentiment` on the file that it was written for, from landing zone to data set."""

from __future__ import annotations

import datetime
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from operators.core.storage import Store
from tests.dags.published import DATASETS, land, published, recipe_named

POSTS = DATASETS / "stock_sentiment" / "sentiment.csv"
DAY = datetime.date(2022, 6, 11)


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
@pytest.mark.skipif(not POSTS.is_file(), reason="needs shared/datasets/stock_sentiment beside the project")
def test_every_post_is_accounted_for_and_none_says_who_wrote_it(store: Store, tmp_path: Path) -> None:
    """500 rows are kept, doubled or held back; no shard holds a post's address or its writer's name."""
    recipe = recipe_named("stock_sentiment")
    land(tmp_path, recipe, DAY, POSTS)
    dataset = published(store, tmp_path, recipe, DAY)

    rows = dataset.facts["rows"]
    assert rows["in"] == 500 == rows["kept"] + rows["duplicates"] + sum(rows["quarantined"].values())
    assert rows["kept"] > 480 and dataset.facts["labels"] == ["Negative", "Positive"]
    tables = [pq.read_table(io.BytesIO(store.read(entry))) for entry in dataset.files]
    stored = str([table.to_pydict() for table in tables])
    writers = {
        line.split("twitter.com/")[1].split("/")[0] for line in POSTS.read_text().splitlines() if "/status/" in line
    }
    assert len(writers) > 100
    assert "/status/" not in stored
    assert not [name for name in writers if len(name) > 7 and f"/{name}/" in stored]
    assert tables[0].column_names == ["id", "day", "text", "label", "Stock Ticker"]
