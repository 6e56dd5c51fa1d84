"""Stage `evaluate_baseline`: a linear probe on the frozen base model, the bar that fine-tuning has to clear."""

from __future__ import annotations

import dataclasses

from operators.core.evaluation.spec import EvaluationSpec
from operators.core.manifest import Made, StageCall, canonical
from operators.core.models.metrics import measure
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store
from operators.core.training.rows import read_rows

REVISION = 18


def evaluate_baseline(
    store: Store, spec: EvaluationSpec, *, dataset: str, base_model: str, threads: int, progress: Progress
) -> Result:
    """Return the measure of a logistic regression on features of the frozen base model, on the test rows.

    Args:
        store: Holds inputs and result.
        spec: Tokens seen and strength of the regression.
        dataset: Digest of a data set's manifest.
        base_model: Digest of an adopted base model's manifest.
        threads: Batches computed beside each other.
        progress: Told about rows turned into features.
    """
    call = StageCall(
        stage="evaluate_baseline",
        revision=REVISION,
        inputs=(store.as_input("base_model", base_model), store.as_input("dataset", dataset)),
        spec={"max_length": spec.baseline_max_length, "strength": spec.baseline_strength},
    )

    def make() -> Made:
        # Here, not at the top: torch and scikit-learn take 5 s to import, which a result that is found need not pay.
        from operators.core.evaluation.probe import probe

        manifest = store.manifest(dataset)
        train, test = (read_rows(store, manifest, split) for split in ("train", "test"))
        total = len(train.texts) + len(test.texts)
        with scratch_folder() as folder:
            store.fetch_all(store.manifest(base_model), folder)
            predicted = probe(folder, train, test, spec, threads, lambda done: progress(done, total, "baseline rows"))
        metrics = measure(test.task, test.labels, predicted, test.label_names)
        report = {"rows": len(test.texts), "labels": list(test.label_names), **dataclasses.asdict(metrics)}
        facts = {**metrics.facts, "rows": len(test.texts)}
        return Made(files=(store.put_bytes("report.json", canonical(report)),), facts=facts)

    return store.once(call, make)
