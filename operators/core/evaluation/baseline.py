"""Stage `evaluate_baseline`: a linear probe on the frozen base model, the bar that fine-tuning has to clear."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from operators.core.evaluation.metrics import measure
from operators.core.evaluation.spec import EvaluationSpec
from operators.core.manifest import Made, StageCall, canonical
from operators.core.models.encoder import load_base
from operators.core.models.tokenising import batches_by_length, encode, load_tokenizer, pad
from operators.core.progress import Progress
from operators.core.storage import Result, Store
from operators.core.training.machine import cpu_has_bf16
from operators.core.training.rows import read_rows

REVISION = 1
MAX_ITERATIONS = 1000

Floats = npt.NDArray[np.float32]


def evaluate_baseline(
    store: Store, spec: EvaluationSpec, *, dataset: str, base_model: str, threads: int, progress: Progress
) -> Result:
    """Return the measure of a logistic regression on mean-pooled features of the frozen base model, on the test rows.

    Args:
        store: Holds inputs and result.
        spec: Tokens seen and strength of the regression.
        dataset: Digest of a data set's manifest.
        base_model: Digest of an adopted base model's manifest.
        threads: Threads of one forward pass.
        progress: Told about rows turned into features.
    """
    call = StageCall(
        stage="evaluate_baseline",
        revision=REVISION,
        inputs=(store.as_input("base_model", base_model), store.as_input("dataset", dataset)),
        spec={"max_length": spec.baseline_max_length, "strength": spec.baseline_strength},
    )

    def make() -> Made:
        manifest = store.manifest(dataset)
        train, test = (read_rows(store, manifest, split) for split in ("train", "test"))
        total = len(train.texts) + len(test.texts)
        with tempfile.TemporaryDirectory() as folder:
            store.fetch_all(store.manifest(base_model), Path(folder))
            features = _features(
                Path(folder),
                train.texts + test.texts,
                spec,
                threads,
                lambda done: progress(done, total, "baseline rows"),
            )
        probe = LogisticRegression(C=spec.baseline_strength, max_iter=MAX_ITERATIONS)
        probe.fit(features[: len(train.texts)], train.labels)
        metrics = measure(test.labels, probe.predict(features[len(train.texts) :]), test.label_names)
        report = {"rows": len(test.texts), "labels": list(test.label_names), **dataclasses.asdict(metrics)}
        facts = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, "rows": len(test.texts)}
        return Made(files=(store.put_bytes("report.json", canonical(report)),), facts=facts)

    return store.once(call, make)


def _features(
    folder: Path, texts: Sequence[str], spec: EvaluationSpec, threads: int, report: Callable[[int], None]
) -> Floats:
    """Return unit-length features of the frozen encoder, shape (texts, hidden)."""
    torch.set_num_threads(threads)
    model = load_base(folder, 2, dropout=0.0, seed=0).eval()
    rows = encode(load_tokenizer(folder), texts, spec.baseline_max_length)
    features = np.zeros((len(rows), model.head.in_features), dtype=np.float32)
    done = 0
    for batch in batches_by_length(rows, spec.batch_size):
        ids, mask = (torch.from_numpy(array) for array in pad([rows[index] for index in batch]))
        # A first result stands for its run key, so a rounding that differs between machines does no harm here.
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=cpu_has_bf16()):
            features[batch] = model.features(ids, mask).numpy()
        done += len(batch)
        report(done)
    return cast(Floats, features)
