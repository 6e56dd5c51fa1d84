"""Our side of `shard_io`: read an epoch of the shards in a store with the loader, as a rank does.

loader_reader.py MANIFEST FOLDER ANSWER
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from operators.core.settings import StorageSettings
from operators.core.storage import open_store
from operators.core.training.loader import Loader, Plan
from operators.core.training.tokens import TokenTable, TokenTables
from tests.benchmarks.rival_reader import BATCH

POSITIONS = (0.0, 0.5, 0.999)


def main() -> None:
    """Read the first epoch, in which shards become tables, then the second; then begin anew at some positions."""
    manifest, folder, answer = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    store = open_store(StorageSettings.from_environment(os.environ))
    shards = store.manifest(manifest).files

    def make(number: int) -> TokenTable:
        columns = pq.read_table(io.BytesIO(store.read(shards[number]))).combine_chunks()
        tokens = columns["tokens"].combine_chunks()
        return TokenTable(
            tokens.flatten().to_numpy(), tokens.offsets.to_numpy().astype(np.int64), columns["label"].to_numpy()
        )

    def loader() -> Loader:
        rows = tuple(shard.rows or 0 for shard in shards)
        plan = Plan(shard_rows=rows, batch_size=BATCH, batch_by="rows", seed=0)
        return Loader(plan, TokenTables(folder, make))

    one = loader()
    first = _epoch(one, 0)
    document = _epoch(one, 1)
    document["first epoch, seconds"] = first["wall"]
    document["is_whole"] = (first["rows"], first["sum"]) == (document["rows"], document["sum"])
    one.close()
    document["resume_ms"] = max(_resume(loader, position) for position in POSITIONS)
    store.close()
    answer.write_text(json.dumps(document))


def _epoch(loader: Loader, epoch: int) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    rows, total = 0, 0
    for step in range(loader.steps_per_epoch):
        batch = loader.batch(epoch * loader.steps_per_epoch + step)
        rows += batch.size
        total += int(batch.tokens.sum(dtype=np.int64))
    return {"rows": rows, "sum": total, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def _resume(make_loader: object, position: float) -> float:
    """Return the milliseconds from nothing to the batch at a position of the second epoch."""
    assert callable(make_loader)
    started = time.perf_counter()
    one = make_loader()
    one.batch(int(one.steps_per_epoch * (1 + position)))
    milliseconds = (time.perf_counter() - started) * 1000
    one.close()
    return milliseconds


if __name__ == "__main__":
    main()
