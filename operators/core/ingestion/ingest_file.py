"""Stage `ingest_file`: the selected rows of one file, anonymised, as Parquet. A bounded number of them is in memory."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from operators.core.anonymisation.originals import ORIGINALS_NAME, seal_originals, vault_key_id
from operators.core.anonymisation.pseudonyms import key_id
from operators.core.anonymisation.spec import AnonymisationSpec
from operators.core.errors import DataError, SourceChanged
from operators.core.ingestion.erased import ERASED
from operators.core.ingestion.part_writer import PartWriter
from operators.core.ingestion.spec import IngestionSpec
from operators.core.manifest import Input, Made, StageCall, spec_json
from operators.core.profiling.profile import PROFILE_NAME, Profiler
from operators.core.scratch import scratch_folder
from operators.core.settings import LandingSettings
from operators.core.sources.each import FileWork, Put
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import SELECTION_NAME, Selection, SourceFile, source_key
from operators.core.sources.reader import Part, read_listed
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    from operators.core.ingestion.rows import RowAnonymiser
    from operators.core.models.names import NameModel

REVISION = 28
PART_NAME = "part.parquet"
EMPTY = "empty_after_cut"
"""Why a row is quarantined here and not by validation: nothing of its text is left."""


class FileStage:
    """What is the same for every file of a group.

    Args:
        store: Where results go.
        landing: Where the files are.
        source: What they look like.
        anonymisation: The policy.
        spec: What is kept of a text.
        key: The key of the pseudonyms.
        vault: Seals the originals, where the policy is reversible.
        names: The adopted model that finds names, if the spec asks for one.
        folder: Holds parts until the store does.
    """

    def __init__(
        self,
        store: Store,
        landing: LandingSettings,
        source: SourceSpec,
        anonymisation: AnonymisationSpec,
        spec: IngestionSpec,
        key: bytes,
        vault: X25519PublicKey | None,
        names: Input | None,
        folder: Path,
    ) -> None:
        self._store = store
        self._landing = LandingZone(landing)
        self._source = source
        self._anonymisation = anonymisation
        self._spec = spec
        self._key = key
        self._vault = vault
        self._names = names
        self._paths = (folder / f"{number:05d}.parquet" for number in itertools.count())

    @functools.cached_property
    def _rows(self) -> RowAnonymiser:
        # Not before a file needs it: Presidio takes seconds to import, and most nights most files are found.
        from operators.core.ingestion.rows import RowAnonymiser

        names = None if self._names is None or self._names.manifest is None else self._loaded(self._names.manifest)
        return RowAnonymiser(self._source, self._anonymisation, self._spec, self._key, names)

    def _loaded(self, adopted: str) -> NameModel:
        import torch

        from operators.core.models.names import NameModel

        assert self._spec.names is not None
        # A line is little work for two threads, and sums in another order could tip a word.
        torch.set_num_threads(1)
        with scratch_folder() as folder:
            self._store.fetch_all(self._store.manifest(adopted), folder)
            return NameModel(folder, self._spec.names.types, self._spec.names.min_probability)

    def work(self, file: SourceFile, validated: str, erased: tuple[int, ...]) -> FileWork[Part]:
        """Return what is to be done with one file, of whose rows some may be erased."""
        return FileWork(
            path=file.path,
            call=self._call(file, validated, erased),
            read=functools.partial(read_listed, self._landing, file, self._source),
            make=functools.partial(self._make, file, validated, erased),
        )

    def _call(self, file: SourceFile, validated: str, erased: tuple[int, ...]) -> StageCall:
        """Return what decides the result for one file.

        Of its validation that is which rows go on: another suite that holds back the same ones changes nothing.
        """
        selection = self._store.manifest(validated).file(SELECTION_NAME).sha256
        return StageCall(
            stage="ingest_file",
            revision=REVISION,
            inputs=(
                Input(role="source", identity=file.sha256),
                Input(role="validation", identity=selection, manifest=validated),
                *(() if self._names is None else (self._names,)),
            ),
            spec={
                "source": source_key(self._source),
                "anonymisation": spec_json(self._anonymisation),
                "ingestion": spec_json(self._spec),
                "key": key_id(self._key),
                "vault": None if self._vault is None else vault_key_id(self._vault),
                "day": file.day.isoformat(),
                # Two files may hold the same: each is a part of its own.
                "path": file.path,
                **({"erased": erased} if erased else {}),
            },
        )

    def _make(self, file: SourceFile, validated: str, erased: tuple[int, ...], parts: Iterator[Part]) -> Put:
        """Return what puts a file's rows, anonymised, into the store, but those erased."""
        selection = Selection.decode(self._store.read(self._store.manifest(validated).file(SELECTION_NAME)))
        held = Selection(rows=selection.rows, quarantined={**selection.quarantined, **dict.fromkeys(erased, ERASED)})
        self._rows.take_originals()  # of a file that was refused half-way
        profiler = Profiler(held.rows - len(held.quarantined), self._anonymisation.task)
        path = next(self._paths)
        kept, rows_out = self._write(file, held, path, profiler, parts)
        if rows_out + len(kept.quarantined) != kept.rows:
            raise DataError(f"{kept.rows} rows in, {rows_out} kept, {len(kept.quarantined)} quarantined")
        files = {PROFILE_NAME: profiler.profile().encode(), SELECTION_NAME: kept.encode()}
        if self._vault is not None:
            files[ORIGINALS_NAME] = seal_originals(self._rows.take_originals(), self._vault)
        facts = {"rows_in": kept.rows, "rows_out": rows_out, "quarantined": kept.counts}
        return functools.partial(self._put, path, files, facts)

    def _write(
        self, file: SourceFile, held: Selection, path: Path, profiler: Profiler, parts: Iterator[Part]
    ) -> tuple[Selection, int]:
        """Hold the rows that go on in a local part; return which do not, and how many do."""
        goes_on = np.ones(held.rows, np.bool_)
        goes_on[list(held.quarantined)] = False
        quarantined = dict(held.quarantined)
        writer = PartWriter(path, self._rows.schema)
        start = 0
        for batch in (part for part in parts if not isinstance(part, tuple)):
            places = np.flatnonzero(goes_on[start : start + batch.num_rows])
            taken = batch if len(places) == batch.num_rows else batch.take(pa.array(places))
            ready, empty = self._rows.batch(taken, file.day)
            quarantined |= dict.fromkeys((start + places[empty]).tolist(), EMPTY)
            profiler.add(ready.column("text"), ready.column("label"))
            writer.write(ready)
            start += batch.num_rows
        if start != held.rows:
            raise SourceChanged(f"{file.path}: {start} rows, {held.rows} were validated")
        return Selection(rows=start, quarantined=quarantined), writer.close()

    def _put(self, path: Path, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Made:
        entries = [self._store.put_file(PART_NAME, path, rows=facts["rows_out"])]
        path.unlink()
        entries += [self._store.put_bytes(name, data) for name, data in files.items()]
        return Made(files=tuple(entries), facts=facts)
