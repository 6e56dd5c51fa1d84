"""B6: what pruning costs and saves: heads, feed-forward units and single weights of a model fine-tuned on Banking77.

Each is cut away of the same teacher and trained on for two epochs, guided by it. Of each: the score as cut and as
trained, and what `measure_candidates` says of the graph in single precision, all in turn on one thread. Zeros take the
time and the bytes of other numbers; `zstd_bytes` is what is left of them in a compressed file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import zstandard

from operators.core.compression.cut_student import cut_student
from operators.core.compression.make_candidates import make_candidates
from operators.core.compression.measure_candidates import measure_candidates, read_report
from operators.core.compression.spec import CandidateKind, CandidateSpec, CompressionSpec, ShapeSpec, StudentSpec
from operators.core.models.classifier import load_classifier
from operators.core.training.rows import read_rows
from tests.benchmarks.compressed import DATA, Teacher, folder_of
from tests.benchmarks.timing import parse, publish
from tests.core.training.banking import FOLDER, NEEDED

SHAPES = {
    "heads-half": ShapeSpec(heads=0.5),
    "units-half": ShapeSpec(units=0.5),
    "both-half": ShapeSpec(heads=0.5, units=0.5),
    "zeros-half": ShapeSpec(sparsity=0.5),
    "zeros-most": ShapeSpec(sparsity=0.8),
}
TOLD = ("score", "agreement", "p50_ms", "batch_p50_ms", "bytes", "memory_bytes")


def table(teacher: Teacher, names: list[str]) -> dict[str, dict[str, Any]]:
    """Return the figures of the teacher and of each pruned model, by name."""
    students = tuple(StudentSpec(name=name, shape=SHAPES[name], epochs=2) for name in names)
    whole = CandidateSpec(kind=CandidateKind.ONNX_FP32)
    pruned = [CandidateSpec(kind=CandidateKind.ONNX_FP32, of=name) for name in names]
    spec = CompressionSpec(candidates=(whole, *pruned), students=students)
    trained = []
    for student in students:
        trained.append(teacher.student(student))
        print(f"{student.name} is trained", file=sys.stderr, flush=True)
    made = make_candidates(teacher.store, teacher.model, spec, trained)
    digests = {one.name: result.digest for one, result in zip(spec.candidates, made, strict=True)}
    report = measure_candidates(teacher.store, digests, spec.measurement, model=teacher.model)
    figures = {one["name"]: one for one in read_report(teacher.store, report.manifest)["models"]}
    rows = {"teacher": {name: figures[whole.name][name] for name in TOLD}}
    for student, one in zip(students, pruned, strict=True):
        graph = teacher.store.read(teacher.store.manifest(digests[one.name]).file("model.onnx"))
        rows[student.name] = {name: figures[one.name][name] for name in TOLD} | {
            "untrained_score": _as_cut(teacher, student),
            "zstd_bytes": len(zstandard.compress(graph, 9)),
        }
    return rows


def _as_cut(teacher: Teacher, student: StudentSpec) -> float:
    """Return the share of the test rows that a model answers right before it is trained."""
    cut = cut_student(teacher.store, teacher.model, student.shape).manifest
    rows = read_rows(teacher.store, teacher.store.manifest(teacher.dataset), "test")
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        teacher.store.fetch_all(cut, Path(name) / "cut")
        answers = load_classifier(Path(name) / "cut", threads=1).answers(rows.texts)
    right = sum(answer.label == label for answer, label in zip(answers, rows.labels, strict=True))
    return round(right / len(answers), 4)


def main() -> None:
    """Measure and print."""
    options = parse(__doc__, ways=tuple(SHAPES), keeps=True)
    if not FOLDER.is_dir():
        raise SystemExit(f"B6 {NEEDED}")
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        folder = folder_of(options.keep or Path(name), "banking", options.scale)
        teacher = Teacher(folder, DATA["banking"], options.scale)
        publish({"name": "B6-pruned", "models": table(teacher, options.only or list(SHAPES)), "scale": options.scale})


if __name__ == "__main__":
    main()
