"""The linear probe: a logistic regression on what a frozen encoder makes of texts, or of their words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from operators.core.evaluation.spec import EvaluationSpec
from operators.core.labels import Task, decode_spans, encode_spans
from operators.core.models.batching import Floats, Forward, Ints, run_batches
from operators.core.models.encoder import MeanPoolClassifier, load_base
from operators.core.models.tags import read_spans, tag_tokens
from operators.core.models.tokenising import encode, encode_words, load_tokenizer
from operators.core.training.machine import cpu_has_bf16
from operators.core.training.rows import LabelledRows

MAX_ITERATIONS = 1000

Report = Callable[[int], None]


def probe(
    folder: Path, train: LabelledRows, test: LabelledRows, spec: EvaluationSpec, threads: int, report: Report
) -> list[str]:
    """Return the labels that a probe fitted on the train rows gives to the test rows.

    Args:
        folder: The base model's files.
        train: Rows to fit on.
        test: Rows to predict.
        spec: Tokens seen and strength of the regression.
        threads: Batches computed beside each other.
        report: Told how many rows have become features.
    """
    torch.set_num_threads(1)
    return _PROBES[train.task](folder, train, test, spec, threads, report)


def _probe_texts(
    folder: Path, train: LabelledRows, test: LabelledRows, spec: EvaluationSpec, threads: int, report: Report
) -> list[str]:
    """Predict from the unit-length mean of a text's token states."""
    model = cast(MeanPoolClassifier, load_base(folder, train.task, 2, dropout=0.0, seed=0).eval())
    rows = encode(load_tokenizer(folder), [*train.texts, *test.texts], spec.baseline_max_length)
    features = np.stack(_each(_forward(model.features), rows, lambda row, output: output, spec, threads, report))
    regression = _fitted(features[: len(train.texts)], train.labels, spec)
    return [str(label) for label in regression.predict(features[len(train.texts) :])]


def _probe_words(
    folder: Path, train: LabelledRows, test: LabelledRows, spec: EvaluationSpec, threads: int, report: Report
) -> list[str]:
    """Predict each word's tag from the unit-length state of its first token."""
    model = load_base(folder, train.task, 2, dropout=0.0, seed=0).eval()
    words = encode_words(load_tokenizer(folder), [*train.texts, *test.texts], spec.baseline_max_length)
    rows = [one.ids for one in words]
    features = _each(
        _forward(model.states), rows, lambda row, output: _unit(output[words[row].firsts]), spec, threads, report
    )
    size = len(train.texts)
    tags = [
        tag_tokens(one, decode_spans(label), train.label_names)[one.firsts]
        for one, label in zip(words[:size], train.labels, strict=True)
    ]
    regression = _fitted(np.concatenate(features[:size]), np.concatenate(tags), spec)
    return [
        encode_spans(read_spans(one, regression.predict(row).tolist() if len(row) else (), train.label_names))
        for one, row in zip(words[size:], features[size:], strict=True)
    ]


_PROBES: dict[Task, Callable[[Path, LabelledRows, LabelledRows, EvaluationSpec, int, Report], list[str]]] = {
    "text_classification": _probe_texts,
    "token_classification": _probe_words,
}


def _fitted(features: Floats, targets: Any, spec: EvaluationSpec) -> LogisticRegression:
    regression = LogisticRegression(C=spec.baseline_strength, max_iter=MAX_ITERATIONS)
    return regression.fit(features, targets)


def _unit(states: Floats) -> Floats:
    return cast(Floats, states / np.linalg.norm(states, axis=1, keepdims=True))


def _forward(features: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> Forward:
    def forward(ids: Ints, mask: Ints) -> Floats:
        # A first result stands for its run key, so a rounding that differs between machines does no harm here.
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=cpu_has_bf16()):
            return cast(Floats, features(torch.from_numpy(ids), torch.from_numpy(mask)).float().numpy())

    return forward


def _each(
    forward: Forward,
    rows: Sequence[Sequence[int]],
    pick: Callable[[int, Floats], Floats],
    spec: EvaluationSpec,
    threads: int,
    report: Report,
) -> list[Floats]:
    """Return what is picked, by a row's number, of what the frozen encoder makes of it, in the order of the rows."""
    found: list[Floats] = [np.empty(0, np.float32)] * len(rows)
    done = 0
    for batch, outputs in run_batches(forward, rows, batch_size=spec.batch_size, pad_id=0, threads=threads):
        for row, output in zip(batch.tolist(), outputs, strict=True):
            found[row] = pick(row, output)
        done += len(batch)
        report(done)
    return found
