"""Stages `ingest_file` and `ingest`: selected rows, anonymised, as Parquet. Nothing raw enters the store."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from operators.core.anonymisation.originals import ORIGINALS_NAME, public_key, seal_originals, vault_key_id
from operators.core.anonymisation.pseudonyms import key_id
from operators.core.anonymisation.spec import AnonymisationSpec
from operators.core.errors import DataError, SourceChanged, all_of
from operators.core.ingestion.erased import ERASED, ErasedRows
from operators.core.ingestion.spec import IngestionSpec
from operators.core.manifest import Input, Made, StageCall, spec_json
from operators.core.models.adopt import adopt_model
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.settings import LandingSettings
from operators.core.sources.each import FileWork, Put, do_each
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import (
    LISTING_NAME,
    SELECTION_NAME,
    Selection,
    SourceFile,
    decode_listing,
    source_key,
)
from operators.core.sources.reader import SourceColumns, read_columns
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Result, Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    from operators.core.ingestion.rows import RowAnonymiser
    from operators.core.models.names import NameModel

REVISION = 23
PART_NAME = "part.parquet"
EMPTY = "empty_after_cut"
"""Why a row is quarantined here and not by validation: nothing of its text is left."""


def ingest(
    store: Store,
    *,
    validation: str,
    landing: LandingSettings,
    source: SourceSpec,
    anonymisation: AnonymisationSpec,
    spec: IngestionSpec,
    key: bytes,
    progress: Progress,
    vault_key: str | None = None,
    models: Path | None = None,
) -> Result:
    """Have every file of a validated group ingested, and return the group's result.

    Its inputs are the validation and, with role `file`, one result per file; its facts `rows_in`, `rows_out` and
    `quarantined` by reason, with rows_in = rows_out + the sum of quarantined. A reversible policy, and no other, takes
    the vault's public key, in PEM; a spec with a model that finds names takes the folder in which models lie.

    Raises:
        ValueError: The vault's key is missing, not one, or not asked for.
        SourceChanged: A file is not the one that was validated.
        DataError: Files cannot be read, or a label is not one that the policy lists. The message names every such
            file, and the others are ingested.
        SourceUnavailable: The landing zone does not answer.
        PrivacyRiskTooHigh: A text could not be anonymised.
    """
    group = store.manifest(validation)
    files = decode_listing(store.read(store.manifest(_digest(group.input("listing"))).file(LISTING_NAME)))
    vault = _vault(anonymisation, vault_key)
    names = _name_model(store, spec, models, progress)
    stage = _FileStage(store, landing, source, anonymisation, spec, key, vault, names)
    erased, unread = ErasedRows(store, LandingZone(landing), source, anonymisation, key).of_all(files)
    work = [
        FileWork(
            path=file.path,
            call=stage.call(file, validated, erased[file]),
            read=functools.partial(stage.read, file),
            make=functools.partial(stage.make, file, _digest(validated), erased[file]),
        )
        for file, validated in zip(files, group.inputs_of("file"), strict=True)
        if file in erased
    ]
    results, refused = do_each(store, work, progress)
    if unread or refused:
        raise all_of([*unread, *refused])
    inputs = tuple(Input(role="file", identity=r.manifest.identity, manifest=r.digest) for r in results)
    call = StageCall(stage="ingest", revision=REVISION, inputs=(store.as_input("validation", validation), *inputs))
    facts = sum_facts([result.manifest.facts for result in results])
    return store.once(call, lambda: Made(facts=facts))


def _vault(policy: AnonymisationSpec, pem: str | None) -> X25519PublicKey | None:
    if policy.reversible != (pem is not None):
        raise ValueError(
            "a reversible policy needs the vault's public key (connection nightshift_vault), no other does"
        )
    return None if pem is None else public_key(pem)


def _name_model(store: Store, spec: IngestionSpec, models: Path | None, progress: Progress) -> Input | None:
    if spec.names is None:
        return None
    if models is None:
        raise ValueError("the spec has a model that finds names: name the folder in which models lie")
    adopted = adopt_model(store, models / spec.names.model.name, spec.names.model, progress)
    return store.as_input("name_model", adopted.digest)


class _FileStage:
    """Stage `ingest_file` with all that is the same for every file of a group."""

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
    ) -> None:
        self._store = store
        self._landing = LandingZone(landing)
        self._source = source
        self._anonymisation = anonymisation
        self._spec = spec
        self._key = key
        self._vault = vault
        self._names = names

    @functools.cached_property
    def _rows(self) -> RowAnonymiser:
        # Not before a file needs it: Presidio takes seconds to import, and most nights most files are found.
        from operators.core.ingestion.rows import RowAnonymiser

        names = None if self._names is None else self._loaded(_digest(self._names))
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

    def call(self, file: SourceFile, validated: Input, erased: tuple[int, ...]) -> StageCall:
        """Return what decides the result for one file, of whose rows some may be erased."""
        return StageCall(
            stage="ingest_file",
            revision=REVISION,
            inputs=(
                Input(role="source", identity=file.sha256),
                Input(**{**spec_json(validated), "role": "validation"}),
                *(() if self._names is None else (self._names,)),
            ),
            spec={
                "source": source_key(self._source),
                "anonymisation": spec_json(self._anonymisation),
                "ingestion": spec_json(self._spec),
                "key": key_id(self._key),
                "vault": None if self._vault is None else vault_key_id(self._vault),
                "day": file.day.isoformat(),
                **({"erased": erased} if erased else {}),
            },
        )

    def read(self, file: SourceFile) -> SourceColumns:
        """Return what a landing file holds."""
        limit = self._source.limits.max_file_bytes
        return read_columns(self._landing.read(file.path, limit, file.sha256), file.path, self._source)

    def make(self, file: SourceFile, validated: str, erased: tuple[int, ...], source: SourceColumns) -> Put:
        """Return what puts a file's rows, anonymised, into the store, but those erased; nothing is left of `source`."""
        selection = Selection.decode(self._store.read(self._store.manifest(validated).file(SELECTION_NAME)))
        if (rows := source.num_rows) != selection.rows:
            raise SourceChanged(f"{file.path}: {rows} rows, {selection.rows} were validated")
        self._rows.take_originals()  # of a file that was refused half-way
        quarantined = {**selection.quarantined, **dict.fromkeys(erased, ERASED)}
        is_held = np.zeros(rows, np.bool_)
        is_held[list(quarantined)] = True
        kept: list[pa.RecordBatch] = []
        start = 0
        while source.batches:
            batch = source.batches.popleft()
            places = start + np.flatnonzero(~is_held[start : start + batch.num_rows])
            going_on = batch if len(places) == batch.num_rows else batch.take(pa.array(places - start))
            ready, empty = self._rows.batch(going_on, file.day)
            quarantined |= dict.fromkeys(places[empty].tolist(), EMPTY)
            kept.append(ready)
            start += batch.num_rows
        table = pa.Table.from_batches(kept, self._rows.schema)
        return self._encoded(table, Selection(rows=rows, quarantined=quarantined))

    def _encoded(self, kept: pa.Table, selection: Selection) -> Put:
        from operators.core.ingestion.parquet import by_id, encode_table
        from operators.core.profiling.profile import PROFILE_NAME, Profile

        if kept.num_rows + len(selection.quarantined) != selection.rows:
            raise DataError(f"{selection.rows} rows in, {kept.num_rows} kept, {len(selection.quarantined)} quarantined")
        kept = by_id(kept)
        with ThreadPoolExecutor(1, thread_name_prefix="profile") as pool:
            profile = pool.submit(Profile.of, kept["text"], kept["label"], self._anonymisation.task)
            part = encode_table(kept)
        files = {PROFILE_NAME: profile.result().encode(), SELECTION_NAME: selection.encode()}
        if self._vault is not None:
            files[ORIGINALS_NAME] = seal_originals(self._rows.take_originals(), self._vault)
        facts = {"rows_in": selection.rows, "rows_out": kept.num_rows, "quarantined": selection.counts}
        return functools.partial(self._put, part, files, facts)

    def _put(self, part: bytes, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Made:
        entries = [self._store.put_bytes(PART_NAME, part, rows=facts["rows_out"])]
        entries += [self._store.put_bytes(name, data) for name, data in files.items()]
        return Made(files=tuple(entries), facts=facts)


def sum_facts(facts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the row counts of several files."""
    quarantined: dict[str, int] = {}
    for item in facts:
        for reason, count in item["quarantined"].items():
            quarantined[reason] = quarantined.get(reason, 0) + count
    return {
        "rows_in": sum(item["rows_in"] for item in facts),
        "rows_out": sum(item["rows_out"] for item in facts),
        "quarantined": dict(sorted(quarantined.items())),
    }


def _digest(item: Input) -> str:
    if item.manifest is None:
        raise DataError(f"the input of role {item.role!r} is no manifest of the store")
    return item.manifest
