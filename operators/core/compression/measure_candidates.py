"""Stage `measure_candidates`: size, latency, memory, energy, score and agreement with the parent.

Its report is its file. A measurement differs from try to try, so this stage is the exception to "equal inputs, equal
result": the first report that was acknowledged stands, and a choice made from it is a stage of its own.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from operators.core.compression.footprint import footprint
from operators.core.compression.latency import BATCH, figures, measure_latency
from operators.core.compression.sample import spread
from operators.core.compression.spec import CandidateKind, MeasurementSpec
from operators.core.errors import DataError
from operators.core.manifest import Made, Manifest, StageCall, canonical, spec_json
from operators.core.models.classifier import Classifier, load_classifier
from operators.core.models.metrics import measure
from operators.core.progress import Progress, no_progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store
from operators.core.training.rows import LabelledRows, read_rows

REVISION = 12
REPORT = "report.json"
PARENT = "parent"
EXPORTED = CandidateKind.ONNX_FP32.value
NOT_FINITE = "overflow: it gives logits that are no finite numbers"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Predictions:
    """The predicted label of each row."""

    test: list[str]
    all: list[str]
    """The test rows, then the train rows where the model was asked for them."""


def measure_candidates(
    store: Store,
    candidates: Mapping[str, str],
    spec: MeasurementSpec,
    *,
    model: str,
    progress: Progress = no_progress,
) -> Result:
    """Return the report on all candidates and their parent.

    Args:
        store: The store.
        candidates: Digest of each, by the name that the report has it by.
        spec: How to measure.
        model: Digest of the fine-tuned model that all are compared with; the score is on the test rows of its data set,
            agreement on all rows.
        progress: Told of every pass over the rows.
    """
    call = StageCall(
        stage="measure_candidates",
        revision=REVISION,
        inputs=(
            store.as_input("model", model),
            *(store.as_input("candidate", digest) for digest in candidates.values()),
        ),
        spec={**spec_json(spec), "names": list(candidates)},
    )

    def make() -> Made:
        models = {name: store.manifest(digest) for name, digest in {PARENT: model, **candidates}.items()}
        with scratch_folder() as folder:
            report = _measure(store, models, spec, folder, progress)
        return Made(files=(store.put_bytes(REPORT, canonical(report)),))

    return store.once(call, make)


def read_report(store: Store, measurement: Manifest) -> dict[str, Any]:
    """Return the report that a measurement holds: `{rows, test_rows, models: [{name, bytes, p50_ms, ...}]}`."""
    report: dict[str, Any] = json.loads(store.read(measurement.file(REPORT)))
    return report


def _measure(
    store: Store, manifests: Mapping[str, Manifest], spec: MeasurementSpec, folder: Path, progress: Progress
) -> dict[str, Any]:
    names = list(manifests)
    for name in names:
        store.fetch_all(manifests[name], folder / name)
    test, train = _rows(store, manifests[PARENT])
    batches = _batches(test.texts, spec.latency_batches)
    memory = {name: footprint(folder / name, batches[:3]) for name in names}
    models = {name: load_classifier(folder / name, threads=1) for name in names}
    alone = measure_latency(models, [[text] for text in spread(test.texts, spec.latency_texts)], spec.warm_up_texts)
    batched = measure_latency(models, batches, 1)
    for model in models.values():
        model.threads = os.cpu_count() or 1
    predicted = _predict(models, test, train, progress)
    return {
        "rows": len(test.texts) + len(train.texts),
        "test_rows": len(test.texts),
        "batch": BATCH,
        "models": [
            {
                "name": name,
                "bytes": _weights(folder / name).stat().st_size,
                "memory_bytes": memory[name],
                **figures(alone[name], batched[name]),
                **_quality(predicted[PARENT], predicted[name], test),
                **{fact: manifests[name].facts.get(fact) for fact in ("first_bad_operator", "overflow")},
                **({} if predicted[name] else {"overflow": NOT_FINITE}),
            }
            for name in names
        ],
    }


def _rows(store: Store, model: Manifest) -> tuple[LabelledRows, LabelledRows]:
    """Return the test and the train rows of the data set that a model was trained on."""
    dataset = model.input("dataset").manifest
    if dataset is None:
        raise DataError("the model names no data set in the store: fine-tune it again")
    return read_rows(store, store.manifest(dataset), "test"), read_rows(store, store.manifest(dataset), "train")


def _batches(texts: Sequence[str], count: int) -> list[list[str]]:
    """Return batches of texts of all lengths, as a queue of requests would hold them."""
    sample = spread(list(texts), count * BATCH)
    return [sample[start::count] for start in range(min(count, len(sample)))]


def _predict(
    models: Mapping[str, Classifier], test: LabelledRows, train: LabelledRows, progress: Progress
) -> dict[str, _Predictions | None]:
    """Return every model's predictions on the rows it is compared on: all, or the test rows for the graph.

    None of a candidate that gives a logit that is not a finite number: it answers nothing.

    The graph was compared with PyTorch logit by logit when it was made; quantisation is what may change an answer.
    """
    splits = {name: [test.texts] if name == EXPORTED else [test.texts, train.texts] for name in models}
    total = sum(len(texts) for compared in splits.values() for texts in compared)
    predicted: dict[str, _Predictions | None] = {}
    done = 0
    for name, compared in splits.items():
        try:
            # Each split by itself: what else lies in a batch moves an int8 model's answers a little.
            labels = [
                _labels(models[name], texts, _shifted(progress, done + before, total, f"rows, {name} predicts"))
                for before, texts in zip((0, len(test.texts)), compared, strict=False)
            ]
            predicted[name] = _Predictions(test=labels[0], all=[label for split in labels for label in split])
        except FloatingPointError:
            if name == PARENT:
                raise
            predicted[name] = None
        done += sum(map(len, compared))
    return predicted


def _labels(model: Classifier, texts: Sequence[str], progress: Callable[[int], None]) -> list[str]:
    return [answer.label for answer in model.answers(texts, progress)]


def _shifted(progress: Progress, before: int, total: int, note: str) -> Callable[[int], None]:
    return lambda count: progress(before + count, total, note)


def _quality(parent: _Predictions | None, candidate: _Predictions | None, test: LabelledRows) -> dict[str, Any]:
    """Return the score, and the part of the rows it was asked on for which a candidate predicts what its parent does.

    One that answers nothing has nothing of either.
    """
    assert parent is not None
    facts = measure(test.task, test.labels, (candidate or parent).test, test.label_names).facts
    if candidate is None:
        none = {name: 0.0 for name, value in facts.items() if isinstance(value, float)}
        return {**facts, **none, "agreement": 0.0, "agreement_rows": len(parent.all)}
    same = sum(ours == theirs for ours, theirs in zip(parent.all, candidate.all, strict=False))
    return {**facts, "agreement": same / len(candidate.all), "agreement_rows": len(candidate.all)}


def _weights(folder: Path) -> Path:
    return next(path for path in sorted(folder.iterdir()) if path.name in ("model.onnx", "model.safetensors"))
