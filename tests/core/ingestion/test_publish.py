"""A window becomes a data set: no row lost, the same bytes however it is made, in bounded memory."""

from __future__ import annotations

import dataclasses
import datetime
import hmac
import io
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.core.errors import DataError
from operators.core.ingestion import choice
from operators.core.ingestion.choice import DIGEST, TEST, choose, digests
from operators.core.ingestion.spec import DatasetSpec
from operators.core.manifest import Input
from operators.core.models.tokenising import encode, load_tokenizer
from operators.core.storage import Store
from tests.core.ingestion.parts import publish, put_part, read_split, table
from tests.core.mails import DAY, KEY
from tests.core.training.tiny import adopt_tiny

SPEC = DatasetSpec(test_share=0.4)
TEXTS = st.lists(st.sampled_from([f"text {n} é 邮" for n in range(12)]), max_size=9)
FILES = st.lists(st.tuples(st.integers(0, 3), TEXTS, st.integers(0, 2)), min_size=1, max_size=5)
"""Files as (days ago, texts, quarantined rows)."""
BOTH = tuple(f"both {n}" for n in range(40))
"""Enough texts for both splits, under any key."""


def _put(store: Store, files: Sequence[tuple[int, list[str], int]]) -> list[Input]:
    return [
        put_part(store, table(texts, day=_ago(ago), start=100 * n), day=_ago(ago), quarantined=held, name=f"{n}")
        for n, (ago, texts, held) in enumerate([*files, (9, list(BOTH), 0)])
    ]


def share_of(text: str) -> float:
    """Return a text's share, from 0 to 1, computed with whole numbers."""
    return int.from_bytes(hmac.digest(KEY, b"split\0" + text.encode(), "sha256")[:8], "big") / 2**64


def _ago(days: int) -> datetime.date:
    return DAY - datetime.timedelta(days=days)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES)
def test_every_row_is_kept_once_a_duplicate_or_quarantined(
    store: Store, files: list[tuple[int, list[str], int]]
) -> None:
    """Counts add up, every text is kept once, on the side that its digest says, by its earliest day."""
    manifest = publish(store, _put(store, files), SPEC).manifest
    rows = manifest.facts["rows"]
    sides = {split: read_split(store, manifest, split) for split in ("train", "test")}
    kept = {row["text"]: row["day"] for side in sides.values() for row in side.to_pylist()}
    first: dict[str, datetime.date] = dict.fromkeys(BOTH, _ago(9))
    for days, texts, _ in files:
        for text in texts:
            first[text] = min(first.get(text, DAY), _ago(days))

    assert rows["in"] == rows["kept"] + rows["duplicates"] + sum(rows["quarantined"].values())
    assert rows["in"] == len(BOTH) + sum(len(texts) + held for _, texts, held in files)
    assert rows["kept"] == sum(side.num_rows for side in sides.values()) == len(kept)
    assert kept == first
    assert {text for text in kept if share_of(text) < 0.4} == set(sides["test"]["text"].to_pylist())


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=FILES, groups=st.integers(1, 4), order=st.randoms(use_true_random=False))
def test_workers_and_groups_change_no_byte(
    store: Store, files: list[tuple[int, list[str], int]], groups: int, order: random.Random
) -> None:
    """With 1, 2 and 4 workers, files in any order and any groups, the shards are the same files."""
    parts = _put(store, files)
    expected = publish(store, parts, SPEC, workers=1, recipe="one").manifest
    order.shuffle(parts)
    others = [publish(store, parts, SPEC, workers=n, groups=groups, recipe=f"w{n}").manifest for n in (2, 4)]

    assert [other.files for other in others] == [expected.files, expected.files]


def test_small_days_become_few_large_shards_in_the_order_of_days(store: Store) -> None:
    """Sixty parts of a few rows are one shard a split; rows of one day lie together, so statistics tell days apart."""
    parts = [
        put_part(store, table([f"{days} {n}" for n in range(5)], day=_ago(days)), day=_ago(days), name=str(days))
        for days in range(60)
    ]
    manifest = publish(store, parts, SPEC).manifest
    days = read_split(store, manifest, "train")["day"].to_pylist()

    assert sorted(entry.name for entry in manifest.files) == ["test/00000.parquet", "train/00000.parquet"]
    assert days == sorted(days)
    assert len(set(days)) > 50


def test_shards_end_at_their_target_size(store: Store) -> None:
    """Each shard but a split's last reaches the target, none by more than a row group; they are numbered in order."""
    draw = random.Random(0)
    texts = [draw.randbytes(200).hex() for _ in range(2000)]
    manifest = publish(
        store, [put_part(store, table(texts))], DatasetSpec(test_share=0.1, target_bytes=65_536)
    ).manifest
    train = [entry for entry in manifest.files if entry.name.startswith("train/")]

    assert [entry.name for entry in train] == [f"train/{n:05d}.parquet" for n in range(len(train))]
    assert len(train) > 4
    assert all(65_536 <= entry.bytes <= 2 * 65_536 for entry in train[:-1])
    assert sum(entry.rows or 0 for entry in train) == manifest.facts["splits"]["train"]


def test_a_shard_says_what_it_holds_and_packs_what_repeats(store: Store) -> None:
    """Pages are zstd, each column has statistics, labels and days are dictionary-encoded and texts are not."""
    manifest = publish(store, [put_part(store, table([f"text {n}" for n in range(500)]))], SPEC).manifest
    footer = pq.ParquetFile(io.BytesIO(store.read(manifest.file("train/00000.parquet")))).metadata.row_group(0)
    columns = {footer.column(n).path_in_schema: footer.column(n) for n in range(footer.num_columns)}

    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert all(column.is_stats_set and column.statistics.has_min_max for column in columns.values())
    assert [name for name, column in columns.items() if "RLE_DICTIONARY" in column.encodings] == ["day", "label"]


def test_columns_beside_the_four_pass_through(store: Store) -> None:
    """What a source has further reaches the shards, nulls too."""
    rows = table([f"text {n}" for n in range(40)]).append_column("amount", pa.array([None, *range(39)], pa.int64()))
    manifest = publish(store, [put_part(store, rows)], SPEC).manifest
    found = pa.concat_tables([read_split(store, manifest, split) for split in ("train", "test")])

    assert sorted(found.to_pylist(), key=lambda row: row["id"]) == rows.to_pylist()


def test_a_split_without_rows_is_refused(store: Store) -> None:
    """One text cannot be learnt from and tested on."""
    with pytest.raises(DataError, match="widen the window"):
        publish(store, [put_part(store, table(["one", "one"]))], SPEC)


def test_a_part_with_other_rows_than_it_says_is_refused(store: Store) -> None:
    """A count that does not add up stops the data set."""
    part = put_part(store, table(["a", "b"]))
    assert part.manifest
    whole = store.manifest(part.manifest)
    lying = store.put_manifest(dataclasses.replace(whole, facts={**whole.facts, "rows_out": 3, "rows_in": 3}))
    with pytest.raises(DataError, match="rows were lost"):
        publish(store, [Input(role="file", identity=part.identity, manifest=lying)], SPEC)


def test_the_choice_is_the_same_in_one_pass_and_in_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of equal texts the first is kept, however few digests are held at once."""
    draw = np.random.default_rng(0)
    texts = [f"text {n}" for n in draw.integers(0, 400, 3000)]
    found = digests(pa.array(texts), KEY)
    (tmp_path / "digests").write_bytes(found.tobytes())
    whole = choose(tmp_path / "digests", 0.3)
    monkeypatch.setattr(choice, "ROWS_A_PASS", 256)
    monkeypatch.setattr(choice, "_BLOCK_ROWS", 100)
    pieces = choose(tmp_path / "digests", 0.3)

    assert found.dtype == DIGEST
    assert (whole == pieces).all()
    assert np.flatnonzero(whole).tolist() == sorted(texts.index(text) for text in set(texts))
    assert {texts[n] for n in np.flatnonzero(whole == TEST)} == {text for text in texts if share_of(text) < 0.3}


def test_shards_hold_tokens_where_the_recipe_asks_for_them(store: Store, tmp_path: Path) -> None:
    """Those that the base model's tokenizer makes of each text; whose they are is a fact, and part of the run key."""
    parts, base = _put(store, []), adopt_tiny(store, tmp_path / "base")
    spec = dataclasses.replace(SPEC, tokens=8)
    manifest = publish(store, parts, spec, base_model=base).manifest
    tokenizer = load_tokenizer(tmp_path / "base")
    sides = [read_split(store, manifest, split) for split in ("train", "test")]

    assert manifest.facts["tokens"] == {"tokenizer": store.manifest(base).file("tokenizer.json").sha256, "most": 8}
    assert manifest.input("tokenizer").manifest == base
    for side in sides:
        assert side["tokens"].to_pylist() == encode(tokenizer, side["text"].to_pylist(), 8)
    assert (
        "tokens" not in read_split(store, publish(store, parts, SPEC, base_model=base).manifest, "train").column_names
    )
    with pytest.raises(ValueError, match="name the adopted base model"):
        publish(store, parts, spec)
