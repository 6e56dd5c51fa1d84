"""B2: shuffled reads of rows against raw pyarrow, `datasets`, LitData and MosaicML streaming.

Two million rows of 64 numbers, 512 MB as they lie in memory, in batches of 256. Ours is an epoch of the loader over a
store, its tables made, as the rivals' own formats are; the first epoch, in which they are made, stands beside it. Page
cache warm. Every reader adds up what it read: no ratio is given where a sum differs. MosaicML streaming takes more than
ten minutes for all rows, so it is held against ours over a tenth of them, apart.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.manifest import Made, StageCall
from operators.core.settings import STORAGE_VARIABLE, EndpointSettings, StorageSettings
from operators.core.storage import initialise, open_store
from tests.benchmarks.rival_reader import WIDTH
from tests.benchmarks.timing import Sample, alternate, compare, measure, parse, publish

ROWS, SHARDS = 2_000_000, 8
SCRIPT = str(Path(__file__).with_name("rival_reader.py"))
ENVIRONMENTS = {"pyarrow": ".venv", "datasets": ".venv-bench-readers", "litdata": ".venv-bench-readers"}
ENVIRONMENTS["mosaic"] = ".venv-bench-mosaic"


class Bed:
    """The rows as Parquet files, in a store, and in the own formats of some rivals."""

    def __init__(self, folder: Path, rows: int, rivals: tuple[str, ...]) -> None:
        folder.mkdir()
        self.folder, self.rows, self.rivals = folder, rows, rivals
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
        for tool in {"litdata", "mosaic"} & set(rivals):
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

    def compare(self, name: str, goal: dict[str, float], pairs: int, scale: float) -> None:
        """Read with all in turn, and print what it came to."""
        ways: dict[str, Callable[[], Sample]] = {"ours": self.ours}
        ways |= {tool: partial(self.rival, tool) for tool in self.rivals}
        publish(compare(name, alternate(ways, pairs), goal, self.extra, scale=scale))


def make_store(folder: Path) -> StorageSettings:
    """Return the settings of a store in one directory, a new one where there is none."""
    settings = StorageSettings(endpoints=(EndpointSettings(name="a", url=f"file://{folder}"),), acknowledge=1)
    if not folder.is_dir():
        folder.mkdir(parents=True)
        initialise(settings, rounds=0)
    return settings


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    rows = int(ROWS * options.scale) // SHARDS * SHARDS
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        whole = Bed(Path(name) / "whole", rows, ("pyarrow", "datasets", "litdata"))
        whole.compare("B2-read", {"pyarrow": 1 / 0.8, "datasets": 1 / 3}, options.pairs, options.scale)
        tenth = Bed(Path(name) / "tenth", rows // 10 // SHARDS * SHARDS, ("mosaic",))
        tenth.compare("B2-read-tenth", {}, options.pairs, options.scale)


if __name__ == "__main__":
    main()
