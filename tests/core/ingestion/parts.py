"""Parts of a window, put into a store as `ingest_file` leaves them, without landing files and anonymisation."""

from __future__ import annotations

import datetime
import io
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.ingestion.ingest import sum_facts
from operators.core.ingestion.ingest_file import PART_NAME
from operators.core.ingestion.parquet import SCHEMA
from operators.core.ingestion.part_writer import PartWriter
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.rows import RowAnonymiser
from operators.core.ingestion.spec import DatasetSpec
from operators.core.manifest import Input, Made, Manifest, StageCall, sha256_hex
from operators.core.progress import no_progress
from operators.core.storage import Result, Store
from tests.core.mails import DAY, KEY


def table(texts: Sequence[str], *, day: datetime.date = DAY, label: str = "ham", start: int = 0) -> pa.Table:
    """Return rows with the four columns that every part has."""
    return pa.table(
        {
            "id": pa.array([f"id_{start + number:06d}" for number in range(len(texts))], pa.string()),
            "day": pa.array([day] * len(texts), pa.date32()),
            "text": pa.array(list(texts), pa.string()),
            "label": pa.array([label] * len(texts), pa.string()),
        }
    )


def decode_rows(data: bytes) -> list[dict[str, Any]]:
    """Return the rows of a Parquet file, in its order."""
    return list(pq.read_table(pa.BufferReader(data)).to_pylist())


def encode_rows(rows: Sequence[Mapping[str, Any]], schema: pa.Schema = SCHEMA) -> bytes:
    """Return rows as the file of a part."""
    with tempfile.TemporaryDirectory() as folder:
        writer = PartWriter(Path(folder) / "part", schema)
        writer.write(pa.RecordBatch.from_pylist([dict(row) for row in rows], schema))
        writer.close()
        return (Path(folder) / "part").read_bytes()


def anonymised(anonymiser: RowAnonymiser, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what leaves one row, None where nothing is left of its text."""
    left, _ = anonymiser.batch(pa.RecordBatch.from_pylist([dict(row)]), DAY)
    return dict(left.to_pylist()[0]) if left.num_rows else None


def put_part(store: Store, rows: pa.Table, *, day: datetime.date = DAY, quarantined: int = 0, name: str = "") -> Input:
    """Put one file's result into a store and return it as an input; equal names and rows are one file."""
    buffer = io.BytesIO()
    pq.write_table(rows, buffer, row_group_size=1000)
    entry = store.put_bytes(PART_NAME, buffer.getvalue(), rows=rows.num_rows)
    source = Input(role="source", identity=sha256_hex(name.encode()))
    call = StageCall(
        stage="ingest_file", revision=1, inputs=(source,), spec={"day": day.isoformat(), "held": quarantined}
    )
    held = {"held": quarantined} if quarantined else {}
    facts = {"rows_in": rows.num_rows + quarantined, "rows_out": rows.num_rows, "quarantined": held}
    digest = store.put_manifest(Manifest.of(call, Made(files=(entry,), facts=facts)))
    return Input(role="file", identity=store.manifest(digest).identity, manifest=digest)


def put_group(store: Store, files: Sequence[Input]) -> str:
    """Put a group's result into a store, as `ingest` does, and return its digest."""
    manifests = [store.manifest(item.manifest) for item in files if item.manifest]
    facts = sum_facts([manifest.facts for manifest in manifests])
    return store.put_manifest(
        Manifest.of(StageCall(stage="ingest", revision=1, inputs=tuple(files)), Made(facts=facts))
    )


def publish(
    store: Store, parts: Sequence[Input], spec: DatasetSpec, *, groups: int = 1, recipe: str = "tiny", **options: Any
) -> Result:
    """Publish parts that come in a number of groups."""
    return publish_dataset(
        store,
        parts=[put_group(store, parts[start::groups]) for start in range(groups)],
        recipe=recipe,
        day=DAY,
        spec=spec,
        key=KEY,
        progress=no_progress,
        **options,
    )


def read_split(store: Store, manifest: Manifest, split: str) -> pa.Table:
    """Return a split's rows, in the order of its shards."""
    entries = [entry for entry in manifest.files if entry.name.startswith(f"{split}/")]
    return pa.concat_tables([pq.read_table(io.BytesIO(store.read(entry))) for entry in entries])
