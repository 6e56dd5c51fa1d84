"""Both sides of `ingest_rows`: landed files through the stages, or through plain pyarrow, with what each took.

ingest_stages.py LAST_STAGE LANDING FORMAT POLICY ANSWER
ingest_stages.py pyarrow LANDING FORMAT STORE_FOLDER ANSWER
"""

from __future__ import annotations

import datetime
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.ingest_file import PART_NAME
from operators.core.ingestion.parquet import OPTIONS
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.row_groups import ROW_GROUP_ROWS
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.progress import no_progress
from operators.core.settings import LandingSettings, StorageSettings
from operators.core.sources.discover import discover
from operators.core.sources.spec import Column, ColumnType, Content, Format, ReadLimits, SourceSpec
from operators.core.storage import Result, Store, open_store
from operators.core.validation.spec import Expectation, ValidationSpec
from operators.core.validation.validate import validate

DAY = datetime.date(2026, 11, 22)
KEY = b"a key for benchmarks, 32 bytes.."
LABELS = ("ham", "spam")
COLUMNS = ("id", "label", "text", "amount")
SUITE = ValidationSpec(
    expectations=(
        Expectation.of_rows("wrong_type", "be_null", "wrong_type"),
        Expectation.of_rows("id", "be_unique", "id_repeated"),
        Expectation.of_rows("label", "be_in_set", "label_unknown", value_set=LABELS),
        Expectation.of_rows("text_characters", "be_between", "text_empty", min_value=1),
    )
)
_KEEP = {name: ColumnPolicy(column=name, action=Action.KEEP) for name in COLUMNS}
POLICIES = {
    "keep": AnonymisationSpec(columns=tuple(_KEEP.values())),
    "all": AnonymisationSpec(
        columns=(
            ColumnPolicy(column="id", action=Action.IDENTIFIER),
            ColumnPolicy(column="label", action=Action.CATEGORY, values=LABELS),
            ColumnPolicy(column="text", action=Action.TEXT),
            _KEEP["amount"],
        )
    ),
}


def source(form: str) -> SourceSpec:
    """Return what the rows look like; limits fit files of a million rows."""
    types = {"amount": ColumnType.NUMBER}
    return SourceSpec(
        folder="notes",
        format=Format(form),
        columns=tuple(Column(name, types.get(name, ColumnType.TEXT)) for name in COLUMNS),
        content=Content.PLAIN,
        id_column="id",
        label_column="label",
        text_columns=("text",),
        limits=ReadLimits(
            max_file_bytes=4 * 1024**3, max_decoded_bytes=4 * 1024**3, max_rows=10**7, max_cpu_seconds=3600
        ),
    )


class Clock:
    """Wall and processor time by stage; the processes that parse included."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block."""
        wall, cpu = time.perf_counter(), _cpu()
        yield
        self.wall[name], self.cpu[name] = time.perf_counter() - wall, _cpu() - cpu


def _cpu() -> float:
    processes = [psutil.Process(), *psutil.Process().children()]
    return sum(sum(process.cpu_times()[:4]) for process in processes)


def run_stages(landing: Path, form: str, policy: str, last: str) -> dict[str, Any]:
    """Take a landing zone from its files to a data set, as far as a stage; what was made before is found.

    Args:
        landing: Where the files are.
        form: What they are.
        policy: One of `POLICIES`.
        last: A stage, or `checked`: then what was made is read and counted.
    """
    store = open_store(StorageSettings.from_environment(os.environ))
    clock, made = Clock(), [""]
    for stage, step in _steps(store, LandingSettings(url=landing.as_uri()), form, policy).items():
        with clock.stage(stage):
            made.append(step(made[-1]).digest)
        if stage == last:
            break
    answer: dict[str, Any] = {"wall": clock.wall, "cpu": clock.cpu}
    if last == "checked":
        rows = store.manifest(made[-1]).facts["rows"]
        assert rows["in"] == rows["kept"] + rows["duplicates"] + sum(rows["quarantined"].values())
        answer |= {"rows": rows["in"], "characters": _characters(store, made[-2])}
    store.close()
    return answer


def _steps(store: Store, zone: LandingSettings, form: str, policy: str) -> dict[str, Callable[[str], Result]]:
    """Return what each stage does with the digest that the stage before it came to."""
    common: dict[str, Any] = {"landing": zone, "source": source(form), "progress": no_progress}
    of_day: dict[str, Any] = {"landing": zone, "spec": source(form), "first_day": DAY, "last_day": DAY}
    return {
        "discover": lambda _: discover(store, progress=no_progress, groups=1, **of_day)[0],
        "validate": lambda digest: validate(store, listing=digest, spec=SUITE, **common),
        "ingest": lambda digest: ingest(
            store, validation=digest, anonymisation=POLICIES[policy], spec=IngestionSpec(), key=KEY, **common
        ),
        "publish_dataset": lambda digest: publish_dataset(
            store, parts=[digest], recipe="notes", day=DAY, spec=DatasetSpec(), key=KEY, progress=no_progress
        ),
    }


def _characters(store: Store, group: str) -> int:
    inputs = store.manifest(group).inputs_of("file")
    manifests = [store.manifest(item.manifest) for item in inputs if item.manifest]
    tables = (pq.read_table(pa.BufferReader(store.read(one.file(PART_NAME))), columns=["text"]) for one in manifests)
    return sum(pc.sum(pc.utf8_length(table["text"])).as_py() for table in tables)


def run_pyarrow(landing: Path, form: str, target: Path) -> dict[str, Any]:
    """Decode each file and write it as Parquet with the same options, synced: what no pipeline can do without."""
    from pyarrow import json as reader

    clock, rows, characters = Clock(), 0, 0
    with clock.stage("ingest"):
        for path in sorted(landing.rglob("*.*")):
            with pa.input_stream(str(path), compression="detect") as stream:
                table = reader.read_json(stream) if form == "jsonl" else pq.read_table(path)
            with (target / f"{path.name}.parquet").open("wb") as file:
                pq.write_table(
                    table, file, row_group_size=ROW_GROUP_ROWS, use_dictionary=["label", "amount"], **OPTIONS
                )
                os.fsync(file.fileno())
            rows += table.num_rows
            characters += pc.sum(pc.utf8_length(table["text"])).as_py()
    return {"rows": rows, "characters": characters, "wall": clock.wall, "cpu": clock.cpu}


def main() -> None:
    """Do one side, and write what it took."""
    work, landing, form, last, answer = sys.argv[1:]
    zone = Path(landing)
    made = run_pyarrow(zone, form, Path(last)) if work == "pyarrow" else run_stages(zone, form, last, work)
    Path(answer).write_text(json.dumps(made))


if __name__ == "__main__":
    main()
