"""From a fine-tuned model to a chosen candidate, on a tiny model."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.torch import load_file, save_file

from operators.core.compression.choose_candidate import choose_candidate
from operators.core.compression.compress import compress
from operators.core.compression.make_candidates import make_candidates
from operators.core.compression.measure_candidates import measure_candidates, read_report
from operators.core.compression.spec import (
    BudgetSpec,
    CandidateKind,
    CandidateSpec,
    CompressionSpec,
    ExportSpec,
    MeasurementSpec,
    QuantisationSpec,
)
from operators.core.errors import DataError, GateFailed
from operators.core.manifest import Made, StageCall, sha256_of_file
from operators.core.models.classifier import load_classifier
from operators.core.storage import Result
from tests.core.compression.conftest import Trained

pytestmark = pytest.mark.integration

EVERY = CompressionSpec(
    candidates=tuple(CandidateSpec(kind=kind) for kind in CandidateKind),
    export=ExportSpec(parity_texts=8),
    quantisation=QuantisationSpec(calibration_rows=8),
    measurement=MeasurementSpec(latency_texts=10, latency_batches=5, warm_up_texts=1),
    budget=BudgetSpec(min_agreement=0.5, max_score_drop=0.5),
)
BITS = {
    "onnx_fp32": set(),
    "onnx_fused": {"MultiHeadAttention", "BiasGelu"},
    "fp16": {"Cast"},
    "bf16": {"Cast"},
    "int8": {"DynamicQuantizeLinear", "MatMulInteger", "BiasGelu"},
    "int8_static": {"QuantizeLinear", "DequantizeLinear"},
    "int4": {"MatMulNBits", "GatherBlockQuantized"},
}
"""Operators by which each form is known."""

SCRIPT = """
import sys
from pathlib import Path
from operators.core.compression.export import export_onnx
from operators.core.compression.fuse import fuse
from operators.core.compression.quantise import quantise, quantise_blocks
from operators.core.models.encoder import load_trained
export_onnx(load_trained(Path(sys.argv[1]), "text_classification", 2), Path("onnx_fp32.onnx"), opset=18)
fuse(Path("onnx_fp32.onnx"), Path("onnx_fused.onnx"))
quantise(Path("onnx_fp32.onnx"), Path("int8.onnx"))
quantise_blocks(Path("onnx_fp32.onnx"), Path("int4.onnx"), 32)
"""


@pytest.fixture(scope="module")
def candidates(trained: Trained) -> dict[str, Result]:
    """Every form of the tiny model, by name."""
    return made(trained, EVERY)


def made(trained: Trained, spec: CompressionSpec) -> dict[str, Result]:
    names = [one.name for one in spec.candidates]
    return dict(zip(names, make_candidates(trained.store, trained.model, spec), strict=True))


@pytest.fixture(scope="module")
def measurement(trained: Trained, candidates: dict[str, Result]) -> Result:
    """The report on all of them."""
    return measured(trained, candidates)


def measured(trained: Trained, candidates: dict[str, Result]) -> Result:
    digests = {name: result.digest for name, result in candidates.items()}
    return measure_candidates(trained.store, digests, EVERY.measurement, model=trained.model)


def committed(trained: Trained, folder: Path) -> str:
    """Return the digest of a folder, committed as a model of the same data set."""
    files = tuple(trained.store.put_file(path.name, path) for path in sorted(folder.iterdir()))
    inputs = (trained.store.as_input("dataset", trained.dataset),)
    call = StageCall(stage="fine_tune", revision=1, inputs=inputs, spec={"files": [one.sha256 for one in files]})
    return trained.store.once(call, lambda: Made(files=files)).digest


def fetched(trained: Trained, candidate: Result, folder: Path) -> Path:
    trained.store.fetch_all(candidate.manifest, folder)
    return folder


def test_each_candidate_has_all_a_server_needs_and_names_its_parent(candidates: dict[str, Result]) -> None:
    """A manifest each, with weights, card and tokenizer; every form was made of the one export."""
    exported = candidates["onnx_fp32"]

    for result in candidates.values():
        assert {entry.name for entry in result.manifest.files} == {"model.onnx", "classifier.json", "tokenizer.json"}
    assert {c.manifest.input("parent").manifest for n, c in candidates.items() if n != "onnx_fp32"} == {exported.digest}


@pytest.mark.parametrize("name", BITS)
def test_each_form_is_made_of_its_operators_and_answers(
    trained: Trained, candidates: dict[str, Result], tmp_path: Path, name: str
) -> None:
    """ONNX Runtime runs every form, and of fp32 and 16 bits the logits are PyTorch's but for rounding."""
    folder = fetched(trained, candidates[name], tmp_path)
    texts = ["w5", "w9 w8 w7 w6 w5 w4 w3 w2 w61 w60 w59", "w3 w3 w3"]
    expected, found = (load_classifier(path, 1).logits(texts) for path in (trained.folder, folder))
    kinds = {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}
    bound = 2.0 if name.startswith("int") else 0.2 if name == "bf16" else 0.02  # of logits up to 26

    assert BITS[name] <= kinds
    assert np.abs(found - expected).max() <= bound


def test_facts_tell_how_far_each_layer_is_from_its_parent(candidates: dict[str, Result]) -> None:
    """Of every form, by layer down to the logits; fewer bits are further away, and none computes something else."""
    facts = {name: result.manifest.facts for name, result in candidates.items()}
    logits = {name: one["layers"]["logits"] for name, one in facts.items()}

    assert {tuple(one["layers"]) for one in facts.values()} == {("embeddings", "layer.0", "layer.1", "logits")}
    assert logits["onnx_fused"] < 1e-5 and logits["fp16"] < logits["bf16"] < logits["int8"]
    assert {one.get("first_bad_operator") for one in facts.values()} == {None}
    assert facts["onnx_fused"]["fusions"] == {"BiasGelu": 2, "MultiHeadAttention": 2}
    assert facts["fp16"]["largest_weight"] > 0


def test_graphs_tell_nothing_of_the_machine(trained: Trained, candidates: dict[str, Result]) -> None:
    """Neither source paths nor stack traces are left in a graph."""
    for result in candidates.values():
        graph = trained.store.read(result.manifest.file("model.onnx"))
        found = [
            word for word in (b".py", b"stack_trace", b"site-packages", b"pkg.torch", b"transformers") if word in graph
        ]

        assert found == []


def test_two_exports_give_the_same_bytes(trained: Trained, candidates: dict[str, Result], tmp_path: Path) -> None:
    """Another process in another folder makes the same files."""
    subprocess.run([sys.executable, "-c", SCRIPT, str(trained.folder)], cwd=tmp_path, check=True, timeout=300)

    for name in ("onnx_fp32", "onnx_fused", "int8", "int4"):
        made_here = sha256_of_file(tmp_path / f"{name}.onnx")
        assert candidates[name].manifest.file("model.onnx").sha256 == made_here


def test_another_kind_or_another_option_makes_only_itself(trained: Trained, candidates: dict[str, Result]) -> None:
    """What other kinds leave open is in no run key but theirs."""
    again = made(trained, replace(EVERY, quantisation=QuantisationSpec(calibration_rows=9)))

    assert [name for name, result in again.items() if not result.found] == ["int8_static"]


def test_a_graph_that_differs_from_pytorch_is_refused(trained: Trained) -> None:
    """A bound on logits that cannot be met is a clear error, and nothing is committed."""
    strict = replace(EVERY, export=ExportSpec(parity_texts=8, max_logit_difference=1e-12))

    with pytest.raises(GateFailed, match="differs from PyTorch"):
        make_candidates(trained.store, trained.model, strict)


def test_the_report_has_every_model_on_all_rows(trained: Trained, measurement: Result) -> None:
    """Parent and candidates are measured on the same rows, in time, bytes, memory and energy."""
    report = read_report(trained.store, measurement.manifest)
    models = {one["name"]: one for one in report["models"]}

    assert (report["rows"], report["test_rows"]) == (20, 10)
    assert {"parent", *BITS} == set(models)
    assert 1.0 == models["parent"]["agreement"] == models["onnx_fp32"]["agreement"]
    for one in models.values():
        assert 0 < one["p50_ms"] <= one["p99_ms"] and 0 < one["batch_p50_ms"] <= one["batch_p99_ms"]
        assert one["memory_bytes"] > 0 and one["joules_per_1000"] > 0 and one["energy"] == "estimated"


def test_the_choice_is_the_candidates_own_files_and_has_a_page(
    trained: Trained, candidates: dict[str, Result], measurement: Result
) -> None:
    """What is chosen has the same objects as the candidate; the choice has a page that names all, and shows a plot."""
    choice = choose_candidate(trained.store, measurement.digest, EVERY.budget)
    name = choice.manifest.facts["chosen"]
    chosen = compress(trained.store, candidates[name].digest, choice.digest)
    page = trained.store.read(choice.manifest.file("choice.html")).decode()

    assert chosen.manifest.files == candidates[name].manifest.files
    assert json.loads(trained.store.read(chosen.manifest.file("classifier.json")))["format"] == "onnx"
    assert all(name in page for name in BITS) and page.count("<circle") == len(BITS) and "(chosen)" in page


def test_what_was_not_among_the_measured_is_not_taken(
    trained: Trained, candidates: dict[str, Result], measurement: Result
) -> None:
    """A choice and a candidate that do not belong together are refused."""
    choice = choose_candidate(trained.store, measurement.digest, EVERY.budget)

    with pytest.raises(DataError, match="none of the candidates"):
        compress(trained.store, trained.model, choice.digest)


def test_a_weight_beyond_half_precision_loses_and_fails_nothing(trained: Trained, tmp_path: Path) -> None:
    """Every other form is made and measured, and the choice says what overflowed."""
    folder = shutil.copytree(trained.folder, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.embeddings.word_embeddings.weight"][0] = 1e5  # of a token that no text has
    save_file(weights, folder / "model.safetensors")
    kinds = (CandidateKind.FP16, CandidateKind.BF16)
    spec = replace(EVERY, candidates=tuple(CandidateSpec(kind=kind) for kind in kinds))
    model = committed(trained, folder)
    results = make_candidates(trained.store, model, spec)
    digests = {kind.value: result.digest for kind, result in zip(kinds, results, strict=True)}
    measurement = measure_candidates(trained.store, digests, EVERY.measurement, model=model)
    fp16, bf16 = choose_candidate(trained.store, measurement.digest, EVERY.budget).manifest.facts["candidates"]

    assert (fp16["chosen"], bf16["chosen"]) == (False, True)
    assert "overflow: encoder.embeddings" in fp16["why"] and "as large as 100000" in fp16["why"]


def test_a_candidate_that_answers_no_numbers_loses_and_fails_nothing(
    trained: Trained, candidates: dict[str, Result], tmp_path: Path
) -> None:
    """Logits that overflow are a reason not to be chosen; the measurement of the others stands."""
    folder = fetched(trained, candidates["int8"], tmp_path)
    graph = onnx.load(folder / "model.onnx")
    bias = next(one for one in graph.graph.initializer if one.name == "head.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.float32([np.inf, 0.0]), "head.bias"))
    onnx.save(graph, folder / "model.onnx")
    digests = {"broken": committed(trained, folder), "int8": candidates["int8"].digest}
    measurement = measure_candidates(trained.store, digests, EVERY.measurement, model=trained.model)
    broken, _ = choose_candidate(trained.store, measurement.digest, EVERY.budget).manifest.facts["candidates"]

    assert broken["why"].startswith("overflow: it gives logits that are no finite numbers")
    assert (broken["chosen"], broken["agreement"]) == (False, 0.0)


def test_a_second_time_everything_is_found(
    trained: Trained, candidates: dict[str, Result], measurement: Result
) -> None:
    """Each run key is found again."""
    again = made(trained, EVERY)

    assert all(result.found for result in again.values())
    assert measured(trained, again).found
