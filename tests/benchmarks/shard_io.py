"""B2: shuffled reads of rows against raw pyarrow, `datasets`, LitData and MosaicML streaming; and what a row costs.

Two million rows of 64 numbers, 512 MB as they lie in memory, in batches of 256. Ours is an epoch of the loader over a
store, its tables made, as the rivals' own formats are; the first epoch, in which they are made, stands beside it. Page
cache warm. Every reader adds up what it read: no ratio is given where a sum differs. Publishing is timed from ten
thousand rows on.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.ingestion.spec import DatasetSpec
from operators.core.manifest import Input, Made, StageCall
from operators.core.settings import STORAGE_VARIABLE, EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.local.layout import Layout
from tests.benchmarks.rival_reader import WIDTH
from tests.benchmarks.timing import Sample, alternate, compare, measure, parse, publish
from tests.core.ingestion import parts

ROWS, SHARDS = 2_000_000, 8
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
"""Rows that are published, to see what one costs."""
SCRIPT = str(Path(__file__).with_name("rival_reader.py"))
ENVIRONMENTS = {"pyarrow": ".venv", "datasets": ".venv-bench-readers", "litdata": ".venv-bench-readers"}
ENVIRONMENTS["mosaic"] = ".venv-bench-mosaic"


class Bed:
    """The rows as Parquet files, in a store, and in the rivals' own formats."""

    def __init__(self, folder: Path, rows: int) -> None:
        self.folder, self.rows = folder, rows
        self.extra: dict[str, float] = {}
        self._parquet = folder / "parquet"
        self._parquet.mkdir()
        self._sum = self._fill()
        settings = make_store(folder / "store")
        os.environ[STORAGE_VARIABLE] = settings.to_json()
        store = open_store(settings)
        paths = sorted(self._parquet.iterdir())
        files = tuple(store.put_file(path.name, path, rows // SHARDS) for path in paths)
        self._manifest = store.once(StageCall(stage="bench", revision=1), lambda: Made(files=files)).digest
        store.close()
        for tool in ("litdata", "mosaic"):
            measure(self._command(tool, "convert"))

    def _fill(self) -> int:
        draw, total = np.random.default_rng(0), 0
        count = self.rows // SHARDS
        for number in range(SHARDS):
            tokens = draw.integers(0, 30_522, count * WIDTH).astype(np.int32)
            offsets = np.arange(count + 1, dtype=np.int32) * WIDTH
            lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(tokens))
            table = pa.table({"tokens": lists, "label": np.zeros(count, np.int64)})
            pq.write_table(table, self._parquet / f"{number:05d}.parquet", compression="zstd", row_group_size=65_536)
            total += int(tokens.sum(dtype=np.int64))
        return total

    def _command(self, tool: str, work: str, *more: str) -> list[str]:
        python = str(Path(ENVIRONMENTS[tool]).absolute() / "bin" / "python")
        return [python, SCRIPT, tool, work, str(self._parquet), str(self.folder / tool), *more]

    def rival(self, tool: str) -> Sample:
        """Read all rows with another tool."""
        answer = self.folder / "answer"
        return self._sample(measure(self._command(tool, "read", str(answer))), answer)

    def ours(self) -> Sample:
        """Read all rows with the loader."""
        answer, tables = self.folder / "answer", self.folder / "tables"
        shutil.rmtree(tables, ignore_errors=True)
        command = [sys.executable, "-m", "tests.benchmarks.loader_reader", self._manifest, str(tables), str(answer)]
        sample = self._sample(measure(command), answer)
        document = json.loads(answer.read_text())
        assert document["is_whole"], "the first epoch had other rows"
        for name in ("first epoch, seconds", "resume_ms"):
            self.extra[name] = round(max(document[name], self.extra.get(name, 0.0)), 3)
        return sample

    def _sample(self, process: Sample, answer: Path) -> Sample:
        """Return what the reader itself took, its start and imports apart; its answer is the right one."""
        document = json.loads(answer.read_text())
        assert (document["rows"], document["sum"]) == (self.rows, self._sum), f"other rows were read: {document}"
        return Sample(wall_seconds=document["wall"], cpu_seconds=document["cpu"], peak_mebibytes=process.peak_mebibytes)


def make_store(folder: Path) -> StorageSettings:
    """Return the settings of a new store in one directory."""
    folder.mkdir()
    settings = StorageSettings(endpoints=(EndpointSettings(name="a", url=f"file://{folder}"),), acknowledge=1)
    initialise(settings, rounds=0)
    return settings


def cost_per_row(folder: Path, sizes: list[int]) -> dict[str, float]:
    """Return the microseconds that publishing takes a row, by the number of rows; parts of 100,000 rows at most."""
    found: dict[str, float] = {}
    for size in sizes:
        own = folder / f"publish-{size}"
        store = open_store(make_store(own))
        inputs = [_part(store, number, min(100_000, size)) for number in range(-(-size // 100_000))]
        started = time.perf_counter()
        made = parts.publish(store, inputs, DatasetSpec(), workers=2).manifest
        found[str(size)] = round((time.perf_counter() - started) / size * 1e6, 2)
        assert made.facts["rows"]["kept"] == size, "other rows were published"
        store.close()
        shutil.rmtree(own)
        print(f"{size} rows published: {found[str(size)]} us a row", file=sys.stderr, flush=True)
    return found


def _part(store: Store, number: int, rows: int) -> Input:
    draw = np.random.default_rng(number)
    words = np.array([f"word{n}" for n in range(1000)])
    texts = [f"{number} {row} {' '.join(words[pick])}" for row, pick in enumerate(draw.integers(0, 1000, (rows, 20)))]
    return parts.put_part(store, parts.table(texts, start=number * rows), name=str(number))


def draw_costs(costs: dict[str, float], path: Path) -> None:
    """Write the plot of what a row costs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot([int(size) for size in costs], list(costs.values()), marker="o")
    axes.set(xscale="log", xlabel="rows", ylabel="publish_dataset, microseconds a row", ylim=(0, None))
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        folder = Path(name)
        bed = Bed(folder, int(ROWS * options.scale) // SHARDS * SHARDS)
        ways: dict[str, Callable[[], Sample]] = {
            "ours": bed.ours,
            **{tool: partial(bed.rival, tool) for tool in ENVIRONMENTS},
        }
        samples = alternate(ways, options.pairs)
        publish(compare("B2-read", samples, {"pyarrow": 1 / 0.8, "datasets": 1 / 3}, bed.extra, scale=options.scale))
        costs = cost_per_row(folder, [size for size in SIZES if size <= SIZES[-1] * options.scale])
    draw_costs(costs, Layout.from_environment(os.environ).home / "bench" / "B2-cost.png")
    print(json.dumps({"publish_dataset, us a row": costs}))


if __name__ == "__main__":
    main()
