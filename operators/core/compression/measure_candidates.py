"""Stage `measure_candidates`: size, latency, score and agreement with the parent. Its report is its file.

A measurement differs from try to try, so this stage is the exception to "equal inputs, equal result": the first report
that was acknowledged stands, and a choice made from it is a stage of its own.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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

REVISION = 10
REPORT = "report.json"
PARENT = "parent"
EXPORTED = CandidateKind.ONNX_FP32.value


@dataclass(frozen=True, kw_only=True, slots=True)
class _Predictions:
    """The predicted label of each row."""

    test: list[str]
    all: list[str]
    """The test rows, then the train rows where the model was asked for them."""


def measure_candidates(
    store: Store, candidates: str, dataset: str, spec: MeasurementSpec, progress: Progress = no_progress
) -> Result:
    """Return the report on all candidates.

    Args:
        store: The store.
        candidates: Digest of what `make_candidates` made.
        dataset: Digest of the data set; the score is on its test rows, agreement on all its rows.
        spec: How to measure.
        progress: Told of every pass over the rows.
    """
    call = StageCall(
        stage="measure_candidates",
        revision=REVISION,
        inputs=(store.as_input("candidates", candidates), store.as_input("dataset", dataset)),
        spec=spec_json(spec),
    )

    def make() -> Made:
        with scratch_folder() as folder:
            report = _measure(store, store.manifest(candidates), store.manifest(dataset), spec, folder, progress)
        return Made(files=(store.put_bytes(REPORT, canonical(report)),))

    return store.once(call, make)


def read_report(store: Store, measurement: Manifest) -> dict[str, Any]:
    """Return the report that a measurement holds: `{rows, test_rows, models: [{name, bytes, p50_ms, ...}]}`."""
    report: dict[str, Any] = json.loads(store.read(measurement.file(REPORT)))
    return report


def _measure(
    store: Store, candidates: Manifest, dataset: Manifest, spec: MeasurementSpec, folder: Path, progress: Progress
) -> dict[str, Any]:
    parent = candidates.input("model").manifest
    if parent is None:
        raise DataError("the candidates name no parent model in the store: make them again")
    store.fetch_all(store.manifest(parent), folder / PARENT)
    store.fetch_all(candidates, folder)
    names = [PARENT, *sorted({entry.name.split("/")[0] for entry in candidates.files})]
    test, train = read_rows(store, dataset, "test"), read_rows(store, dataset, "train")
    models = {name: load_classifier(folder / name, threads=1) for name in names}
    seconds = _latencies(models, spread(test.texts, spec.latency_texts), spec.warm_up_texts)
    for model in models.values():
        model.threads = os.cpu_count() or 1
    predicted = _predict(models, test, train, progress)
    return {
        "rows": len(test.texts) + len(train.texts),
        "test_rows": len(test.texts),
        "models": [
            {
                "name": name,
                "bytes": _weights(folder / name).stat().st_size,
                "p50_ms": round(1000 * float(np.percentile(seconds[name], 50)), 3),
                "p99_ms": round(1000 * float(np.percentile(seconds[name], 99)), 3),
                **measure(test.task, test.labels, predicted[name].test, test.label_names).facts,
                "agreement": _agreement(predicted[PARENT], predicted[name]),
                "agreement_rows": len(predicted[name].all),
            }
            for name in names
        ],
    }


def _latencies(models: Mapping[str, Classifier], texts: Sequence[str], warm_up: int) -> dict[str, list[float]]:
    """Return seconds per text at batch 1; every text meets every model before the next one, in turning order."""
    for text in texts[:warm_up]:
        for model in models.values():
            model.logits([text])
    seconds: dict[str, list[float]] = {name: [] for name in models}
    names = list(models)
    for index, text in enumerate(texts):
        for name in names[index % len(names) :] + names[: index % len(names)]:
            begun = time.perf_counter()
            models[name].logits([text])
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def _predict(
    models: Mapping[str, Classifier], test: LabelledRows, train: LabelledRows, progress: Progress
) -> dict[str, _Predictions]:
    """Return every model's predictions on the rows it is compared on: all, or the test rows for the graph.

    The graph was compared with PyTorch logit by logit when it was made; quantisation is what may change an answer.
    """
    splits = {name: [test.texts] if name == EXPORTED else [test.texts, train.texts] for name in models}
    total = sum(len(texts) for compared in splits.values() for texts in compared)
    predicted: dict[str, _Predictions] = {}
    done = 0
    for name, compared in splits.items():
        labels: list[list[str]] = []
        for texts in compared:
            # Each split by itself: what else lies in a batch moves an int8 model's answers a little.
            answers = models[name].answers(texts, _shifted(progress, done, total, f"rows, {name} predicts"))
            labels.append([answer.label for answer in answers])
            done += len(texts)
        predicted[name] = _Predictions(test=labels[0], all=[label for split in labels for label in split])
    return predicted


def _shifted(progress: Progress, before: int, total: int, note: str) -> Callable[[int], None]:
    return lambda count: progress(before + count, total, note)


def _agreement(parent: _Predictions, candidate: _Predictions) -> float:
    """Return the part of the rows a candidate was asked on which it predicts what its parent does."""
    same = sum(ours == theirs for ours, theirs in zip(parent.all, candidate.all, strict=False))
    return same / len(candidate.all)


def _weights(folder: Path) -> Path:
    return next(path for path in sorted(folder.iterdir()) if path.name in ("model.onnx", "model.safetensors"))
