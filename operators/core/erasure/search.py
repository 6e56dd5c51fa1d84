"""The search for rows: through every stored Parquet file, decoded, and through every file of the landing zone."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.pseudonyms import key_id
from operators.core.anonymisation.spec import AnonymisationSpec
from operators.core.erasure.marks import stored_id
from operators.core.errors import DataError
from operators.core.manifest import FileEntry, Manifest
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.sources.discover import paths_of
from operators.core.sources.landing import LandingZone
from operators.core.sources.reader import read_columns
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Store
from operators.core.storage.erasures import ErasedRow

BATCH_ROWS = 4096
_STAGES = ("ingest_file", "publish_dataset")

IsWanted = Callable[[str, str, str, str], bool]
"""(source folder, day, stored id, all texts of the row) -> whether it is looked for."""
IsWantedThere = Callable[[str, str | None, Mapping[str, Any]], bool]
"""(day, id as it would be stored, landing row) -> whether it is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFile:
    """A part or shard that holds wanted rows."""

    manifest: str
    stage: str
    name: str
    rows: int
    """How many of its rows are wanted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LandingFile:
    """A landing file that holds wanted rows: its owner's to mend, nothing is ever written there."""

    path: str
    rows: tuple[int, ...]
    """Their numbers, from 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """What the store holds."""

    rows: frozenset[ErasedRow]
    files: tuple[StoredFile, ...]
    other_keys: int
    """Files under pseudonyms of another key: a person cannot be recognised there, a row by its id can."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Landed:
    """What one source's folder of the landing zone holds."""

    rows: frozenset[ErasedRow]
    files: tuple[LandingFile, ...]
    unread: tuple[str, ...]
    """Why files could not be read, each with its path."""


def search_store(
    store: Store,
    manifests: Mapping[str, Manifest],
    present: frozenset[str],
    is_wanted: IsWanted,
    key: bytes,
    progress: Progress,
) -> Stored:
    """Return every wanted row of parts and data sets; memory is bounded by one stored file's batch.

    Args:
        store: Where they are.
        manifests: Every manifest of the store.
        present: Stored digests of the objects that are there: what was erased before is not looked for.
        is_wanted: Which rows.
        key: The key of the pseudonyms.
        progress: Told of the files read.
    """
    wanted = [
        (digest, entry)
        for digest, manifest in manifests.items()
        if manifest.stage in _STAGES
        for entry in manifest.files
        if entry.name.endswith(".parquet") and entry.stored_sha256 in present
    ]
    rows: set[ErasedRow] = set()
    files: list[StoredFile] = []
    others = 0
    for number, (digest, entry) in enumerate(wanted, start=1):
        manifest = manifests[digest]
        others += manifest.spec["key"] != key_id(key)
        folder = _source_folder(manifest, manifests)
        found = [(day, row_id) for day, row_id, text in _rows(store, entry) if is_wanted(folder, day, row_id, text)]
        rows |= {ErasedRow(source=folder, day=day, id=row_id, key=manifest.spec["key"]) for day, row_id in found}
        if found:
            files.append(StoredFile(manifest=digest, stage=manifest.stage, name=entry.name, rows=len(found)))
        progress(number, len(wanted), "stored files")
    return Stored(rows=frozenset(rows), files=tuple(files), other_keys=others)


def _source_folder(manifest: Manifest, manifests: Mapping[str, Manifest]) -> str:
    """Return the source of a part, or of a data set: all its parts are of one."""
    while manifest.stage != "ingest_file":
        part = manifest.inputs_of("part")[0].manifest
        assert part is not None, "a data set's parts lie in the store"
        manifest = manifests[part]
    return str(manifest.spec["source"]["folder"])


def _rows(store: Store, entry: FileEntry) -> Iterator[tuple[str, str, str]]:
    """Yield day, id and all texts of every row of a stored table."""
    with scratch_folder() as folder:
        store.fetch(entry, folder / "table.parquet")
        with pq.ParquetFile(folder / "table.parquet", pre_buffer=False) as table:
            texts = [column.name for column in table.schema_arrow if pa.types.is_string(column.type)]
            for batch in table.iter_batches(batch_size=BATCH_ROWS, columns=["day", *texts]):
                for row in batch.to_pylist():
                    yield str(row["day"]), row["id"], "\n".join(row[name] or "" for name in texts)


class Place:
    """One source's folder of the landing zone, with the policy under which its rows are stored."""

    def __init__(self, zone: LandingZone, source: SourceSpec, policy: AnonymisationSpec, key: bytes) -> None:
        self.source, self.anonymiser = source, Anonymiser(policy, key)
        self._zone, self._key = zone, key_id(key)

    def search(self, is_wanted: IsWantedThere, days: Iterable[str] | None, progress: Progress) -> Landed:
        """Return every wanted row of the source's landing files, of these days or of all."""
        rows: set[ErasedRow] = set()
        files, unread = [], []
        wanted = [(day, path) for day in (self._days() if days is None else sorted(days)) for path in self._paths(day)]
        for number, (day, path) in enumerate(wanted, start=1):
            try:
                found = self._matching(is_wanted, day, path)
            except DataError as error:
                unread.append(str(error) if path in str(error) else f"{path}: {error}")
                continue
            ids = {row_id for row_id in found.values() if row_id is not None}
            rows |= {ErasedRow(source=self.source.folder, day=day, id=row_id, key=self._key) for row_id in ids}
            if found:
                files.append(LandingFile(path=path, rows=tuple(found)))
            progress(number, len(wanted), "landing files")
        return Landed(rows=frozenset(rows), files=tuple(files), unread=tuple(unread))

    def _days(self) -> list[str]:
        partition = re.compile(rf"{re.escape(self.source.partition_key)}=(\d{{4}}-\d\d-\d\d)")
        return [day[1] for entry in self._zone.list(self.source.folder) if (day := partition.fullmatch(entry.name))]

    def _paths(self, day: str) -> Iterator[str]:
        return paths_of(self._zone, self.source, datetime.date.fromisoformat(day))

    def _matching(self, is_wanted: IsWantedThere, day: str, path: str) -> dict[int, str | None]:
        """Return the stored id, None where it has none, by the number, from 1, of each wanted row of a file."""
        limit = self.source.limits.max_file_bytes
        sha256, _ = self._zone.digest(path, limit)
        found: dict[int, str | None] = {}
        number = 0
        for part in read_columns(self._zone.open(path, limit, sha256), path, self.source):
            for row in () if isinstance(part, tuple) else part.to_pylist():
                number += 1
                value = row.get(self.source.id_column)
                row_id = None if value is None else stored_id(self.anonymiser, value)
                if is_wanted(day, row_id, row):
                    found[number] = row_id
        return found
