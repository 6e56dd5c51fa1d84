"""Stage `publish_dataset`: the parts of a window without duplicates, split, as one version of a data set.

The parts are read twice, in pieces: once for what decides about a row, once for the rows that are kept. So memory is
bounded: a byte a row, 30 where near-duplicates are looked for, and about 500 MiB beside it, whatever the window's size.
"""

from __future__ import annotations

import datetime
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.core.anonymisation.pseudonyms import key_id
from operators.core.anonymisation.risk import accepted_risk
from operators.core.anonymisation.spec import RiskSpec
from operators.core.errors import DataError
from operators.core.ingestion.choice import LEFT_OUT, SIDES, Choice, choose, write_digests
from operators.core.ingestion.ingest import sum_facts
from operators.core.ingestion.near_duplicates import check_apart, drop_near_duplicates
from operators.core.ingestion.parts import Window, fetch_window
from operators.core.ingestion.shards import ShardWriter
from operators.core.ingestion.spec import DatasetSpec
from operators.core.ingestion.tokens import FIELD, TokenColumn
from operators.core.labels import Task, names_in
from operators.core.manifest import FileEntry, Input, Made, StageCall, spec_json
from operators.core.models.tokenising import TOKENS
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store

REVISION = 29
WORKERS = 2
"""Parts that are read at once, and shards that are stored while the next one is written. Changes no byte."""


def publish_dataset(
    store: Store,
    *,
    parts: list[str],
    recipe: str,
    day: datetime.date,
    spec: DatasetSpec,
    key: bytes,
    progress: Progress,
    task: Task = "text_classification",
    workers: int = WORKERS,
    base_model: str | None = None,
) -> Result:
    """Have the window's data set committed, and be the newest of its stream if it is new.

    Files are `train/00000.parquet`, ... and `test/00000.parquet`, ..., their rows in the order of days; facts `rows`
    {in, kept, duplicates, near_duplicates, quarantined: {reason: n}}, where the duplicates count the near ones too,
    `splits` {train, test}, `labels` (the names, sorted), `task`, `recipe`, `day`; `risk` and `tokens` where asked for.

    Args:
        store: Where parts are and the data set goes.
        parts: Digests of `ingest` results; how files are grouped in them makes no difference.
        recipe: The recipe's name.
        day: The last day of the window.
        spec: How to split and shard.
        key: The key of the pseudonyms; it keys the split too.
        progress: Told after each part that was read, and after each that was written.
        task: What the labels are for.
        workers: Threads; any number makes the same bytes.
        base_model: Digest of the adopted base model by whose tokenizer the spec asks for tokens; else of no meaning.

    Raises:
        ValueError: The spec asks for tokens, and no base model is given.
        DataError: Columns of two days do not fit together, a row was lost or made up on the way, a split would be
            empty, or a near-copy of a test row is in train.
        PrivacyRiskTooHigh: Fewer rows are alike than the spec asks for.
    """
    files = {item.identity: item for digest in parts for item in store.manifest(digest).inputs_of("file")}
    inputs = tuple(
        Input(role="part", identity=item.identity, manifest=item.manifest) for _, item in sorted(files.items())
    )
    if spec.tokens is not None and base_model is None:
        raise ValueError(f"tokens={spec.tokens}: name the adopted base model whose tokenizer makes them")
    tokenizers = () if spec.tokens is None else (store.as_input("tokenizer", str(base_model)),)
    call = StageCall(
        stage="publish_dataset",
        revision=REVISION,
        inputs=(*inputs, *tokenizers),
        spec={"dataset": spec_json(spec), "key": key_id(key), "task": task, "recipe": recipe, "day": day.isoformat()},
    )

    def make() -> Made:
        tokens = None if spec.tokens is None else TokenColumn.of(store, str(base_model), spec.tokens)
        made = _make(store, inputs, spec, key, task, tokens, progress, workers)
        facts = {**made.facts, "task": task, "recipe": recipe, "day": day.isoformat()}
        return Made(files=made.files, facts=facts if tokens is None else {**facts, TOKENS: tokens.facts})

    result = store.once(call, make)
    _announce(store, f"dataset-{recipe}", result.digest)
    return result


def _make(
    store: Store,
    inputs: tuple[Input, ...],
    spec: DatasetSpec,
    key: bytes,
    task: Task,
    tokens: TokenColumn | None,
    progress: Progress,
    workers: int,
) -> Made:
    total = sum_facts([store.manifest(item.manifest).facts for item in inputs if item.manifest is not None])
    steps = count(1)

    def done(note: str) -> None:
        progress(next(steps), 2 * len(inputs), note)

    with scratch_folder() as folder, ThreadPoolExecutor(workers, thread_name_prefix="publish") as pool:
        window = fetch_window(store, inputs, folder, pool)
        write_digests(window, key, folder / "digests", pool, done)
        choice = choose(folder / "digests", spec.test_share)
        near = 0
        if spec.near_duplicates is not None:
            near = drop_near_duplicates(window, choice, spec.near_duplicates, folder, pool)
            # Halfway to equal: so close no copy escapes the first look, and a flaw in it shows.
            check_apart(window, choice, (1 + spec.near_duplicates) / 2, folder, pool)
        splits = {name: int(np.count_nonzero(choice == side)) for name, side in SIDES.items()}
        rows = _count(total, sum(window.rows), splits) | {"near_duplicates": near}
        risk = {} if spec.risk is None else {"risk": accepted_risk(_kept(window, choice, spec.risk), spec.risk)}
        deposit = _Deposit(store, pool)
        labels = _write(deposit, window, choice, folder, spec.target_bytes, task, tokens, done)
        files = deposit.files()
    placed = {name: sum(file.rows or 0 for file in files if file.name.startswith(f"{name}/")) for name in splits}
    if placed != splits:
        raise DataError(f"rows chosen {splits}, rows in shards {placed}: rows were lost")
    return Made(files=files, facts={"rows": rows, "splits": splits, "labels": labels, **risk})


def _count(total: Mapping[str, Any], rows: int, splits: Mapping[str, int]) -> dict[str, Any]:
    """Return what became of every row.

    Raises:
        DataError: The parts hold other rows than their manifests say, or a split is empty.
    """
    kept, held = sum(splits.values()), sum(total["quarantined"].values())
    if rows != total["rows_out"] or total["rows_in"] != rows + held:
        raise DataError(f"{total['rows_in']} rows in, {rows} in parts, {held} quarantined: rows were lost")
    if empty := [name for name, number in splits.items() if not number]:
        raise DataError(f"{kept} distinct texts leave {' and '.join(empty)} empty: widen the window")
    return {"in": total["rows_in"], "kept": kept, "duplicates": rows - kept, "quarantined": total["quarantined"]}


def _kept(window: Window, choice: Choice, spec: RiskSpec) -> Iterator[pa.Table]:
    """Yield the kept rows' columns that the risk is measured on."""
    place = 0
    for number in range(len(window.parts)):
        for batch in window.batches(number):
            kept = pa.array(choice[place : place + batch.num_rows] != LEFT_OUT)
            place += batch.num_rows
            yield pa.Table.from_batches([batch.select(list(spec.columns)).filter(kept)])


class _Deposit:
    """Shards on their way into the store, some at once while the next is written."""

    def __init__(self, store: Store, pool: ThreadPoolExecutor) -> None:
        self._store, self._pool = store, pool
        self._underway: deque[Future[FileEntry]] = deque()
        self._files: list[FileEntry] = []

    def seal(self, name: str, path: Path, rows: int) -> None:
        """Begin to put a shard, once few enough are under way: a slow store would fill the local disk."""
        if len(self._underway) > WORKERS:
            self._files.append(self._underway.popleft().result())
        self._underway.append(self._pool.submit(self._put, name, path, rows))

    def files(self) -> tuple[FileEntry, ...]:
        """Return all shards, once the store has them."""
        return (*self._files, *(one.result() for one in self._underway))

    def _put(self, name: str, path: Path, rows: int) -> FileEntry:
        entry = self._store.put_file(name, path, rows)
        path.unlink()
        return entry


def _write(
    deposit: _Deposit,
    window: Window,
    choice: Choice,
    folder: Path,
    target_bytes: int,
    task: Task,
    tokens: TokenColumn | None,
    done: Callable[[str], None],
) -> list[str]:
    """Write the chosen rows as shards, and return the names that their labels have, sorted."""
    schema = window.schema if tokens is None else window.schema.append(FIELD)
    writers = {side: ShardWriter(name, schema, folder, target_bytes, deposit.seal) for name, side in SIDES.items()}
    labels: set[str] = set()
    place = 0
    for number, rows in enumerate(window.rows):
        for batch in window.batches(number):
            sides = choice[place : place + batch.num_rows]
            place += batch.num_rows
            for side, writer in writers.items():
                kept = batch.filter(pa.array(sides == side))
                for label in pc.unique(kept["label"]).to_pylist():
                    labels.update(names_in(label, task))
                writer.write(kept if tokens is None else tokens.of_rows(kept))
        done(f"{rows} rows written")
    for writer in writers.values():
        writer.close()
    return sorted(labels)


def _announce(store: Store, stream_name: str, digest: str) -> None:
    """Have the stream name a data set, once: appended if no entry does."""
    stream = store.stream(stream_name)
    while digest not in {entry.manifest for entry in stream.entries()}:
        # Another run may take the next place; its entry stands, and ours goes after it.
        stream.append(digest, after=stream.head())
