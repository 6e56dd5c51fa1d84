"""B2's other half: what a landed row costs until it lies in a data set, and how far ingestion is from plain pyarrow.

Rows of an id, a label, a number and twenty words, 100,000 a file, are decoded and written as Parquet: by `ingest`,
under a policy that keeps every column, into a store of one directory, and by pyarrow alone. Beside it stand the rows a
second under the full anonymisation, the largest process while 5 GiB are ingested, and what a row costs in each stage
from ten thousand rows on, as numbers and as a plot. Page cache warm.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from operators.core.settings import STORAGE_VARIABLE
from operators.local.layout import Layout
from tests.benchmarks.ingest_stages import DAY, LABELS
from tests.benchmarks.shard_io import make_store
from tests.benchmarks.timing import Sample, alternate, compare, measure, parse, publish

ROWS, FILE_ROWS = 400_000, 100_000
ANONYMISED_ROWS = 20_000
LARGE_BYTES = 5 * 1024**3
"""Of texts, ingested to see what memory it takes."""
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
"""Rows that go through all stages, to see what one costs."""
_WORDS = np.array([f"word{number}" for number in range(1000)])


def land(folder: Path, form: str, rows: int, *, words: int = 20) -> Path:
    """Write rows as landing files of one day, and return the landing zone."""
    day = folder / "notes" / f"dt={DAY}"
    day.mkdir(parents=True)
    for number, start in enumerate(range(0, rows, FILE_ROWS)):
        made = _rows(number, start, min(FILE_ROWS, rows - start), words)
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(list(made)), day / f"{number:05d}.parquet", compression="zstd")
        else:
            lines = "".join(f"{json.dumps(row)}\n" for row in made).encode()
            (day / f"{number:05d}.jsonl.zst").write_bytes(zstandard.ZstdCompressor(write_checksum=True).compress(lines))
    return folder


def _rows(seed: int, start: int, count: int, words: int) -> Iterator[dict[str, Any]]:
    draw = np.random.default_rng(seed)
    picks, amounts = draw.integers(0, len(_WORDS), (count, words)), draw.random(count).round(2).tolist()
    for row, (pick, amount) in enumerate(zip(picks, amounts, strict=True), start=start):
        text = f"Note {row} says {' '.join(_WORDS[pick])}."
        yield {"id": f"n{row:09d}", "label": LABELS[row % 5 > 0], "text": text, "amount": amount}


class Bed:
    """Landed files of one format, and a fresh store for each run over them."""

    def __init__(self, folder: Path, form: str, rows: int, *, words: int = 20) -> None:
        folder.mkdir()
        self._folder, self._form, self.rows = folder, form, rows
        self.landing = land(folder / "landing", form, rows, words=words)
        self._characters: set[int] = set()

    def ours(self, policy: str = "keep") -> tuple[Sample, dict[str, Any]]:
        """Run all stages over the files in a process; return what `ingest` took, and all that it says."""
        store = self._emptied("store")
        os.environ[STORAGE_VARIABLE] = make_store(store / "own").to_json()
        return self._measured("stages", policy)

    def plain(self) -> tuple[Sample, dict[str, Any]]:
        """Have pyarrow alone decode and write them."""
        return self._measured("pyarrow", str(self._emptied("plain")))

    def _measured(self, work: str, last: str) -> tuple[Sample, dict[str, Any]]:
        answer = self._folder / "answer"
        module = [sys.executable, "-m", "tests.benchmarks.ingest_stages"]
        process = measure([*module, work, str(self.landing), self._form, last, str(answer)])
        document = json.loads(answer.read_text())
        assert document["rows"] == self.rows, f"other rows were read: {document}"
        if last != "all":
            self._characters.add(document["characters"])
            assert len(self._characters) == 1, "other texts were read"
        wall, cpu = document["wall"]["ingest"], document["cpu"]["ingest"]
        return Sample(wall_seconds=wall, cpu_seconds=cpu, peak_mebibytes=process.peak_mebibytes), document

    def _emptied(self, name: str) -> Path:
        shutil.rmtree(self._folder / name, ignore_errors=True)
        (self._folder / name).mkdir()
        return self._folder / name


def compare_formats(folder: Path, rows: int, pairs: int, scale: float) -> None:
    """Print what ingestion takes beside pyarrow, for a format that is parsed and one that is mapped."""
    for form in ("jsonl", "parquet"):
        bed = Bed(folder / form, form, rows)
        ways: dict[str, Callable[[], Sample]] = {"ours": lambda: bed.ours()[0], "pyarrow": lambda: bed.plain()[0]}  # noqa: B023
        samples = alternate(ways, pairs)
        median = sorted(sample.wall_seconds for sample in samples["ours"])[pairs // 2]
        limit = {"rows a second": round(rows / median, 1)}
        publish(compare(f"B2-ingest-{form}", samples, {"pyarrow": 1 / 0.8}, limit, scale=scale))


def anonymised_rate(folder: Path, rows: int) -> float:
    """Return how many rows a second are ingested under the full anonymisation."""
    sample, _ = Bed(folder / "anonymised", "jsonl", rows).ours("all")
    return round(rows / sample.wall_seconds, 1)


def memory_of(folder: Path, size: int) -> dict[str, float]:
    """Return the MiB that the largest process took while texts of that many bytes were ingested and published."""
    rows = size // 1400
    sample, _ = Bed(folder / "large", "jsonl", rows, words=200).ours()
    shutil.rmtree(folder / "large")
    return {"GiB": round(size / 1024**3, 2), "rows": rows, "peak_mebibytes": round(sample.peak_mebibytes, 1)}


def cost_per_row(folder: Path, sizes: list[int]) -> dict[str, dict[str, float]]:
    """Return the microseconds that a row takes, by stage and number of rows, under the policy that keeps all."""
    costs: dict[str, dict[str, float]] = {}
    for size in sizes:
        _, document = Bed(folder / f"cost-{size}", "jsonl", size).ours()
        for stage, seconds in document["wall"].items():
            costs.setdefault(stage, {})[str(size)] = round(seconds / size * 1e6, 2)
        shutil.rmtree(folder / f"cost-{size}")
        print(f"{size} rows: {document['wall']}", file=sys.stderr, flush=True)
    return costs


def draw_costs(costs: dict[str, dict[str, float]], path: Path) -> None:
    """Write the plot of what a row costs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for stage, points in costs.items():
        axes.plot([int(size) for size in points], list(points.values()), marker="o", label=stage)
    # Both logarithmic: what a stage takes to start is many times what a row costs where rows are few.
    axes.set(xscale="log", yscale="log", xlabel="rows", ylabel="microseconds a row, every column kept")
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        folder = Path(name)
        compare_formats(folder, int(ROWS * options.scale), options.pairs, options.scale)
        rate = anonymised_rate(folder, int(ANONYMISED_ROWS * options.scale))
        costs = cost_per_row(folder, [size for size in SIZES if size <= SIZES[-1] * options.scale])
        memory = memory_of(folder, int(LARGE_BYTES * options.scale))
    draw_costs(costs, Layout.from_environment(os.environ).home / "bench" / "B2-cost.png")
    print(json.dumps({"all anonymised, rows a second": rate, "memory": memory, "us a row": costs}))


if __name__ == "__main__":
    main()
