"""Stage `evaluate`: what a model is worth on the held-out rows, beside the baseline on the same rows."""

from __future__ import annotations

import dataclasses
import io

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.errors import DataError
from operators.core.evaluation.baseline import evaluate_baseline
from operators.core.evaluation.spec import EvaluationSpec
from operators.core.manifest import Made, Manifest, StageCall, canonical
from operators.core.models.classifier import Answer, Classifier, load_classifier
from operators.core.models.metrics import measure
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store
from operators.core.training.rows import LabelledRows, read_rows

REVISION = 12


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
    call = StageCall(
        stage="evaluate",
        revision=REVISION,
        inputs=(
            store.as_input("model", model),
            store.as_input("dataset", dataset),
            store.as_input("baseline", baseline.digest),
        ),
        spec={"batch_size": spec.batch_size},
    )

    def make() -> Made:
        rows = read_rows(store, store.manifest(dataset), "test")
        with scratch_folder() as folder:
            store.fetch_all(store.manifest(model), folder)
            classifier = load_classifier(folder, threads, spec.batch_size)
            if tuple(classifier.labels) != rows.label_names:
                raise DataError(f"the model tells {classifier.labels} apart, the data set {list(rows.label_names)}")
            if classifier.card.task != rows.task:
                raise DataError(f"the model is for {classifier.card.task}, the data set for {rows.task}")
            answers = classifier.answers(rows.texts, lambda done: progress(done, len(rows.texts), "test rows"))
        return _made(store, classifier, rows, answers, baseline.manifest)

    return store.once(call, make)


def _made(store: Store, classifier: Classifier, rows: LabelledRows, answers: list[Answer], baseline: Manifest) -> Made:
    # Here, not at the top: a result that is found needs no pictures.
    from operators.core.evaluation.picture import confusion_png

    metrics = measure(rows.task, rows.labels, [answer.label for answer in answers], rows.label_names)
    facts = {
        **metrics.facts,
        **{f"baseline_{name}": baseline.facts[name] for name in ("score", metrics.measure, "macro_f1")},
        "rows": len(rows.ids),
        "model_format": classifier.card.format,
    }
    report = {**facts, "labels": list(rows.label_names), **dataclasses.asdict(metrics)}
    files = (
        store.put_bytes("report.json", canonical(report)),
        store.put_bytes("confusion.png", confusion_png(metrics.confusion, metrics.axis)),
        store.put_bytes("predictions.parquet", _predictions(rows, answers), rows=len(rows.ids)),
    )
    return Made(files=files, facts=facts)


def _predictions(rows: LabelledRows, answers: list[Answer]) -> bytes:
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
