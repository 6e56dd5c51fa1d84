"""From a fine-tuned model to a chosen candidate, on a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from operators.core.compression.compress import compress
from operators.core.compression.make_candidates import make_candidates
from operators.core.compression.measure_candidates import measure_candidates, read_report
from operators.core.compression.spec import BudgetSpec, ExportSpec, MeasurementSpec
from operators.core.errors import TrainingError
from operators.core.manifest import sha256_of_file
from operators.core.models.classifier import load_classifier
from operators.core.storage import Result
from tests.core.compression.conftest import Trained

pytestmark = pytest.mark.integration

EXPORT = ExportSpec(parity_texts=8)
MEASUREMENT = MeasurementSpec(latency_texts=10, warm_up_texts=1)
BUDGET = BudgetSpec(min_agreement=0.5, max_score_drop=0.5)

SCRIPT = """
import sys
from pathlib import Path
from operators.core.compression.export import export_onnx
from operators.core.compression.quantise import quantise
from operators.core.models.encoder import load_trained
export_onnx(load_trained(Path(sys.argv[1]), "text_classification", 2), Path("model.onnx"), opset=18)
quantise(Path("model.onnx"), Path("int8.onnx"))
"""


@pytest.fixture(scope="module")
def candidates(trained: Trained) -> Result:
    """Both candidates of the tiny model."""
    return make_candidates(trained.store, trained.model, EXPORT)


@pytest.fixture(scope="module")
def measurement(trained: Trained, candidates: Result) -> Result:
    """The report on both."""
    return measure_candidates(trained.store, candidates.digest, trained.dataset, MEASUREMENT)


def test_candidates_have_all_a_server_needs(candidates: Result) -> None:
    """Each candidate is a folder with weights, card and tokenizer."""
    expected = {
        f"{kind}/{n}" for kind in ("onnx_fp32", "int8") for n in ("model.onnx", "classifier.json", "tokenizer.json")
    }

    assert expected == {entry.name for entry in candidates.manifest.files}


def test_the_exported_graph_takes_any_batch_and_length(trained: Trained, candidates: Result, tmp_path: Path) -> None:
    """Texts of other lengths and batches than the exported example get PyTorch's logits."""
    trained.store.fetch_all(candidates.manifest, tmp_path)
    texts = ["w5", "w9 w8 w7 w6 w5 w4 w3 w2 w61 w60 w59", "w3 w3 w3"]
    expected = load_classifier(trained.folder, 1).logits(texts)

    np.testing.assert_allclose(load_classifier(tmp_path / "onnx_fp32", 1).logits(texts), expected, atol=1e-4)
    np.testing.assert_allclose(load_classifier(tmp_path / "onnx_fp32", 1).logits(texts[:1]), expected[:1], atol=1e-4)


def test_graphs_tell_nothing_of_the_machine(trained: Trained, candidates: Result) -> None:
    """Neither source paths nor stack traces are left in a graph."""
    for kind in ("onnx_fp32", "int8"):
        graph = trained.store.read(candidates.manifest.file(f"{kind}/model.onnx"))
        found = [
            word for word in (b".py", b"stack_trace", b"site-packages", b"pkg.torch", b"transformers") if word in graph
        ]

        assert found == []


def test_two_exports_give_the_same_bytes(trained: Trained, candidates: Result, tmp_path: Path) -> None:
    """Another process in another folder makes the same files."""
    subprocess.run([sys.executable, "-c", SCRIPT, str(trained.folder)], cwd=tmp_path, check=True, timeout=300)

    assert candidates.manifest.file("onnx_fp32/model.onnx").sha256 == sha256_of_file(tmp_path / "model.onnx")
    assert candidates.manifest.file("int8/model.onnx").sha256 == sha256_of_file(tmp_path / "int8.onnx")


def test_a_graph_that_differs_from_pytorch_is_refused(trained: Trained) -> None:
    """A parity bound that cannot be met is a clear error, and nothing is committed."""
    strict = replace(EXPORT, max_logit_difference=1e-12)

    with pytest.raises(TrainingError, match="differs from PyTorch"):
        make_candidates(trained.store, trained.model, strict)


def test_the_report_has_every_model_on_all_rows(trained: Trained, measurement: Result) -> None:
    """Parent and candidates are measured on the same rows, and the parent agrees with itself."""
    report = read_report(trained.store, measurement.manifest)
    models = {one["name"]: one for one in report["models"]}

    assert (report["rows"], report["test_rows"]) == (20, 10)
    assert {"parent", "onnx_fp32", "int8"} == set(models)
    assert 1.0 == models["parent"]["agreement"] == models["onnx_fp32"]["agreement"]
    assert all(0 < one["p50_ms"] <= one["p99_ms"] for one in models.values())


def test_the_choice_names_the_candidates_own_files(trained: Trained, candidates: Result, measurement: Result) -> None:
    """What is chosen is the candidate's folder at the top level, the same objects, and it loads."""
    chosen = compress(trained.store, candidates.digest, measurement.digest, BUDGET)
    name = chosen.manifest.facts["chosen"]
    expected = {n: candidates.manifest.file(f"{name}/{n}").stored_sha256 for n in ("model.onnx", "tokenizer.json")}

    assert expected == {n: chosen.manifest.file(n).stored_sha256 for n in expected}
    assert json.loads(trained.store.read(chosen.manifest.file("classifier.json")))["format"] == "onnx"


def test_a_second_time_everything_is_found(trained: Trained, candidates: Result, measurement: Result) -> None:
    """Each of the three run keys is found again; another budget measures nothing anew."""
    again = make_candidates(trained.store, trained.model, EXPORT)
    measured = measure_candidates(trained.store, again.digest, trained.dataset, MEASUREMENT)

    assert (True, candidates.digest) == (again.found, again.digest)
    assert (True, measurement.digest) == (measured.found, measured.digest)
