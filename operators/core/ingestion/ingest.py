"""Stage `ingest`: every file of a validated group as a part. Nothing raw enters the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.core.anonymisation.originals import public_key
from operators.core.anonymisation.spec import AnonymisationSpec
from operators.core.errors import DataError, all_of
from operators.core.ingestion.erased import ErasedRows
from operators.core.ingestion.ingest_file import FileStage
from operators.core.ingestion.spec import IngestionSpec
from operators.core.manifest import Input, Made, StageCall
from operators.core.models.adopt import adopt_model
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.settings import LandingSettings
from operators.core.sources.each import do_each
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import LISTING_NAME, decode_listing
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Result, Store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

REVISION = 28


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
    erased, unread = ErasedRows(store, LandingZone(landing), source, anonymisation, key).of_all(files)
    with scratch_folder() as folder:
        stage = FileStage(store, landing, source, anonymisation, spec, key, vault, names, folder)
        pairs = zip(files, map(_digest, group.inputs_of("file")), strict=True)
        readable = [(file, validated, erased[file]) for file, validated in pairs if file in erased]
        work = list(store.membership.round.map(lambda one: stage.work(*one), readable))
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
