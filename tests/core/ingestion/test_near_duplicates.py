"""Near-duplicates are found, compared for real, counted apart, and never on both sides of a split."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.core.errors import DataError
from operators.core.ingestion.choice import LEFT_OUT, TEST, TRAIN
from operators.core.ingestion.near_duplicates import band_keys, check_apart, drop_near_duplicates
from operators.core.ingestion.parts import Part, Window
from operators.core.ingestion.spec import DatasetSpec
from operators.core.storage import Store
from tests.core.ingestion.parts import publish, put_part, read_split, table
from tests.core.mails import DAY

SEED = 20021122


def _similarity(one: str, two: str) -> float:
    """Return what the module promises, by sets."""
    first, second = ({data[i : i + 8] for i in range(len(data) - 7)} for data in map(_normal, (one, two)))
    return len(first & second) / len(first | second)


def _normal(text: str) -> bytes:
    return " ".join(text.lower().split(" ")).ljust(8).encode()


def _letters(count: int, edits: int = 3) -> list[str]:
    """Return texts, most of them an earlier one with some words changed."""
    draw = random.Random(SEED)
    words = [f"{draw.choice('bcdfg')}{draw.choice('aeiou')}{draw.choice('lmnprst')}{n}é" for n in range(300)]
    texts: list[list[str]] = []
    for _ in range(count):
        if texts and draw.random() < 0.7:
            text = list(draw.choice(texts))
            for _ in range(draw.randrange(1, 1 + edits)):
                text[draw.randrange(len(text))] = draw.choice(words)
        else:
            text = draw.choices(words, k=draw.randrange(5, 40))
        texts.append(text)
    return list(dict.fromkeys(" ".join(text) for text in texts))


def _window(folder: Path, texts: list[str]) -> Window:
    pq.write_table(table(texts), folder / "part.parquet", row_group_size=50)
    return Window.of([Part(day=DAY, identity="a", path=folder / "part.parquet")])


@pytest.mark.parametrize("similarity", [0.75, 0.9])
def test_a_row_goes_only_for_an_earlier_one_like_it_and_none_is_left(tmp_path: Path, similarity: float) -> None:
    """Against sets: what was dropped has an earlier row so similar, and no two that stayed are."""
    texts = _letters(250)
    choice = np.full(len(texts), TRAIN, np.uint8)
    with ThreadPoolExecutor(2) as pool:
        dropped = drop_near_duplicates(_window(tmp_path, texts), choice, similarity, tmp_path, pool)
    gone, kept = np.flatnonzero(choice == LEFT_OUT).tolist(), np.flatnonzero(choice).tolist()

    assert dropped == len(gone) > 10
    assert all(any(_similarity(texts[n], texts[k]) >= similarity for k in range(n)) for n in gone)
    assert [pair for pair in combinations(kept, 2) if _similarity(texts[pair[0]], texts[pair[1]]) >= similarity] == []


def test_near_duplicates_are_counted_apart_and_every_row_still_adds_up(store: Store) -> None:
    """They are duplicates too; without the choice nothing is dropped."""
    parts = [put_part(store, table(_letters(120)))]
    with_, without = (publish(store, parts, DatasetSpec(test_share=0.3, near_duplicates=n)) for n in (0.8, None))
    rows = with_.manifest.facts["rows"]

    assert rows["in"] == rows["kept"] + rows["duplicates"]
    assert rows["duplicates"] == rows["near_duplicates"] > 10
    assert without.manifest.facts["rows"]["near_duplicates"] == without.manifest.facts["rows"]["duplicates"] == 0


def test_no_test_row_has_a_near_copy_in_train(store: Store) -> None:
    """Over all pairs of a published data set."""
    spec = DatasetSpec(test_share=0.3, near_duplicates=0.8)
    manifest = publish(store, [put_part(store, table(_letters(150)))], spec).manifest
    train, test = (read_split(store, manifest, split)["text"].to_pylist() for split in ("train", "test"))

    assert max(_similarity(one, two) for one in train for two in test) < 0.8


def test_a_contaminated_split_is_refused_with_ids_and_without_text(tmp_path: Path) -> None:
    """A copy with one letter more, planted in the other split, stops the data set."""
    text = "the quarterly figures are attached, please have a look before our call on monday morning " * 3
    window = _window(tmp_path, ["something else entirely, of no interest here", text, text + "!"])
    choice = np.array([TEST, TRAIN, TEST], np.uint8)
    with ThreadPoolExecutor(1) as pool, pytest.raises(DataError) as caught:
        check_apart(window, choice, 0.9, tmp_path, pool)

    assert "1 test rows" in str(caught.value)
    assert "id_000002" in str(caught.value)
    assert "quarterly" not in str(caught.value)


def test_keys_are_the_same_in_every_process() -> None:
    """They follow from text and seed, whatever Python's hashing begins with; no other release may change them."""
    code = (
        "import pyarrow as pa; from operators.core.ingestion.near_duplicates import band_keys;"
        "print(band_keys(pa.array(['a text of some words', 'another one'], pa.large_string()), 1).sum())"
    )
    sums = {
        subprocess.check_output([sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": str(n)}, text=True)
        for n in (0, 1)
    }
    keys = band_keys(pa.array(["a text of some words", "another one"], pa.large_string()), 1)

    assert sums == {f"{keys.sum()}\n"}
    assert keys[0, :2].tolist() == [4191077413, 3606189946]
