"""Stage `evaluate`: what a model is worth on the held-out rows, beside the baseline on the same rows."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.errors import DataError
from operators.core.evaluation.baseline import evaluate_baseline
from operators.core.evaluation.everyday import EVERYDAY
from operators.core.evaluation.outside import look_outside
from operators.core.evaluation.page import render
from operators.core.evaluation.perturbations import perturb
from operators.core.evaluation.report import describe
from operators.core.evaluation.slices import read_columns
from operators.core.evaluation.spec import EvaluationSpec
from operators.core.manifest import FileEntry, Made, Manifest, StageCall, canonical, sha256_hex
from operators.core.models.classifier import Answer, Classifier, load_classifier
from operators.core.models.metrics import measure
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store
from operators.core.training.rows import LabelledRows, read_rows

REVISION = 18


def evaluate(
    store: Store,
    spec: EvaluationSpec,
    *,
    model: str,
    dataset: str,
    base_model: str,
    threads: int,
    progress: Progress,
) -> Result:
    """Return a model's evaluation on the `test` split of a data set.

    Args:
        store: Holds inputs and result.
        spec: Batch size, and what the baseline is.
        model: Digest of a fine-tuned or compressed model's manifest.
        dataset: Digest of a data set's manifest.
        base_model: Digest of the adopted base model that the baseline probes.
        threads: Batches computed beside each other.
        progress: Told about rows predicted.

    Raises:
        DataError: The model's labels, or what it tells, are not the data set's.
    """
    baseline = evaluate_baseline(
        store, spec, dataset=dataset, base_model=base_model, threads=threads, progress=progress
    )
    inputs = {"model": model, "dataset": dataset, "baseline": baseline.digest}
    call = StageCall(
        stage="evaluate",
        revision=REVISION,
        inputs=tuple(store.as_input(role, digest) for role, digest in inputs.items()),
        spec={
            "batch_size": spec.batch_size,
            "slices": spec.slices,
            "perturbed_rows": spec.perturbed_rows,
            "outside": None if spec.outside is None else sha256_hex(canonical(spec.outside)),
        },
    )

    def make() -> Made:
        rows = read_rows(store, store.manifest(dataset), "test")
        columns = read_columns(store, store.manifest(dataset), spec.slices)
        with scratch_folder() as folder:
            store.fetch_all(store.manifest(model), folder)
            classifier = load_classifier(folder, threads, spec.batch_size)
            _check_fit(classifier, rows)
            answers = classifier.answers(rows.texts, lambda done: progress(done, len(rows.texts), "test rows"))
            further = _further(classifier, rows, answers, spec)
        report = _report(rows, answers, columns, baseline.manifest) | further
        return Made(files=_files(store, rows, answers, report), facts=_facts(report))

    return store.once(call, make)


def _check_fit(classifier: Classifier, rows: LabelledRows) -> None:
    if tuple(classifier.labels) != rows.label_names:
        raise DataError(f"the model tells {classifier.labels} apart, the data set {list(rows.label_names)}")
    if classifier.card.task != rows.task:
        raise DataError(f"the model is for {classifier.card.task}, the data set for {rows.task}")


def _further(
    classifier: Classifier, rows: LabelledRows, answers: Sequence[Answer], spec: EvaluationSpec
) -> dict[str, Any]:
    """Return what the model makes of changed texts, and of texts from outside."""
    perturbed = perturb(classifier, rows, answers, spec.perturbed_rows)
    texts = EVERYDAY if spec.outside is None else spec.outside
    # Where a model looks for spans, having found none is a sure answer: its score says nothing of the text.
    asked = texts if rows.task == "text_classification" else ()
    outside = look_outside(classifier, asked, [answer.score for answer in answers])
    return {
        "model_format": classifier.card.format,
        "perturbed": [dataclasses.asdict(one) for one in perturbed],
        "stays": min((one.same for one in perturbed), default=None),
        "outside": dataclasses.asdict(outside) if outside else None,
        "outside_auroc": outside.auroc if outside else None,
    }


def _report(
    rows: LabelledRows, answers: Sequence[Answer], columns: Mapping[str, Sequence[str]], baseline: Manifest
) -> dict[str, Any]:
    """Return what is told of the answers to the test rows, beside the baseline's."""
    metrics = measure(rows.task, rows.labels, [answer.label for answer in answers], rows.label_names)
    return {
        **metrics.facts,
        **{f"baseline_{name}": baseline.facts[name] for name in ("score", metrics.measure, "macro_f1")},
        "rows": len(rows.ids),
        **describe(rows, answers, metrics, columns),
    }


def _facts(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report has as one figure or word: a manifest's facts hold no id and no list."""
    return {name: value for name, value in report.items() if isinstance(value, str | int | float)}


def _files(
    store: Store, rows: LabelledRows, answers: Sequence[Answer], report: Mapping[str, Any]
) -> tuple[FileEntry, ...]:
    # Here, not at the top: a result that is found needs no pictures.
    from operators.core.evaluation.picture import confusion_png

    return (
        store.put_bytes("report.json", canonical(report)),
        store.put_bytes("report.html", render(report)),
        store.put_bytes("confusion.png", confusion_png(report["confusion"], report["axis"])),
        store.put_bytes("predictions.parquet", _predictions(rows, answers), rows=len(rows.ids)),
    )


def _predictions(rows: LabelledRows, answers: Sequence[Answer]) -> bytes:
    """Return Parquet: id, true label, predicted label and how sure it is, in the data set's order."""
    table = pa.table(
        {
            "id": pa.array(rows.ids, pa.string()),
            "label": pa.array(rows.labels, pa.string()),
            "predicted": pa.array([answer.label for answer in answers], pa.string()),
            "score": pa.array([answer.score for answer in answers], pa.float32()),
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
