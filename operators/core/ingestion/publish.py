"""Stage `publish_dataset`: the parts of a window without duplicates, split, as one version of a data set."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from operators.core.anonymisation.pseudonyms import key_id, share_of
from operators.core.errors import DataError
from operators.core.ingestion.ingest import PART_NAME, sum_facts
from operators.core.ingestion.spec import DatasetSpec
from operators.core.manifest import FileEntry, Input, Made, Manifest, StageCall, spec_json
from operators.core.progress import Progress
from operators.core.storage import Result, Store

if TYPE_CHECKING:
    import pyarrow as pa

REVISION = 7


def publish_dataset(
    store: Store,
    *,
    parts: list[str],
    recipe: str,
    day: datetime.date,
    spec: DatasetSpec,
    key: bytes,
    progress: Progress,
) -> Result:
    """Have the window's data set committed, and be the newest of its stream if it is new.

    Files are `train/00000.parquet`, ... and `test/00000.parquet`, ...; facts `rows` {in, kept, duplicates,
    quarantined: {reason: n}}, `splits` {train, test}, `labels` (sorted), `recipe`, `day`; `risk` if it is asked for.

    Args:
        store: Where parts are and the data set goes.
        parts: Digests of `ingest` results; how files are grouped in them makes no difference.
        recipe: The recipe's name.
        day: The last day of the window.
        spec: How to split and shard.
        key: The key of the pseudonyms; it keys the split too.
        progress: Told after each part.

    Raises:
        DataError: A row was lost or made up on the way, or a split would be empty.
        PrivacyRiskTooHigh: Fewer rows are alike than the spec asks for.
    """
    files = {item.identity: item for digest in parts for item in store.manifest(digest).inputs_of("file")}
    inputs = tuple(
        Input(role="part", identity=item.identity, manifest=item.manifest) for _, item in sorted(files.items())
    )
    call = StageCall(
        stage="publish_dataset",
        revision=REVISION,
        inputs=inputs,
        spec={"dataset": spec_json(spec), "key": key_id(key), "recipe": recipe, "day": day.isoformat()},
    )
    result = store.once(call, lambda: _make(store, inputs, recipe, day, spec, key, progress))
    _announce(store, f"dataset-{recipe}", result.digest)
    return result


def _make(
    store: Store,
    inputs: tuple[Input, ...],
    recipe: str,
    day: datetime.date,
    spec: DatasetSpec,
    key: bytes,
    progress: Progress,
) -> Made:
    import pyarrow as pa

    from operators.core.anonymisation.risk import accepted_risk
    from operators.core.ingestion.parquet import decode_rows, schema_of

    manifests: list[Manifest] = []
    rows: list[dict[str, Any]] = []
    schemas = set()
    for number, item in enumerate(inputs, start=1):
        assert item.manifest is not None
        manifests.append(store.manifest(item.manifest))
        data = store.read(manifests[-1].file(PART_NAME))
        rows += decode_rows(data)
        schemas.add(schema_of(data))
        progress(number, len(inputs), "parts")
    if len(schemas) != 1:
        raise DataError(f"the parts have {len(schemas)} different sets of columns: ingest the whole window anew")
    kept = drop_duplicates(rows)
    splits = split(kept, spec.test_share, key)
    total = sum_facts([manifest.facts for manifest in manifests])
    held = sum(total["quarantined"].values())
    if total["rows_in"] != len(kept) + (len(rows) - len(kept)) + held or len(rows) != total["rows_out"]:
        raise DataError(f"{total['rows_in']} rows in, {len(rows)} in parts, {held} quarantined: rows were lost")
    empty = [name for name, part in splits.items() if not part]
    if empty:
        raise DataError(f"{len(kept)} distinct texts leave {' and '.join(empty)} empty: widen the window")
    facts: dict[str, Any] = {
        "rows": {
            "in": total["rows_in"],
            "kept": len(kept),
            "duplicates": len(rows) - len(kept),
            "quarantined": total["quarantined"],
        },
        "splits": {name: len(part) for name, part in splits.items()},
        "labels": sorted({row["label"] for row in kept}),
        "recipe": recipe,
        "day": day.isoformat(),
    }
    schema, size = schemas.pop(), spec.rows_per_shard
    if spec.risk is not None:
        facts["risk"] = accepted_risk([pa.Table.from_pylist(kept, schema)], spec.risk)
    entries = [entry for name, part in splits.items() for entry in _shards(store, name, part, size, schema)]
    return Made(files=tuple(entries), facts=facts)


def drop_duplicates(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each distinct text: the earliest, by day and id."""
    first: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["day"], row["id"])):
        first.setdefault(row["text"], row)
    return list(first.values())


def split(rows: list[dict[str, Any]], test_share: float, key: bytes) -> Mapping[str, list[dict[str, Any]]]:
    """Deal rows to train and test by a keyed hash of their text: a text stays on its side from night to night."""
    sides: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    for row in rows:
        sides["test" if share_of(row["text"], key) < test_share else "train"].append(row)
    return sides


def _shards(
    store: Store, name: str, rows: list[dict[str, Any]], rows_per_shard: int, schema: pa.Schema
) -> list[FileEntry]:
    from operators.core.ingestion.parquet import encode_rows

    ordered = sorted(rows, key=lambda row: (row["id"], row["day"]))
    pieces = [ordered[start : start + rows_per_shard] for start in range(0, len(ordered), rows_per_shard)]
    return [
        store.put_bytes(f"{name}/{number:05d}.parquet", encode_rows(piece, schema), rows=len(piece))
        for number, piece in enumerate(pieces)
    ]


def _announce(store: Store, stream_name: str, digest: str) -> None:
    """Have the stream name a data set, once: appended if no entry does."""
    stream = store.stream(stream_name)
    while digest not in {entry.manifest for entry in stream.entries()}:
        # Another run may take the next place; its entry stands, and ours goes after it.
        stream.append(digest, after=stream.head())
