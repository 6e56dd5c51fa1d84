"""Labelled spans from a data set to an answer: trained by two ranks, measured, made small, released and asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from operators.core.compression.compress import compress
from operators.core.compression.make_candidates import make_candidates
from operators.core.compression.measure_candidates import measure_candidates
from operators.core.compression.spec import BudgetSpec, ExportSpec, MeasurementSpec
from operators.core.deployment.deploy import deploy
from operators.core.deployment.spec import DeploymentSpec
from operators.core.errors import DataError
from operators.core.evaluation.evaluate import evaluate
from operators.core.evaluation.gate import gate
from operators.core.evaluation.spec import EvaluationSpec, GateSpec
from operators.core.finetuning.fine_tune import fine_tune
from operators.core.finetuning.spec import TrainingSpec
from operators.core.labels import decode_spans
from operators.core.progress import no_progress
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Result, Store, initialise, open_store
from operators.core.training.spec import Machine
from tests.core.deployment.conftest import ServerThread
from tests.core.signers import SIGNER, TRUSTED
from tests.core.training.tagged import LABELS, publish_tagged, sentence
from tests.core.training.tiny import adopt_tiny

pytestmark = pytest.mark.integration

SPEC = TrainingSpec(
    task="token_classification",
    epochs=4,
    batch_size=4,
    max_length=32,
    encoder_rate=3e-3,
    head_rate=3e-2,
    dropout=0.0,
    ranks=2,
    precision="fp32",
)
CPU = Machine(cores=2, gpus=0, precision="fp32")


@dataclass(frozen=True)
class Trained:
    """A store with a tagger, and what made it."""

    store: Store
    settings: StorageSettings
    dataset: str
    base_model: str
    model: Result


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A tagger of 30,000 parameters, fine-tuned as the task does it."""
    folder = tmp_path_factory.mktemp("tagger")
    for name in "abc":
        (folder / name).mkdir()
    settings = StorageSettings(
        endpoints=tuple(EndpointSettings(name=name, url=f"file://{folder / name}") for name in "abc")
    )
    initialise(settings, rounds=0)
    store = open_store(settings)
    dataset, base_model = publish_tagged(store), adopt_tiny(store, folder / "base")
    model = fine_tune(
        store,
        settings,
        SPEC,
        dataset=dataset,
        base_model=base_model,
        scratch=folder / "scratch",
        progress=no_progress,
        account={},
        machine=CPU,
    )
    return Trained(store, settings, dataset, base_model, model)


@pytest.fixture(scope="module")
def chosen(trained: Trained) -> Result:
    """The tagger made small."""
    made = make_candidates(trained.store, trained.model.digest, ExportSpec(parity_texts=8))
    measured = measure_candidates(
        trained.store, made.digest, trained.dataset, MeasurementSpec(latency_texts=10, warm_up_texts=1)
    )
    return compress(trained.store, made.digest, measured.digest, BudgetSpec(max_score_drop=0.05, min_agreement=0.9))


def _evaluated(trained: Trained, model: str) -> Result:
    return evaluate(
        trained.store,
        EvaluationSpec(),
        model=model,
        dataset=trained.dataset,
        base_model=trained.base_model,
        threads=1,
        progress=no_progress,
    )


def test_a_tagger_learns_its_words(trained: Trained, tmp_path: Path) -> None:
    """Strict F1 is all but 1, above the probe's; report and predictions are there as for texts."""
    evaluation = _evaluated(trained, trained.model.digest).manifest
    facts = evaluation.facts
    trained.store.fetch_all(evaluation, tmp_path)
    report = json.loads((tmp_path / "report.json").read_text())
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()

    assert (facts["measure"], facts["span_f1"]) == ("span_f1", facts["score"])
    assert facts["score"] > 0.95 and facts["score"] >= facts["baseline_score"]
    assert [one["label"] for one in report["by_class"]] == list(LABELS)
    assert sum(one["rows"] for one in report["by_class"]) == sum(len(decode_spans(row["label"])) for row in rows)
    assert sum(row["label"] == row["predicted"] for row in rows) >= 36


def test_a_made_small_tagger_answers_as_its_parent(trained: Trained, chosen: Result) -> None:
    """Every candidate has its F1 and the share of rows on which its spans are the parent's, all of them."""
    candidates = {one["name"]: one for one in chosen.manifest.facts["candidates"]}

    assert set(candidates) == {"onnx_fp32", "int8"}
    assert all(one["span_f1"] > 0.9 and one["agreement"] >= 0.9 for one in candidates.values())


@pytest.fixture
def server(trained: Trained, tmp_path: Path) -> Iterator[ServerThread]:
    """A running model server."""
    one = ServerThread("server-1", tmp_path / "server", trained.settings)
    yield one
    one.stop()


def test_a_released_tagger_lists_the_entities_of_a_text(trained: Trained, chosen: Result, server: ServerThread) -> None:
    """Through gate, golden requests and shares; asked, it gives spans, and 400 to who wants what it has not."""
    evaluation = _evaluated(trained, chosen.digest).digest
    verdict = gate(
        trained.store,
        evaluation,
        recipe="mail",
        spec=GateSpec(),
        evaluate=lambda *_: pytest.fail("asked"),
        signer=SIGNER,
    )
    controlled = server.controlled()
    spec = DeploymentSpec(watch_seconds=0.0)
    deployed = deploy(trained.store, [controlled], recipe="mail", verdict=verdict.digest, trusted=TRUSTED, spec=spec)
    controlled.close()
    text, label = sentence(7)
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": [text, "w45 w46"]}
    with httpx.Client(base_url=server.url) as client:
        document = client.post("/v2/models/mail/infer", json={"inputs": [tensor]}).json()
        refused = client.post(
            "/v2/models/mail/infer", json={"inputs": [tensor], "outputs": [{"name": "probabilities"}]}
        )
        described = client.get("/v2/models/mail").json()["outputs"]

    outputs = {one["name"]: one["data"] for one in document["outputs"]}
    assert (document["model_version"], outputs["label"]) == (deployed.version, [label, "[]"])
    assert all(0.5 < score <= 1 for score in outputs["score"])
    assert (refused.status_code, "can be asked for" in refused.json()["error"]) == (400, True)
    assert [one["name"] for one in described] == ["label", "score"] == list(outputs)


def test_labels_of_another_task_are_refused(trained: Trained, tmp_path: Path) -> None:
    """Spans train no classifier of texts."""
    with pytest.raises(DataError, match="labels are for token_classification, the recipe trains text_classification"):
        fine_tune(
            trained.store,
            trained.settings,
            TrainingSpec(ranks=2, precision="fp32"),
            dataset=trained.dataset,
            base_model=trained.base_model,
            scratch=tmp_path,
            progress=no_progress,
            account={},
            machine=CPU,
        )
