"""The loader gives every row once, the same rows for a step whoever asks when, and reads on over damaged copies."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import DataError
from operators.core.finetuning.spec import TrainingSpec
from operators.core.ingestion.tokens import TokenColumn
from operators.core.manifest import Input, Made, StageCall, sha256_of_file
from operators.core.models.tags import UNTOLD
from operators.core.models.tokenising import TOKENS, load_tokenizer
from operators.core.storage import Store
from operators.core.training import order
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Batch, Loader, Plan
from operators.core.training.order import EpochOrder, Windows, cut_window
from operators.core.training.reading import open_loader
from operators.core.training.rows import number_labels
from operators.core.training.spec import BatchBy, Machine
from operators.core.training.tokens import TokenTable, TokenTables
from tests.core.training.tiny import WORDS, write_base

SHARDS = st.lists(st.integers(1, 300), min_size=1, max_size=6).filter(lambda rows: sum(rows) >= 8)


def _table(rows: int, shard: int) -> TokenTable:
    """Return rows whose first token is their number, counted through shards of 1,000 at most."""
    lengths = np.random.default_rng(shard).integers(1, 40, rows)
    return TokenTable.of(([1000 * shard + n] * length for n, length in enumerate(lengths)), np.arange(rows) % 3)


def _loader(
    folder: Path, rows: list[int], rank: int = 0, ranks: int = 1, *, by: BatchBy = "rows", seed: int = 0
) -> Loader:
    plan = Plan(shard_rows=tuple(rows), batch_size=16, batch_by=by, seed=seed)
    return Loader(plan, TokenTables(folder, lambda shard: _table(rows[shard], shard)), rank, ranks)


def _firsts(loader: Loader, step: int) -> list[int]:
    return [int(row[0]) for row in _rows_of(loader.batch(step))]


def _rows_of(batch: Batch) -> list[npt.NDArray[np.int32]]:
    return np.split(batch.tokens, np.cumsum(batch.lengths)[:-1])


@settings(max_examples=30, deadline=None)
@given(
    shards=SHARDS,
    ranks=st.integers(1, 2),
    by=st.sampled_from(["rows", "tokens"]),
    seed=st.integers(0, 99),
    block=st.integers(1, 900),
)
def test_every_row_of_an_epoch_goes_to_exactly_one_rank_in_one_step(
    shards: list[int], ranks: int, by: BatchBy, seed: int, block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Over steps and ranks each row occurs once in each epoch, and no rank is ever left without a row."""
    folder = tmp_path_factory.mktemp("tables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "BLOCK_ROWS", block)
        loaders = [_loader(folder, shards, rank, ranks, by=by, seed=seed) for rank in range(ranks)]
        steps = loaders[0].steps_per_epoch
        found = [[_firsts(loader, step) for loader in loaders] for step in range(2 * steps)]
    for loader in loaders:
        loader.close()
    every = sorted(1000 * shard + n for shard, rows in enumerate(shards) for n in range(rows))

    for epoch in range(2):
        assert sorted(n for step in found[epoch * steps :][:steps] for share in step for n in share) == every
    assert all(share for step in found for share in step)
    assert by == "tokens" or max(sum(map(len, step)) for step in found) <= 16


@settings(max_examples=15, deadline=None)
@given(shards=SHARDS, step=st.integers(0, 10_000), by=st.sampled_from(["rows", "tokens"]))
def test_a_step_has_the_same_rows_whoever_asks_and_whenever(
    shards: list[int], step: int, by: BatchBy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A loader that begins at a step gives what one gives that came there, dealt to 1, 2 or 4 ranks."""
    whole = _loader(tmp_path_factory.mktemp("one"), shards, by=by)
    step %= 3 * whole.steps_per_epoch
    for earlier in range(max(0, step - 70), step):
        whole.batch(earlier)
    expected = sorted(_firsts(whole, step))
    folder = tmp_path_factory.mktemp("many")
    for ranks in (1, 2, 4):
        fresh = [_loader(folder, shards, rank, ranks, by=by) for rank in range(ranks)]
        shares = [loader.batch(step) for loader in fresh]

        assert sorted(int(row[0]) for share in shares for row in _rows_of(share)) == expected
        assert {share.size for share in shares} == {len(expected)}
        for loader in fresh:
            loader.close()
    whole.close()


def test_batches_hold_rows_of_like_length() -> None:
    """Sorting within windows keeps padding below a tenth of the tokens where random batches would waste far more."""
    lengths = np.random.default_rng(0).integers(8, 129, 1600)
    batches = cut_window(lengths, 50, "rows", "key")
    padded = sum(int(lengths[batch].max()) * len(batch) for batch in batches)

    assert padded < 1.1 * lengths.sum()


@given(st.lists(st.integers(1, 128), min_size=41, max_size=800), st.integers(0, 99))
def test_batches_by_tokens_have_equal_tokens_and_enough_rows(lengths: list[int], key: int) -> None:
    """Whatever the lengths, every row is in one batch, and each has rows for every rank."""
    sizes = np.array(lengths)
    batches = cut_window(sizes, 4, "tokens", str(key))
    least = len(sizes) // 8

    assert sorted(np.concatenate(batches)) == list(range(len(sizes)))
    assert min(map(len, batches)) >= least


def test_batches_by_tokens_are_more_even_than_by_rows() -> None:
    """With lengths from 8 to 512 the largest batch by rows has several times the tokens of the smallest."""
    lengths = np.random.default_rng(0).integers(8, 513, 1600)

    def spread(by: BatchBy) -> float:
        tokens = [int(lengths[batch].sum()) for batch in cut_window(lengths, 50, by, "key")]
        return max(tokens) / min(tokens)

    assert spread("rows") > 10
    assert spread("tokens") < 2.5


@pytest.mark.parametrize("position", [0.0, 0.5, 0.999])
def test_any_step_of_a_hundred_million_rows_is_found_at_once(position: float) -> None:
    """Order and window of a new process, at the beginning and near the end: 50 ms at most, the best of three."""
    shards = [100_000] * 1000
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        windows = Windows(sum(shards), 32)
        window, _number = windows.find(int(windows.steps * position))
        EpochOrder(shards, 7, 3).rows_at(windows.positions(window))
        seconds.append(time.perf_counter() - started)

    assert min(seconds) < 0.05


def test_the_first_batch_waits_for_its_block_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two of eight shards a block, training begins while the others are still being read; then all are there."""
    go_on, asked = threading.Event(), []

    def make(shard: int) -> TokenTable:
        asked.append(shard)
        assert len(asked) <= 2 or go_on.wait(60)
        return _table(100, shard)

    monkeypatch.setattr(order, "BLOCK_ROWS", 200)
    tables = TokenTables(tmp_path / "tables", make)
    loader = Loader(Plan(shard_rows=(100,) * 8, batch_size=4, batch_by="rows", seed=0), tables)
    first = loader.batch(0)
    go_on.set()
    rows = [row for step in range(loader.steps_per_epoch) for row in loader.rows(step).tolist()]
    loader.close()

    assert len(first.lengths) == 4
    assert sorted(rows) == list(range(800))
    assert sorted(asked) == list(range(8))


def test_ranks_make_each_table_once(tmp_path: Path) -> None:
    """Two that want the same shards at the same time share the work, by locks in the folder."""
    made: list[int] = []

    def make(shard: int) -> TokenTable:
        made.append(shard)
        time.sleep(0.02)
        return _table(50, shard)

    plan = Plan(shard_rows=(50,) * 6, batch_size=8, batch_by="rows", seed=1)
    loaders = [Loader(plan, TokenTables(tmp_path / "tables", make), rank, 2) for rank in range(2)]
    threads = [threading.Thread(target=loader.batch, args=(0,)) for loader in loaders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for loader in loaders:
        loader.close()

    assert sorted(made) == list(range(6))


def test_a_batch_is_padded_to_its_longest_row() -> None:
    """Token numbers first, then zeros that the mask tells from tokens."""
    ids, mask = Batch(np.array([5, 6, 7, 8], np.int32), np.array([1, 3]), np.array([0, 1]), 2).padded()

    assert ids.tolist() == [[5, 0, 0], [6, 7, 8]]
    assert mask.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_a_token_table_reads_back_what_was_saved(tmp_path: Path) -> None:
    """Rows of any length come back as they were, mapped from files; joined tables are their rows in order."""
    one, two = TokenTable.of([[1, 2, 3], [4]], np.array([0, 1])), TokenTable.of([[5, 6]], np.array([0]))
    TokenTable.join([one, two]).save(tmp_path / "0")
    table = TokenTable.load(tmp_path / "0")

    assert table.tokens.tolist() == [1, 2, 3, 4, 5, 6]
    assert table.lengths.tolist() == [3, 1, 2]
    assert table.labels.tolist() == [0, 1, 0]


def test_tags_come_with_their_tokens(tmp_path: Path) -> None:
    """Of tagged tables a batch has each token's tag, whichever shard it lies in; padding has none."""

    def make(shard: int) -> TokenTable:
        rows = [[100 * shard + 10 * row + place for place in range(2 + row)] for row in range(3)]
        return TokenTable.join(
            [TokenTable.tagged(rows[:1], [np.arange(2)]), TokenTable.tagged(rows[1:], [np.arange(n) for n in (3, 4)])]
        )

    plan = Plan(shard_rows=(3, 3), batch_size=4, batch_by="rows", seed=0)
    loader = Loader(plan, TokenTables(tmp_path, make))
    batches = [loader.batch(step) for step in range(loader.steps_per_epoch)]
    loader.close()

    for batch in batches:
        ids, mask = batch.padded()
        assert (batch.targets() == np.where(mask, ids % 10, UNTOLD)).all()
    assert sum(len(batch.tags) for batch in batches) == 18


def test_an_unknown_label_is_refused_by_name() -> None:
    """A shard with a label that its data set does not list is no training data."""
    with pytest.raises(DataError, match="eggs"):
        number_labels(pa.array(["ham", "eggs"]), ("ham", "spam"))


# Over a store ----------------------------------------------------------------------------------------------------


def _job(store: Store, folder: Path) -> TrainingJob:
    """Publish three shards of twenty rows beside a base model's files, and return a job over them."""
    write_base(folder / "base_model")
    files = []
    for shard in range(3):
        texts = [f"{WORDS[shard]} {WORDS[row]}" for row in range(20)]
        labels = ["ham", "spam"] * 10
        buffer = io.BytesIO()
        pq.write_table(pa.table({"id": texts, "text": texts, "label": labels}), buffer)
        files.append(store.put_bytes(f"train/{shard:05d}.parquet", buffer.getvalue(), rows=20))
    call = StageCall(stage="publish_dataset", revision=1)
    dataset = store.once(call, lambda: Made(files=tuple(files), facts={"labels": ["ham", "spam"]}))
    spec = TrainingSpec(epochs=1, batch_size=8, max_length=16, ranks=1, precision="fp32")
    loop = spec.resolve(Machine(cores=1, gpus=0, precision="fp32"))
    inputs = (Input(role="dataset", identity=dataset.manifest.identity, manifest=dataset.digest),)
    return TrainingJob(run_key="0" * 64, inputs=inputs, loop=loop, ranks=1, labels=("ham", "spam"), checkpoint_steps=10)


def _epoch(loader: Loader) -> list[tuple[tuple[int, ...], int]]:
    batches = [loader.batch(step) for step in range(loader.steps_per_epoch)]
    loader.close()
    return sorted(
        (tuple(row.tolist()), int(label)) for b in batches for row, label in zip(_rows_of(b), b.labels, strict=True)
    )


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("harm", [_damage, Path.unlink], ids=["damaged", "missing"])
def test_a_bad_copy_of_a_shard_does_not_stop_the_epoch(
    store: Store, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """Two of three copies of one shard are bad: the third is read, and the epoch has every row as before."""
    job = _job(store, tmp_path)
    expected = _epoch(open_loader(store, job, tmp_path, rank=0, ranks=1))
    shard = store.manifest(job.inputs[0].manifest or "").files[1].stored_sha256
    copies = sorted(tmp_path.glob(f"site_*/**/{shard}*"))
    for copy in copies[:2]:
        harm(copy)
    (tmp_path / "tokens").rename(tmp_path / "read_before")
    found = _epoch(open_loader(store, job, tmp_path, rank=0, ranks=1))

    assert len(copies) == 3
    assert len(found) == 60
    assert found == expected


def _tokenised_job(store: Store, job: TrainingJob, column: TokenColumn, facts: dict[str, Any]) -> TrainingJob:
    """Publish a job's shards again, some texts longer, with tokens beside them; without texts where facts say so."""
    plain = store.manifest(job.inputs[0].manifest or "")
    files = []
    for entry in plain.files:
        rows = pq.read_table(io.BytesIO(store.read(entry)))
        texts = [text + 9 * f" {WORDS[5]}" if n % 2 else text for n, text in enumerate(rows["text"].to_pylist())]
        (batch,) = rows.set_column(1, "text", pa.array(texts)).to_batches()
        whole = pa.Table.from_batches([column.of_rows(batch)])
        buffer = io.BytesIO()
        pq.write_table(whole.drop_columns("text") if facts else whole, buffer)
        files.append(store.put_bytes(entry.name, buffer.getvalue(), rows=entry.rows))
    made = Made(files=tuple(files), facts={"labels": ["ham", "spam"], **facts})
    result = store.once(StageCall(stage="publish_dataset", revision=1, spec={"facts": facts}), lambda: made)
    return replace(job, inputs=(Input(role="dataset", identity=result.manifest.identity, manifest=result.digest),))


def _tables(store: Store, job: TrainingJob, folder: Path) -> list[list[bytes]]:
    loader = open_loader(store, job, folder, rank=0, ranks=1)
    loader.close()
    tables = [loader._tables.table(shard) for shard in range(3)]
    (folder / "tokens").rename(folder / f"tokens-{job.inputs[0].manifest}")
    return [[table.tokens.tobytes(), table.offsets.tobytes(), table.labels.tobytes()] for table in tables]


@pytest.mark.parametrize("most", [16, 5])
def test_tokens_of_the_data_set_are_those_that_training_would_make(store: Store, tmp_path: Path, most: int) -> None:
    """Cut as long or longer they make the same tables to the bit, without a look at any text."""
    job = _job(store, tmp_path)
    job = replace(job, loop=replace(job.loop, max_length=5))
    tokenizer = tmp_path / "base_model" / "tokenizer.json"
    column = TokenColumn(load_tokenizer(tokenizer.parent), sha256_of_file(tokenizer), most)
    made = _tables(store, _tokenised_job(store, job, column, {}), tmp_path)
    read = _tables(store, _tokenised_job(store, job, column, {TOKENS: column.facts}), tmp_path)

    assert read == made


@pytest.mark.parametrize("changed", [{"most": 4}, {"tokenizer": "0" * 64}])
def test_tokens_of_another_tokenizer_or_too_few_are_not_used(
    store: Store, tmp_path: Path, changed: dict[str, Any]
) -> None:
    """Then training goes to the texts, which these shards lack."""
    job = _job(store, tmp_path)
    job = replace(job, loop=replace(job.loop, max_length=5))
    tokenizer = tmp_path / "base_model" / "tokenizer.json"
    column = TokenColumn(load_tokenizer(tokenizer.parent), sha256_of_file(tokenizer), 5)
    with pytest.raises(KeyError, match="text"):
        _tables(store, _tokenised_job(store, job, column, {TOKENS: column.facts | changed}), tmp_path)
