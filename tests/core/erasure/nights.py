"""A main job's nights over small mails: the real stages from landing to data set, small stand-ins for what trains."""

from __future__ import annotations

import datetime
import io
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.deployment.releases import ReleaseLine, Wanted, make_release
from operators.core.erasure.search import Place
from operators.core.evaluation.gate import gate
from operators.core.evaluation.spec import GateSpec
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.progress import no_progress
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.sources.discover import discover
from operators.core.sources.landing import LandingZone
from operators.core.storage import Result, Store
from operators.core.validation.validate import validate
from tests.conftest import NAMES
from tests.core.ingestion.parts import decode_rows
from tests.core.mails import DAY, KEY, POLICY, SOURCE, SUITE, at, land, mail
from tests.core.signers import SIGNER, TRUSTED

RECIPE = "tiny"
NUMBER = 13
"""Of the mail that is erased in most tests."""
ADDRESS = f"kre{NUMBER}@munnari.oz.au"


def settings_of(folder: Path) -> StorageSettings:
    """Return the settings of a store of three directories below a folder."""
    endpoints = tuple(EndpointSettings(name=name, url=f"file://{folder / name}") for name in NAMES)
    return StorageSettings(endpoints=endpoints, acknowledge=2)


def copy_of(first_night: Path, folder: Path) -> StorageSettings:
    """Return the settings of a copy of a store after its first night."""
    for name in NAMES:
        shutil.copytree(first_night / name, folder / name)
    return settings_of(folder)


def place(landing: Path) -> Place:
    """Return the source of these tests."""
    return Place(LandingZone(at(landing)), SOURCE, POLICY, KEY)


def land_week(landing: Path) -> None:
    """Put eight mails into each of four days: each its own sender, who is named in its text."""
    for day in range(4):
        land(landing, DAY - datetime.timedelta(days=day), [mail(10 * day + number) for number in range(8)])


def make_dataset(store: Store, landing: Path) -> Result:
    """Run the stages from discover to publish_dataset."""
    where = at(landing)
    first = DAY - datetime.timedelta(days=9)
    listings = discover(
        store, landing=where, spec=SOURCE, first_day=first, last_day=DAY, progress=no_progress, groups=2
    )
    checked = [
        validate(store, listing=one.digest, landing=where, source=SOURCE, spec=SUITE, progress=no_progress)
        for one in listings
    ]
    parts = [
        ingest(
            store,
            validation=one.digest,
            landing=where,
            source=SOURCE,
            anonymisation=POLICY,
            spec=IngestionSpec(),
            key=KEY,
            progress=no_progress,
        ).digest
        for one in checked
    ]
    return publish_dataset(
        store, parts=parts, recipe=RECIPE, day=DAY, spec=DatasetSpec(test_share=0.3), key=KEY, progress=no_progress
    )


def rows_of(store: Store, dataset: Manifest) -> list[dict[str, object]]:
    """Return every row of a data set."""
    return [row for entry in dataset.files for row in decode_rows(store.read(entry))]


def night(store: Store, landing: Path) -> str:
    """Run a whole night; return the digest of the release that is live afterwards."""
    data = make_dataset(store, landing)
    texts = "\n".join(str(row["text"]) for row in rows_of(store, data.manifest))

    def stage(name: str, inputs: dict[str, str], file: str, content: bytes, **facts: object) -> str:
        made_of = tuple(store.as_input(role, digest) for role, digest in inputs.items())
        call = StageCall(stage=name, revision=1, inputs=made_of)
        return store.once(call, lambda: Made(files=(store.put_bytes(file, content),), facts=facts)).digest

    # A model that learnt its rows by heart, as models do.
    model = stage("fine_tune", {"dataset": data.digest}, "model.bin", f"weights of {texts}".encode())

    def evaluate(model: str, dataset: str) -> Result:
        answers = io.BytesIO()
        rows = [{**row, "predicted": row["label"]} for row in rows_of(store, store.manifest(dataset))]
        pq.write_table(pa.Table.from_pylist(rows), answers)
        inputs = {"model": model, "dataset": dataset}
        facts = {"measure": "accuracy", "score": 0.99}
        digest = stage("evaluate", inputs, "predictions.parquet", answers.getvalue(), **facts)
        return Result(digest=digest, manifest=store.manifest(digest), found=False)

    evaluation = evaluate(model, data.digest).digest
    verdict = gate(store, evaluation, recipe=RECIPE, spec=GateSpec(min_score=0.5), evaluate=evaluate, signer=SIGNER)
    line, wanted = ReleaseLine(store, RECIPE), Wanted.read(store, RECIPE, verdict.digest, TRUSTED)
    if line.live is not None and line.live.model == wanted.model:
        return line.live.digest
    line.append(make_release(store, wanted).digest)
    return line.live.digest if line.live else ""
