"""Students: cut from a fine-tuned model by what matters, trained on by the common loop, in every form a candidate."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from operators.core.compression.choose_candidate import choose_candidate
from operators.core.compression.cut_student import cut_student
from operators.core.compression.make_candidates import make_candidates
from operators.core.compression.measure_candidates import measure_candidates
from operators.core.compression.pruning import importances, keep_heads_and_units, keep_layers, keep_weights
from operators.core.compression.spec import (
    BudgetSpec,
    CandidateKind,
    CandidateSpec,
    CompressionSpec,
    ExportSpec,
    MeasurementSpec,
    QuantisationSpec,
    ShapeSpec,
    StudentSpec,
)
from operators.core.errors import DataError
from operators.core.finetuning.fine_tune import fine_tune
from operators.core.finetuning.recovery_spec import RecoverySpec
from operators.core.models.classifier import load_classifier
from operators.core.models.encoder import EncoderModel, build_model, load_trained
from operators.core.progress import Progress, no_progress
from operators.core.storage import Result
from operators.core.training.rows import read_rows
from operators.core.training.spec import GuidanceSpec
from tests.core.finetuning.test_fine_tune import CPU, Place
from tests.core.finetuning.test_fine_tune import SPEC as TRAINING
from tests.core.training.tiny import CONFIG

SHAPES = {
    "layer-drop": ShapeSpec(layers=1, importance_rows=8),
    "pruned": ShapeSpec(heads=0.5, units=0.5, importance_rows=8),
    "sparse": ShapeSpec(sparsity=0.6, importance_rows=8),
}
ROWS = [[2, 9, 33, 4, 60], [7, 8, 9, 10, 11, 12, 13, 14]]


class School(Place):
    """A place with a teacher, and what becomes of its students."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.teacher = self.fine_tune().digest

    def cut(self, name: str) -> Result:
        return cut_student(self.store, self.teacher, SHAPES[name])

    def train(self, name: str, guidance: GuidanceSpec | None, progress: Progress = no_progress) -> Result:
        spec = RecoverySpec.of(TRAINING, guidance=guidance, keeps_zeros=SHAPES[name].sparsity > 0)
        return fine_tune(
            self.store,
            self.settings,
            spec,
            dataset=self.dataset,
            base_model=self.cut(name).digest,
            teacher=self.teacher if guidance else None,
            scratch=self.scratch,
            progress=progress,
            account={},
            machine=CPU,
        )

    def fetched(self, digest: str, folder: Path) -> Path:
        self.store.fetch_all(self.store.manifest(digest), folder)
        return folder

    def logits(self, digest: str, folder: Path) -> np.ndarray:
        texts = read_rows(self.store, self.store.manifest(self.dataset), "test").texts
        return load_classifier(self.fetched(digest, folder), 1).logits(texts)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> School:
    """A school with a trained teacher."""
    return School(tmp_path_factory.mktemp("school"))


@pytest.fixture
def model(tmp_path: Path) -> EncoderModel:
    """A tiny model with random weights, in evaluation mode."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": 4}))
    torch.manual_seed(0)
    return build_model(tmp_path, "text_classification", 2).eval()


def logits(model: EncoderModel, row: list[int]) -> torch.Tensor:
    ids = torch.tensor([row])
    with torch.no_grad():
        return model(ids, torch.ones_like(ids))


def test_layers_that_stay_are_spread_evenly(model: EncoderModel) -> None:
    """The first of each group stays, with its weights; more than there are is refused."""
    before = model.encoder.get_submodule("encoder.layer.2").state_dict()

    assert keep_layers(model, 2) == [0, 2]
    after = model.encoder.get_submodule("encoder.layer.1").state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(DataError, match="layers=3 shall stay of a model of 2"):
        keep_layers(model, 3)


def test_heads_and_units_that_change_nothing_go_first(model: EncoderModel) -> None:
    """What is deaf goes, and the answers of what is left are the same."""
    for layer in model.encoder.get_submodule("encoder.layer").children():
        layer.attention.output.dense.weight.data[:, :16] = 0.0  # type: ignore[union-attr, index]
        layer.output.dense.weight.data[:, 8:40] = 0.0  # type: ignore[union-attr, index]
    expected = [logits(model, row) for row in ROWS]
    heads, units = importances(model, ROWS)[0]
    kept = keep_heads_and_units(model, ROWS, heads=0.5, units=0.5)

    assert heads[0] == 0 < heads[1] and float(units[8:40].max()) == 0 < float(units[:8].min())
    assert kept == [[1]] * 4
    layer = model.encoder.get_submodule("encoder.layer.3")
    assert (layer.attention.self.query.out_features, layer.output.dense.in_features) == (16, 32)  # type: ignore[union-attr]
    for row, right in zip(ROWS, expected, strict=True):
        torch.testing.assert_close(logits(model, row), right)


def test_the_smallest_weights_become_zero(model: EncoderModel) -> None:
    """Of each matrix the share that was asked for, none of it larger than one that stays."""
    weight = model.encoder.get_submodule("encoder.layer.0").output.dense.weight  # type: ignore[union-attr]
    before = weight.detach().abs().clone()
    zeros = keep_weights(model, 0.25)

    assert int((weight == 0).sum()) == weight.numel() // 4
    assert before[weight == 0].max() <= before[weight != 0].min()
    assert zeros == 4 * (4 * 32 * 32 + 2 * 32 * 64) // 4


@pytest.mark.integration
def test_a_cut_model_is_a_classifier_with_fewer_parameters(school: School, tmp_path: Path) -> None:
    """Its folder loads by what its configuration says, and its facts tell what is left."""
    teacher = sum(one.numel() for one in load_trained(
        school.fetched(school.teacher, tmp_path / "teacher"), "text_classification", 2
    ).parameters())  # fmt: skip
    for name in SHAPES:
        cut = school.cut(name).manifest
        whole = load_trained(school.fetched(cut.digest, tmp_path / name), "text_classification", 2)
        assert sum(one.numel() for one in whole.parameters()) == cut.facts["parameters"]
        assert (cut.facts["parameters"] < teacher) == (name != "sparse")
    assert school.cut("pruned").manifest.facts["heads_a_layer"] == 1
    assert school.cut("layer-drop").manifest.facts["layers"] == [0]
    assert school.cut("sparse").manifest.facts["zeros"] > 0.59 * 2 * (4 * 32 * 32 + 2 * 32 * 64)


@pytest.mark.integration
@pytest.mark.parametrize("name", SHAPES)
def test_a_student_comes_near_its_teacher(school: School, tmp_path: Path, name: str) -> None:
    """Trained with guidance its logits are nearer than when it was cut, and it gives the teacher's answers."""
    result = school.train(name, GuidanceSpec())
    cut, student, teacher = (
        school.logits(digest, tmp_path / digest) for digest in (school.cut(name).digest, result.digest, school.teacher)
    )

    assert np.abs(student - teacher).mean() < np.abs(cut - teacher).mean()
    assert (student.argmax(1) == teacher.argmax(1)).mean() >= 0.95
    assert result.manifest.stage == "train_student"
    assert result.manifest.input("teacher").manifest == school.teacher


@pytest.mark.integration
def test_zeros_stay_zeros_through_training(school: School, tmp_path: Path) -> None:
    """The trained weights are zero where they were cut, and nowhere else but by chance."""
    cut, trained = (
        load_file(school.fetched(digest, tmp_path / digest) / "model.safetensors")
        for digest in (school.cut("sparse").digest, school.train("sparse", GuidanceSpec()).digest)
    )
    moved = [name for name in cut if not torch.equal(cut[name], trained[name])]

    assert any("query.weight" in name for name in moved)
    for name in moved:
        if name.startswith("encoder.encoder.layer") and cut[name].ndim == 2:
            assert torch.equal(trained[name] == 0, cut[name] == 0)


@pytest.mark.integration
def test_a_student_learns_from_labels_alone_where_it_has_no_guidance(school: School) -> None:
    """Another run key, without a teacher among its inputs."""
    alone = school.train("layer-drop", None)

    assert alone.digest != school.train("layer-drop", GuidanceSpec()).digest
    assert alone.manifest.inputs_of("teacher") == ()


@pytest.mark.integration
def test_a_student_whose_rank_is_killed_is_the_same_student(school: School, tmp_path: Path) -> None:
    """SIGKILL past a checkpoint: the gang goes on, teacher, zeros and all, to the same bits."""
    other = Place.__new__(School)
    Place.__init__(other, tmp_path)
    other.teacher = other.fine_tune().digest
    killed: list[int] = []

    def kill_once(done: int, total: int, note: str) -> None:
        if done > 30 and not killed:
            victim = other.ranks()[-1]
            killed.append(victim.pid)
            victim.send_signal(signal.SIGKILL)

    result = other.train("sparse", GuidanceSpec(), kill_once)

    assert len(killed) == 1
    assert result.manifest.identity == school.train("sparse", GuidanceSpec()).manifest.identity


@pytest.mark.integration
def test_a_student_of_other_labels_is_refused(school: School) -> None:
    """A head that tells other names than the data set has is no beginning."""
    cut = school.cut("layer-drop")
    card = json.loads(school.store.read(cut.manifest.file("classifier.json")))
    changed = school.store.put_bytes("classifier.json", json.dumps(card | {"labels": ["a", "b"]}).encode())
    files = (changed, *(entry for entry in cut.manifest.files if entry.name != "classifier.json"))
    other = school.store.put_manifest(replace(cut.manifest, files=files, run_key="0" * 64))

    with pytest.raises(DataError, match="the classifier to train on tells"):
        fine_tune(
            school.store,
            school.settings,
            RecoverySpec.of(TRAINING),
            dataset=school.dataset,
            base_model=other,
            scratch=school.scratch,
            progress=no_progress,
            account={},
            machine=CPU,
        )


@pytest.mark.integration
def test_students_are_candidates_in_every_form(school: School) -> None:
    """Pruned and int8, distilled and 4-bit: each is made, held against the teacher, and judged by the budget."""
    spec = CompressionSpec(
        candidates=(
            CandidateSpec(kind=CandidateKind.ONNX_FP32),
            CandidateSpec(kind=CandidateKind.FUSED, of="pruned"),
            CandidateSpec(kind=CandidateKind.INT8, of="pruned"),
            CandidateSpec(kind=CandidateKind.INT4, of="layer-drop"),
        ),
        students=tuple(StudentSpec(name=name, shape=SHAPES[name]) for name in ("pruned", "layer-drop")),
        export=ExportSpec(parity_texts=4),
        quantisation=QuantisationSpec(calibration_rows=8),
        measurement=MeasurementSpec(latency_texts=10, latency_batches=5, warm_up_texts=1),
        budget=BudgetSpec(max_score_drop=0.5, min_agreement=0.5, objective="bytes"),
    )
    students = [school.train(one.name, GuidanceSpec()).digest for one in spec.students]
    made = make_candidates(school.store, school.teacher, spec, students)
    names = {one.name: result.digest for one, result in zip(spec.candidates, made, strict=True)}
    measured = measure_candidates(school.store, names, spec.measurement, model=school.teacher)
    facts = choose_candidate(school.store, measured.digest, spec.budget).manifest.facts

    assert list(names) == ["onnx_fp32", "pruned_onnx_fused", "pruned_int8", "layer-drop_int4"]
    assert made[1].manifest.facts["fusions"]["MultiHeadAttention"] == 2
    assert [one["name"] for one in facts["candidates"]] == list(names)
    assert facts["chosen"] in ("pruned_int8", "layer-drop_int4")


@pytest.mark.parametrize(
    ("spec", "wrong", "message"),
    [
        (ShapeSpec, {"layers": 0}, "layers=0"),
        (ShapeSpec, {"heads": 0.0}, "heads=0"),
        (ShapeSpec, {"sparsity": 1.0}, "sparsity=1"),
        (StudentSpec, {"name": "Half", "shape": ShapeSpec(layers=3)}, "student 'Half'"),
        (StudentSpec, {"name": "half", "shape": ShapeSpec()}, "cuts nothing"),
        (GuidanceSpec, {"temperature": 0.0}, "temperature=0"),
        (GuidanceSpec, {"answers": 0.0, "states": 0.0}, "teaches nothing"),
        (CompressionSpec, {"students": (StudentSpec(name="a", shape=ShapeSpec(layers=3)),)}, "no candidate is made"),
        (CompressionSpec, {"candidates": (CandidateSpec(kind=CandidateKind.INT8, of="b"),)}, "candidates of \\['b'\\]"),
    ],
)
def test_specs_refuse_what_cannot_be(spec: type, wrong: dict[str, object], message: str) -> None:
    """A value out of range, or a name that leads nowhere, is refused when the spec is made."""
    with pytest.raises(ValueError, match=message):
        spec(**wrong)
