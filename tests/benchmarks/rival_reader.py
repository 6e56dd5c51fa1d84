"""The other side of `shard_io`: convert or read rows of tokens with another tool; runs in that tool's environment.

rival_reader.py TOOL convert PARQUET_FOLDER OWN_FOLDER
rival_reader.py TOOL read PARQUET_FOLDER OWN_FOLDER ANSWER
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

BATCH, WIDTH = 256, 64
Batches = Iterator[npt.NDArray[np.int32]]


def pyarrow(parquet: Path, _own: Path) -> Batches:
    """Yield row group after row group, in the order of the files: what no shuffled reader can beat."""
    import pyarrow.parquet as pq

    for path in sorted(parquet.iterdir()):
        with pq.ParquetFile(path) as file:
            for number in range(file.num_row_groups):
                column = file.read_row_group(number, columns=["tokens", "label"])["tokens"]
                yield column.combine_chunks().flatten().to_numpy().reshape(-1, WIDTH)


def datasets(parquet: Path, _own: Path) -> Batches:
    """Yield batches of `datasets` streaming, shuffled through its buffer."""
    from datasets import load_dataset

    files = [str(path) for path in sorted(parquet.iterdir())]
    rows = load_dataset("parquet", data_files=files, split="train", streaming=True)
    for batch in rows.shuffle(seed=0, buffer_size=10_000).with_format("numpy").iter(batch_size=BATCH):
        yield np.stack(batch["tokens"])


def litdata(_parquet: Path, own: Path) -> Batches:
    """Yield batches of LitData over its own chunks, shuffled."""
    from litdata import StreamingDataLoader, StreamingDataset

    rows = StreamingDataset(str(own), shuffle=True, seed=0)
    for batch in StreamingDataLoader(rows, batch_size=BATCH, num_workers=0):
        yield batch.numpy()


def mosaic(_parquet: Path, own: Path) -> Batches:
    """Yield batches of MosaicML streaming over its own shards, shuffled."""
    _without_torchvision()
    from streaming import StreamingDataset

    rows, batch = StreamingDataset(local=str(own), shuffle=True, shuffle_seed=0, batch_size=BATCH), []
    for row in rows:
        batch.append(row["tokens"])
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def convert_litdata(parquet: Path, own: Path) -> None:
    """Write LitData's chunks."""
    from litdata.streaming import Cache

    cache = Cache(str(own), chunk_bytes=64 << 20)
    for number, row in enumerate(row for rows in pyarrow(parquet, own) for row in rows):
        cache[number] = row.copy()
    cache.done()
    cache.merge()


def convert_mosaic(parquet: Path, own: Path) -> None:
    """Write MosaicML's shards."""
    _without_torchvision()
    from streaming import MDSWriter

    with MDSWriter(out=str(own), columns={"tokens": f"ndarray:int32:{WIDTH}"}) as out:
        for rows in pyarrow(parquet, own):
            for row in rows:
                out.write({"tokens": row})


def _without_torchvision() -> None:
    """Let `streaming` import what it needs for images only: PyPI has no torchvision for a CPU build of torch."""
    import transformers.feature_extraction_utils  # noqa: F401  # first: it looks at what torchvision is

    names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional")
    for name in names:
        sys.modules[name] = ModuleType(name)
    sys.modules["torchvision.datasets"].__dict__["VisionDataset"] = object
    sys.modules["torchvision.transforms.functional"].__dict__["to_tensor"] = None


def main() -> None:
    """Convert, or read all rows once and write how long it took and what was read."""
    tool, work, parquet, own = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    if work == "convert":
        globals()[f"convert_{tool}"](parquet, own)
        return
    wall, cpu = time.perf_counter(), time.process_time()
    rows, total = 0, 0
    for batch in globals()[tool](parquet, own):
        rows += len(batch)
        total += int(batch.sum(dtype=np.int64))
    seconds = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    Path(sys.argv[5]).write_text(json.dumps({"rows": rows, "sum": total, **seconds}))


if __name__ == "__main__":
    main()
