"""Golden requests: held-out rows whose answer the evaluation knows, asked of the servers."""

from __future__ import annotations

import io
import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as parquet

from operators.core.errors import DataError
from operators.core.labels import Task, names_in
from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.training.rows import read_rows

SURE = 0.8
"""Probability from which an answer is no close call: the next best is four times less likely."""
FLIPS = 0.001
"""Part of the answers that the evaluation was sure of that may come out otherwise on another machine."""
WORSE_FLIPS = (0.05, 0.3, 0.9)
GOLDEN_FALSE_ALARM = 0.001
"""Most that a release's golden requests may withdraw of candidates that are what was judged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    """A text and the label that the released model gave it when it was evaluated."""

    text: str
    label: str
    task: Task = "text_classification"
    """What the label is of."""


def golden_requests(store: Store, release: Manifest, count: int) -> list[Golden]:
    """Return up to `count` held-out texts with the labels that the release must give.

    They are rows that the evaluation was sure of, the surest first and what labels name taking turns; the surest alone
    where it was sure of none. A quantised activation's scale depends on what else is in a batch, so a close call may
    differ between evaluation and server without anything being wrong.

    Raises:
        DataError: The evaluation has no prediction for any row of its data set.
    """
    evaluation = store.manifest(_digest(store.manifest(_digest(release, "verdict")), "evaluation"))
    dataset = store.manifest(_digest(evaluation, "dataset"))
    rows = read_rows(store, dataset, "test")
    texts = dict(zip(rows.ids, rows.texts, strict=True))
    predicted = parquet.read_table(io.BytesIO(store.read(evaluation.file("predictions.parquet")))).to_pylist()
    known = sorted((row for row in predicted if row["id"] in texts), key=lambda row: (-row["score"], row["id"]))
    if not known:
        raise DataError("the evaluation of this release holds no prediction on its data set: evaluate it again")
    by_names: dict[frozenset[str], list[dict[str, Any]]] = defaultdict(list)
    for row in [row for row in known if row["score"] >= SURE] or known[:1]:
        by_names[frozenset(names_in(row["predicted"], rows.task))].append(row)
    rank = {row["id"]: index for ranked in by_names.values() for index, row in enumerate(ranked)}
    ordered = sorted(
        (row for ranked in by_names.values() for row in ranked), key=lambda row: (rank[row["id"]], row["id"])
    )
    return [Golden(text=texts[row["id"]], label=row["predicted"], task=rows.task) for row in ordered[:count]]


def _digest(manifest: Manifest, role: str) -> str:
    digest = manifest.input(role).manifest
    if digest is None:
        raise DataError(f"the {role} of this {manifest.stage} is not in the store")
    return digest


def is_another_model(asked: int, otherwise: int, tests: int) -> bool:
    """Say whether a server does not run the model that was judged, by the rows on which it answers otherwise.

    Exact, for any number of rows and at any time: the likelihood of these flips under higher rates over that under
    `FLIPS`, the mean of three, is an e-variable as in `evidence.py`.

    Args:
        asked: Distinct rows asked.
        otherwise: Of these, rows whose answer is not the evaluation's.
        tests: How many such tests the release makes in all.
    """
    logs = [
        otherwise * math.log(rate / FLIPS) + (asked - otherwise) * math.log((1 - rate) / (1 - FLIPS))
        for rate in WORSE_FLIPS
    ]
    peak = max(logs)
    evidence = peak + math.log(sum(math.exp(one - peak) for one in logs) / len(logs))
    return evidence >= math.log(tests / GOLDEN_FALSE_ALARM)
