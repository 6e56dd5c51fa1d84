"""B6: int8 against ONNX Runtime in single precision and PyTorch eager; a distilled student against its teacher.

A MiniLM is fine-tuned on Banking77 as the recipe `banking_intents` trains it, and a student of three of its six layers
is distilled of it. Each way is a process of its own that loads a model and answers test rows one by one on one thread;
its time is that of the answers. Student and teacher are compared as exported, both in single precision. Beside it
stands the same for the first 128 tokens of 100 mails: what an answer takes does not depend on what was learnt.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from operators.core.compression.cut_student import cut_student
from operators.core.compression.make_candidates import make_candidates
from operators.core.compression.spec import CandidateKind, CandidateSpec, CompressionSpec, ShapeSpec, StudentSpec
from operators.core.finetuning.fine_tune import fine_tune
from operators.core.finetuning.spec import TrainingSpec
from operators.core.models.adopt import adopt_model
from operators.core.models.card import CARD_FILE, ClassifierCard
from operators.core.models.classifier import Classifier, load_classifier
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.progress import no_progress
from operators.core.storage import open_store
from operators.core.training.rows import read_rows
from operators.local.base_model import fetch_base_model
from operators.local.corpus import fetch_corpus, read_mails
from operators.local.layout import Layout
from operators.recipes import load_recipe
from tests.benchmarks.shard_io import make_store
from tests.benchmarks.timing import Sample, alternate, compare, measure, parse, publish
from tests.core.training.banking import FOLDER, NEEDED, publish_banking

RECIPE = load_recipe(Path(__file__).parents[2] / "dags" / "recipes" / "banking_intents.py")
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
WARM_UP, TEXTS, MAILS, MAIL_TOKENS = 20, 300, 100, 128
LEAST_EQUAL, LEAST_SMALLER, LEAST_KEPT = 0.99, 3.5, 0.97


class Bed:
    """The models as folders, and the texts that they are asked about."""

    def __init__(self, folder: Path, train_rows: int) -> None:
        self.folder = folder
        settings = make_store(folder / "store")
        store = open_store(settings)
        layout = Layout.from_environment(os.environ)
        base = fetch_base_model(layout.home / "downloads", layout.home / "models")
        base_model = adopt_model(store, base, ALL_MINILM_L6_V2, no_progress).digest
        dataset = publish_banking(store, train_rows)

        def train(spec: TrainingSpec, base: str, teacher: str | None) -> str:
            return fine_tune(
                store,
                settings,
                spec,
                dataset=dataset,
                base_model=base,
                teacher=teacher,
                scratch=folder / "scratch",
                progress=no_progress,
                account={},
            ).digest

        model = train(RECIPE.training, base_model, None)
        student = train(RECIPE.recovery(STUDENT), cut_student(store, model, STUDENT.shape).digest, model)
        made = make_candidates(store, model, SPEC, [student])
        names = ["eager", *(one.name for one in SPEC.candidates)]
        for name, digest in zip(names, [model, *(result.digest for result in made)], strict=True):
            store.fetch_all(store.manifest(digest), folder / name)
        self.rows, learnt = (read_rows(store, store.manifest(dataset), split) for split in ("test", "train"))
        self._write_texts(layout, learnt.texts)
        store.close()
        self.answers: dict[str, dict[str, Any]] = {}

    def _write_texts(self, layout: Layout, train: list[str]) -> None:
        mails = [str(row["body"])[:4000] for row in read_mails(fetch_corpus(layout.home / "downloads"))]
        every = len(mails) // MAILS
        document = {"test": self.rows.texts, "train": train, "mails": mails[: every * MAILS : every]}
        (self.folder / "texts.json").write_text(json.dumps(document))

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
    """Answer single texts and mails, and the first time all rows; write what it took and what the answers are."""
    texts = json.loads((folder.parent / "texts.json").read_text())
    model = load_classifier(folder, threads=1)
    every = len(texts["test"]) // TEXTS
    document: dict[str, Any] = {"seconds": _seconds(model, texts["test"][: every * TEXTS : every])}
    before = folder / "answers.json"
    for split in ("test", "train"):
        known = json.loads(before.read_text())[split] if before.exists() else None
        document[split] = known or [answer.label for answer in model.answers(texts[split])]
    card = ClassifierCard.from_folder(folder)
    (folder / CARD_FILE).write_text(replace(card, max_length=MAIL_TOKENS).to_json())
    document["mail_seconds"] = _seconds(load_classifier(folder, threads=1), texts["mails"])
    (folder / CARD_FILE).write_text(card.to_json())
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


def documents(bed: Bed, samples: dict[str, list[Sample]], scale: float) -> list[dict[str, Any]]:
    """Return what int8 came to, and the student."""
    test = {way: found["test"] for way, found in bed.answers.items()}
    every = {way: found["test"] + found["train"] for way, found in bed.answers.items()}
    mail = {way: found["mail_seconds"] for way, found in bed.answers.items()}
    score = {way: _share(found, bed.rows.labels) for way, found in test.items()}
    int8 = compare(
        "B6",
        {"ours": samples["int8"], "onnx runtime fp32": samples["fp32"], "pytorch eager": samples["eager"]},
        {"onnx runtime fp32": 1 / 2, "pytorch eager": 1 / 5},
        {},
        scale=scale,
    )
    same, smaller = _share(every["int8"], every["eager"]), round(bed.size("eager") / bed.size("int8"), 2)
    int8 |= {
        "predictions_equal": same,
        "test_predictions_equal": _share(test["int8"], test["eager"]),
        "times_smaller": smaller,
        "accuracy": {way: score[way] for way in ("eager", "fp32", "int8")},
        "mail_ratio": {way: round(mail["int8"] / mail[way], 3) for way in ("fp32", "eager")},
        "equal": same >= LEAST_EQUAL,
        "met": int8["met"] and same >= LEAST_EQUAL and smaller >= LEAST_SMALLER,
    }
    student = compare(
        "B6-student", {"ours": samples["student"], "teacher": samples["fp32"]}, {"teacher": 1 / 1.8}, {}, scale=scale
    )
    kept = round(score["student"] / score["fp32"], 4)
    student |= {
        "accuracy": {"student": score["student"], "teacher": score["fp32"]},
        "accuracy_kept": kept,
        "mail_ratio": {"teacher": round(mail["student"] / mail["fp32"], 3)},
        "equal": kept >= LEAST_KEPT,
        "met": student["met"] and kept >= LEAST_KEPT,
    }
    return [int8, student]


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    if not FOLDER.is_dir():
        raise SystemExit(f"B6 {NEEDED}")
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        bed = Bed(Path(name), int(10_003 * options.scale))
        samples = alternate({way: lambda way=way: bed.run(way) for way in FOLDERS}, options.pairs)  # type: ignore[misc]
        for document in documents(bed, samples, options.scale):
            publish(document)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        answer_child(Path(sys.argv[2]))
    else:
        main()
