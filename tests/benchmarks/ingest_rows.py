"""B2's other half: what a landed row costs until it lies in a data set, and how far ingestion is from plain pyarrow.

Rows of an id, a label, a number and twenty words, 100,000 a file, are decoded and written as Parquet: by `ingest`,
under a policy that keeps every column, into a store of one directory, and by pyarrow alone. Beside it stand the rows a
second under the full anonymisation, the largest process while 5 GiB are ingested, and what a row costs in each stage
from ten thousand rows on, as numbers and as a plot. Page cache warm.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from operators.core.settings import STORAGE_VARIABLE
from operators.local.layout import Layout
from tests.benchmarks.ingest_stages import COLUMNS, DAY, LABELS
from tests.benchmarks.shard_io import make_store
from tests.benchmarks.timing import Sample, alternate, compare, measure, parse, publish

ROWS, FILE_ROWS = 400_000, 100_000
ANONYMISED_ROWS = 20_000
LARGE_BYTES = 5 * 1024**3
"""Of landing files, ingested to see what memory it takes."""
LARGE_FILE_ROWS, LARGE_WORDS = 900_000, 200
"""Of each such file: 1.3 GB of JSON."""
STAGES = ("discover", "validate", "ingest", "publish_dataset")
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
"""Rows that go through all stages, to see what one costs."""
_ROWS_AT_ONCE = 50_000
_WORDS = [f"word{number}" for number in range(1000)]


def land(folder: Path, form: str, rows: int, *, words: int = 20, file_rows: int = FILE_ROWS, suffix: str = "") -> Path:
    """Write rows as landing files of one day, and return the landing zone."""
    day = folder / "notes" / f"dt={DAY}"
    day.mkdir(parents=True)
    for number, start in enumerate(range(0, rows, file_rows)):
        made = _tables(number, start, min(file_rows, rows - start), words)
        path = day / f"{number:05d}.{form}{suffix}"
        if form == "parquet":
            pq.write_table(pa.concat_tables(made), path, compression="zstd")
            continue
        with path.open("wb") as file, _packed(file, suffix) as target:
            for table in made:
                target.write(_json_lines(table))
    return folder


def _packed(file: BinaryIO, suffix: str) -> AbstractContextManager[BinaryIO]:
    if not suffix:
        return contextlib.nullcontext(file)
    return zstandard.ZstdCompressor(write_checksum=True).stream_writer(file, closefd=False)


def _tables(seed: int, start: int, count: int, words: int) -> Iterator[pa.Table]:
    """Yield rows of so many words, in twenty picks of one or more, some thousands at once."""
    draw = np.random.default_rng(seed)
    picked = pa.array([" ".join(draw.choice(_WORDS, words // 20)) for _ in _WORDS] if words > 20 else _WORDS)
    for first in range(start, start + count, _ROWS_AT_ONCE):
        rows = np.arange(first, min(first + _ROWS_AT_ONCE, start + count))
        picks = picked.take(pa.array(draw.integers(0, len(picked), 20 * len(rows))))
        says = pc.binary_join(
            pa.ListArray.from_arrays(np.arange(0, 20 * len(rows) + 1, 20, dtype=np.int32), picks), " "
        )
        numbers = pa.array(rows).cast(pa.string())
        yield pa.table(
            {
                "id": _joined("n", pc.utf8_lpad(numbers, 9, "0")),
                "label": pa.array(LABELS).take(pa.array((rows % 5 > 0).astype(np.int8))),
                "text": _joined("Note ", numbers, " says ", says, "."),
                "amount": draw.random(len(rows)).round(2),
            }
        )


def _json_lines(table: pa.Table) -> bytes:
    """Return rows without a character that JSON would escape."""
    columns = [column.cast(pa.string()).combine_chunks() for column in table.columns]
    pieces = [piece for name, column in zip(COLUMNS, columns, strict=True) for piece in (f'", "{name}": "', column)]
    # All but the last are texts.
    pieces[0], pieces[-2] = '{"id": "', '", "amount": '
    return "".join(_joined(*pieces, "}\n").to_pylist()).encode()


def _joined(*pieces: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*pieces, "")


class Bed:
    """Landed files of one format, and a fresh store for each run over them."""

    def __init__(self, folder: Path, form: str, rows: int) -> None:
        folder.mkdir()
        self._folder, self._form, self.rows = folder, form, rows
        self.landing = land(folder / "landing", form, rows, suffix=".zst" if form == "jsonl" else "")
        self._characters: set[int] = set()

    def ours(self, policy: str = "keep") -> tuple[Sample, dict[str, Any]]:
        """Run all stages over the files in a process; return what `ingest` took, and all that it says."""
        os.environ[STORAGE_VARIABLE] = make_store(self._emptied("store") / "own").to_json()
        return self._measured("checked", policy)

    def plain(self) -> tuple[Sample, dict[str, Any]]:
        """Have pyarrow alone decode and write them."""
        return self._measured("pyarrow", str(self._emptied("plain")))

    def _measured(self, work: str, last: str) -> tuple[Sample, dict[str, Any]]:
        process, document = _side(work, self.landing, self._form, last, self._folder / "answer")
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


def memory_of(folder: Path, size: int) -> dict[str, Any]:
    """Return the MiB that each stage takes, in a process of its own, over plain files of that many bytes in all."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = size // 1460
    landing = land(folder / "landing", "jsonl", rows, words=LARGE_WORDS, file_rows=LARGE_FILE_ROWS)
    files = [path.stat().st_size for path in landing.rglob("*.jsonl")]
    os.environ[STORAGE_VARIABLE] = make_store(folder / "own").to_json()
    stages = {}
    for stage in STAGES:
        process, document = _side(stage, landing, "jsonl", "keep", folder / "answer")
        peak, seconds = round(process.peak_mebibytes, 1), round(document["wall"][stage], 1)
        stages[stage] = {"peak_mebibytes": peak, "seconds": seconds}
        print(f"{stage}: {stages[stage]}", file=sys.stderr, flush=True)
    shutil.rmtree(folder)
    return {"GiB": round(sum(files) / 1024**3, 2), "largest": max(files), "rows": rows, "stages": stages}


def _side(work: str, landing: Path, form: str, last: str, answer: Path) -> tuple[Sample, dict[str, Any]]:
    """Do one side's work in a process of its own; return what it cost, and what it says."""
    process = measure(
        [sys.executable, "-m", "tests.benchmarks.ingest_stages", work, str(landing), form, last, str(answer)]
    )
    return process, json.loads(answer.read_text())


Costs = dict[str, dict[str, dict[str, float]]]
"""By `cpu` and `wall`, stage and number of rows: microseconds that a row takes."""


def cost_per_row(folder: Path, sizes: Sequence[int]) -> Costs:
    """Return what a row takes of a core and on the clock, under the policy that keeps all."""
    costs: Costs = {"cpu": {}, "wall": {}}
    for size in sizes:
        _, document = Bed(folder / f"cost-{size}", "jsonl", size).ours()
        for clock, stages in costs.items():
            for stage, seconds in document[clock].items():
                stages.setdefault(stage, {})[str(size)] = round(seconds / size * 1e6, 2)
        shutil.rmtree(folder / f"cost-{size}")
        print(f"{size} rows: {document}", file=sys.stderr, flush=True)
    return costs


def draw_costs(costs: Costs, path: Path) -> None:
    """Write the plot of what a row costs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for stage, points in costs["cpu"].items():
        (line,) = axes.plot([int(size) for size in points], list(points.values()), marker="o", label=stage)
        clock = costs["wall"][stage]
        axes.plot([int(size) for size in clock], list(clock.values()), linestyle=":", color=line.get_color())
    # Both logarithmic: what a stage takes to start is many times what a row costs where rows are few.
    label = "microseconds a row: of a core, dotted on the clock"
    axes.set(xscale="log", yscale="log", xlabel="rows, every column kept", ylabel=label)
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
        memory = memory_of(folder / "large", int(LARGE_BYTES * options.scale))
    draw_costs(costs, Layout.from_environment(os.environ).home / "bench" / "B2-cost.png")
    print(json.dumps({"all anonymised, rows a second": rate, "memory": memory, "us a row": costs}))


if __name__ == "__main__":
    main()
