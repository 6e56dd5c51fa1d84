"""Golden requests: held-out rows whose answer the evaluation knows, asked of the servers."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as parquet

from operators.core.errors import DataError
from operators.core.labels import names_in
from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.training.rows import read_rows

SURE = 0.8
"""Probability from which an answer is no close call: the next best is four times less likely."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    """A text and the label that the released model gave it when it was evaluated."""

    text: str
    label: str


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
    return [Golden(text=texts[row["id"]], label=row["predicted"]) for row in ordered[:count]]


def _digest(manifest: Manifest, role: str) -> str:
    digest = manifest.input(role).manifest
    if digest is None:
        raise DataError(f"the {role} of this {manifest.stage} is not in the store")
    return digest
