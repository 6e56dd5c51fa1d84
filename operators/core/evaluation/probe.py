"""The linear probe: a logistic regression on mean-pooled features of a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from operators.core.evaluation.spec import EvaluationSpec
from operators.core.models.batching import Floats, Ints, run_batches
from operators.core.models.encoder import load_base
from operators.core.models.tokenising import encode, load_tokenizer
from operators.core.training.machine import cpu_has_bf16
from operators.core.training.rows import LabelledRows

MAX_ITERATIONS = 1000


def probe(
    folder: Path,
    train: LabelledRows,
    test: LabelledRows,
    spec: EvaluationSpec,
    threads: int,
    report: Callable[[int], None],
) -> npt.NDArray[np.int64]:
    """Return the label numbers that a probe fitted on the train rows gives to the test rows.

    Args:
        folder: The base model's files.
        train: Rows to fit on.
        test: Rows to predict.
        spec: Tokens seen and strength of the regression.
        threads: Batches computed beside each other.
        report: Told how many rows have become features.
    """
    features = _features(folder, [*train.texts, *test.texts], spec, threads, report)
    regression = LogisticRegression(C=spec.baseline_strength, max_iter=MAX_ITERATIONS)
    regression.fit(features[: len(train.texts)], train.labels)
    return cast("npt.NDArray[np.int64]", regression.predict(features[len(train.texts) :]))


def _features(
    folder: Path, texts: Sequence[str], spec: EvaluationSpec, threads: int, report: Callable[[int], None]
) -> Floats:
    """Return unit-length features of the frozen encoder, shape (texts, hidden)."""
    torch.set_num_threads(1)
    model = load_base(folder, 2, dropout=0.0, seed=0).eval()
    rows = encode(load_tokenizer(folder), texts, spec.baseline_max_length)
    features = np.zeros((len(rows), model.head.in_features), dtype=np.float32)

    def forward(ids: Ints, mask: Ints) -> Floats:
        # A first result stands for its run key, so a rounding that differs between machines does no harm here.
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=cpu_has_bf16()):
            return cast(Floats, model.features(torch.from_numpy(ids), torch.from_numpy(mask)).numpy())

    done = 0
    for batch, output in run_batches(forward, rows, batch_size=spec.batch_size, pad_id=0, threads=threads):
        features[batch] = output
        done += len(batch)
        report(done)
    return features
