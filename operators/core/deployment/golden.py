"""Golden requests: held-out rows whose answer the evaluation knows, asked of the servers."""

from __future__ import annotations

import io
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as parquet

from operators.core.errors import DataError
from operators.core.manifest import Manifest
from operators.core.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    """A text and the label that the released model gave it when it was evaluated."""

    text: str
    label: str


def golden_requests(store: Store, release: Manifest, rows: int) -> list[Golden]:
    """Return up to `rows` held-out texts with the labels that the release must give.

    They are the rows the evaluation was surest of, the labels taking turns: a quantised activation's scale depends on
    what else is in a batch, so a close call may differ between evaluation and server without anything being wrong.

    Raises:
        DataError: The evaluation has no prediction for any row of its data set.
    """
    evaluation = store.manifest(_digest(store.manifest(_digest(release, "verdict")), "evaluation"))
    dataset = store.manifest(_digest(evaluation, "dataset"))
    texts: dict[str, str] = {}
    for entry in dataset.files:
        if entry.name.startswith("test/"):
            table = parquet.read_table(io.BytesIO(store.read(entry)), columns=["id", "text"])
            texts |= dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    predicted = parquet.read_table(io.BytesIO(store.read(evaluation.file("predictions.parquet")))).to_pylist()
    by_label: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(predicted, key=lambda row: (-row["score"], row["id"])):
        if row["id"] in texts:
            by_label[row["predicted"]].append(row)
    if not by_label:
        raise DataError("the evaluation of this release holds no prediction on its data set: evaluate it again")
    rank = {row["id"]: index for ranked in by_label.values() for index, row in enumerate(ranked)}
    ordered = sorted(
        (row for ranked in by_label.values() for row in ranked), key=lambda row: (rank[row["id"]], row["id"])
    )
    return [Golden(text=texts[row["id"]], label=row["predicted"]) for row in ordered[:rows]]


def _digest(manifest: Manifest, role: str) -> str:
    digest = manifest.input(role).manifest
    if digest is None:
        raise DataError(f"the {role} of this {manifest.stage} is not in the store")
    return digest
