"""B6: int8 against ONNX Runtime in single precision and PyTorch eager; a distilled student against its teacher.

On two data sets: Banking77, and the mail of four weeks. A MiniLM is fine-tuned on each as the recipes `banking_intents`
and `mail_triage` train it, and a student of three of its six layers is distilled of it. Each way is a process of its
own that loads a model and answers test rows one by one on one thread; its time is that of the answers. Student and
teacher are compared as exported, both in single precision. Of int8 on mail the ratio is told and no goal is set.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from operators.core.compression.cut_student import cut_student
from operators.core.compression.make_candidates import make_candidates
from operators.core.compression.spec import CandidateKind, CandidateSpec, CompressionSpec, ShapeSpec, StudentSpec
from operators.core.finetuning.fine_tune import fine_tune
from operators.core.finetuning.spec import TrainingSpec
from operators.core.models.adopt import adopt_model
from operators.core.models.classifier import Classifier, load_classifier
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.progress import no_progress
from operators.core.recipe import Recipe
from operators.core.storage import Store, open_store
from operators.core.training.rows import read_rows
from operators.local.base_model import fetch_base_model
from operators.local.layout import Layout
from operators.recipes import load_recipe
from tests.benchmarks.mail_rows import publish_mail
from tests.benchmarks.shard_io import make_store
from tests.benchmarks.timing import Sample, alternate, compare, measure, parse, publish
from tests.core.training.banking import FOLDER, NEEDED, publish_banking

RECIPES = Path(__file__).parents[2] / "dags" / "recipes"
STUDENT = StudentSpec(name="half", shape=ShapeSpec(layers=3))
SPEC = CompressionSpec(
    candidates=(
        CandidateSpec(kind=CandidateKind.ONNX_FP32),
        CandidateSpec(kind=CandidateKind.INT8),
        CandidateSpec(kind=CandidateKind.ONNX_FP32, of=STUDENT.name),
    ),
    students=(STUDENT,),
)
FOLDERS = {"eager": "eager", "fp32": "onnx_fp32", "int8": "int8", "student": "half_onnx_fp32"}
WARM_UP = 20
LEAST_EQUAL, LEAST_SMALLER, LEAST_KEPT, MOST_TIME = 0.99, 3.5, 0.97, 1 / 1.8


@dataclass(frozen=True)
class Data:
    """Rows, how a model is trained on them, and what int8 must come to."""

    recipe: Recipe
    publish: Callable[[Store, float], str]
    texts: int
    """Test rows, about, that are timed."""
    goal: dict[str, float]


DATA = {
    "banking": Data(
        load_recipe(RECIPES / "banking_intents.py"),
        lambda store, scale: publish_banking(store, int(10_003 * scale)),
        300,
        {"onnx runtime fp32": 1 / 2, "pytorch eager": 1 / 5},
    ),
    "mail": Data(load_recipe(RECIPES / "mail_triage.py"), publish_mail, 100, {}),
}


def folder_of(kept: Path, data: str, scale: float) -> Path:
    """Return where the models on a data set are, or shall be: those on a part of it apart."""
    return kept.absolute() / f"{data}-{scale:g}"


class Teacher:
    """A model that was fine-tuned on some data, in a store of its own, and the training of its students."""

    def __init__(self, folder: Path, data: Data, scale: float) -> None:
        self.folder, self.data = folder, data
        self._settings = make_store(folder / "store")
        self.store = open_store(self._settings)
        layout = Layout.from_environment(os.environ)
        base = fetch_base_model(layout.home / "downloads", layout.home / "models")
        base_model = adopt_model(self.store, base, ALL_MINILM_L6_V2, no_progress).digest
        self.dataset = data.publish(self.store, scale)
        self.model = self._train(data.recipe.training, base_model, None)

    def student(self, spec: StudentSpec) -> str:
        """Return the digest of a student, cut and trained."""
        cut = cut_student(self.store, self.model, spec.shape).digest
        return self._train(self.data.recipe.recovery(spec), cut, self.model)

    def _train(self, spec: TrainingSpec, base: str, teacher: str | None) -> str:
        return fine_tune(
            self.store,
            self._settings,
            spec,
            dataset=self.dataset,
            base_model=base,
            teacher=teacher,
            scratch=self.folder / "scratch",
            progress=no_progress,
            account={},
        ).digest


class Bed:
    """The models as folders, and the texts that they are asked about."""

    def __init__(self, folder: Path, data: Data, scale: float) -> None:
        self.folder, self.data = folder, data
        teacher = Teacher(folder, data, scale)
        store, model = teacher.store, teacher.model
        made = make_candidates(store, model, SPEC, [teacher.student(STUDENT)])
        names = ["eager", *(one.name for one in SPEC.candidates)]
        for name, digest in zip(names, [model, *(result.digest for result in made)], strict=True):
            if not (folder / name).is_dir():
                store.fetch_all(store.manifest(digest), folder / name)
        self.rows, learnt = (read_rows(store, store.manifest(teacher.dataset), split) for split in ("test", "train"))
        document = {"timed": self._timed(), "test": self.rows.texts, "train": learnt.texts}
        (folder / "texts.json").write_text(json.dumps(document))
        store.close()
        self.answers: dict[str, dict[str, Any]] = {}

    def _timed(self) -> list[str]:
        every = max(1, len(self.rows.texts) // self.data.texts)
        return self.rows.texts[: every * self.data.texts : every]

    def run(self, way: str) -> Sample:
        """Answer in a process of its own; return what the answers to single texts took."""
        folder = self.folder / FOLDERS[way]
        process = measure([sys.executable, "-m", "tests.benchmarks.compressed", "--child", str(folder)])
        self.answers[way] = json.loads((folder / "answers.json").read_text())
        return replace(process, wall_seconds=self.answers[way]["seconds"])

    def size(self, way: str) -> int:
        """Return the bytes of a way's weights."""
        return max(path.stat().st_size for path in (self.folder / FOLDERS[way]).iterdir())


def answer_child(folder: Path) -> None:
    """Answer single texts, and the first time all rows; write what it took and what the answers are."""
    texts = json.loads((folder.parent / "texts.json").read_text())
    model = load_classifier(folder, threads=1)
    document: dict[str, Any] = {"seconds": _seconds(model, texts["timed"])}
    before = folder / "answers.json"
    for split in ("test", "train"):
        known = json.loads(before.read_text())[split] if before.exists() else None
        document[split] = known or [answer.label for answer in model.answers(texts[split])]
    before.write_text(json.dumps(document))


def _seconds(model: Classifier, texts: Sequence[str]) -> float:
    for text in texts[:WARM_UP]:
        model.logits([text])
    started = time.perf_counter()
    for text in texts:
        model.logits([text])
    return time.perf_counter() - started


def _share(one: Sequence[str], other: Sequence[str]) -> float:
    return round(sum(map(str.__eq__, one, other)) / len(one), 4)


def int8_document(name: str, bed: Bed, samples: dict[str, list[Sample]], scale: float) -> dict[str, Any]:
    """Return what int8 came to."""
    answers = {way: bed.answers[way] for way in ("eager", "fp32", "int8")}
    every = {way: found["test"] + found["train"] for way, found in answers.items()}
    same, smaller = _share(every["int8"], every["eager"]), round(bed.size("eager") / bed.size("int8"), 2)
    compared = {"ours": samples["int8"], "onnx runtime fp32": samples["fp32"], "pytorch eager": samples["eager"]}
    document = compare(name, compared, bed.data.goal, {}, scale=scale)
    return document | {
        "times_as_fast": _times(compared),
        "predictions_equal": same,
        "test_predictions_equal": _share(answers["int8"]["test"], answers["eager"]["test"]),
        "times_smaller": smaller,
        "accuracy": {way: _share(found["test"], bed.rows.labels) for way, found in answers.items()},
        "equal": same >= LEAST_EQUAL,
        "met": document["met"] and same >= LEAST_EQUAL and smaller >= LEAST_SMALLER,
    }


def student_document(name: str, bed: Bed, samples: dict[str, list[Sample]], scale: float) -> dict[str, Any]:
    """Return what the student came to."""
    score = {
        role: _share(bed.answers[way]["test"], bed.rows.labels)
        for role, way in (("student", "student"), ("teacher", "fp32"))
    }
    compared = {"ours": samples["student"], "teacher": samples["fp32"]}
    document = compare(name, compared, {"teacher": MOST_TIME}, {}, scale=scale)
    kept = round(score["student"] / score["teacher"], 4)
    return document | {
        "times_as_fast": _times(compared),
        "accuracy": score,
        "accuracy_kept": kept,
        "equal": kept >= LEAST_KEPT,
        "met": document["met"] and kept >= LEAST_KEPT,
    }


def _times(samples: dict[str, list[Sample]]) -> dict[str, float]:
    """Return how many times as fast ours is as each other, by the medians."""
    medians = {way: statistics.median(one.wall_seconds for one in many) for way, many in samples.items()}
    return {way: round(median / medians["ours"], 2) for way, median in medians.items() if way != "ours"}


def main() -> None:
    """Measure and print."""
    options = parse(__doc__, ways=tuple(DATA), keeps=True)
    if not FOLDER.is_dir():
        raise SystemExit(f"B6 {NEEDED}")
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        for data in options.only or DATA:
            bed = Bed(folder_of(options.keep or Path(name), data, options.scale), DATA[data], options.scale)
            if not options.pairs:
                continue
            samples = alternate({way: partial(bed.run, way) for way in FOLDERS}, options.pairs)
            suffix = "" if data == "banking" else f"-{data}"
            publish(int8_document(f"B6{suffix}", bed, samples, options.scale))
            publish(student_document(f"B6-student{suffix}", bed, samples, options.scale))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        answer_child(Path(sys.argv[2]))
    else:
        main()
