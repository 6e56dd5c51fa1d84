"""Stage `evaluate_language`: how well a causal language model tells the test rows' tokens, beside its base model."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.evaluation.page import document, section, table, tiles
from operators.core.evaluation.spec import EvaluationSpec
from operators.core.manifest import Made, Manifest, StageCall, canonical
from operators.core.progress import Progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store
from operators.core.training.rows import read_rows

REVISION = 1
SAMPLES = 2000
"""Samples of the rows, drawn with replacement, that the range of a difference is read from."""
Floats = npt.NDArray[np.float64]


def evaluate_language(
    store: Store,
    spec: EvaluationSpec,
    *,
    model: str,
    dataset: str,
    base_model: str,
    threads: int,
    progress: Progress,
) -> Result:
    """Return the evaluation of a causal language model on the `test` split of a data set: perplexity beside its base's.

    Args:
        store: Holds inputs and result.
        spec: Batch size.
        model: Digest of a fine-tuned model's manifest.
        dataset: Digest of a data set's manifest.
        base_model: Digest of the adopted base model that it was made from.
        threads: Of each batch.
        progress: Told about rows.
    """
    # Both are asked for the tokens that the training asked for.
    asked = {name: store.manifest(model).facts[name] for name in ("max_length", "answers_after")}
    measured, baseline = (
        _measure(store, spec, model=one, dataset=dataset, asked=asked, threads=threads, progress=progress)
        for one in (model, base_model)
    )
    inputs = {"model": model, "dataset": dataset, "measured": measured.digest, "baseline": baseline.digest}
    call = StageCall(
        stage="evaluate_language",
        revision=REVISION,
        inputs=tuple(store.as_input(role, digest) for role, digest in inputs.items()),
    )

    def make() -> Made:
        report = _compare(_losses(store, measured.manifest), _losses(store, baseline.manifest))
        files = (store.put_bytes("report.json", canonical(report)), store.put_bytes("report.html", _page(report)))
        low, high = report["gain_range"]
        facts = {name: value for name, value in report.items() if isinstance(value, str | int | float)}
        return Made(files=files, facts={**facts, "gain_low": low, "gain_high": high})

    return store.once(call, make)


def _measure(
    store: Store,
    spec: EvaluationSpec,
    *,
    model: str,
    dataset: str,
    asked: dict[str, Any],
    threads: int,
    progress: Progress,
) -> Result:
    """Return a stage's result whose file holds what a model loses on each test row, and how many tokens that is of."""
    call = StageCall(
        stage="measure_language",
        revision=REVISION,
        inputs=(store.as_input("model", model), store.as_input("dataset", dataset)),
        spec={**asked, "batch_size": spec.batch_size},
    )

    def make() -> Made:
        # Here, not at the top: a result that is found needs no torch.
        from operators.core.evaluation.token_losses import token_losses

        rows = read_rows(store, store.manifest(dataset), "test")
        with scratch_folder() as folder:
            store.fetch_all(store.manifest(model), folder)
            told = token_losses(
                folder,
                rows.texts,
                **asked,
                batch_size=spec.batch_size,
                threads=threads,
                report=lambda done: progress(done, len(rows.texts), "test rows"),
            )
        columns = {"id": pa.array(rows.ids, pa.string()), "loss": told.losses, "tokens": told.counts}
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer, compression="zstd")
        files = (store.put_bytes("losses.parquet", buffer.getvalue(), rows=len(rows.ids)),)
        return Made(files=files, facts={"loss": told.mean, "tokens": int(told.counts.sum())})

    return store.once(call, make)


def _losses(store: Store, measured: Manifest) -> tuple[Floats, Floats]:
    """Return of each row the sum of its tokens' losses, and how many these are."""
    data = pq.read_table(io.BytesIO(store.read(measured.file("losses.parquet"))), columns=["loss", "tokens"])
    loss, tokens = (column.to_numpy().astype(np.float64) for column in data.columns)
    return loss, tokens


def _compare(model: tuple[Floats, Floats], base: tuple[Floats, Floats]) -> dict[str, Any]:
    (own, tokens), (theirs, _) = model, base
    loss, before = (float(one.sum() / tokens.sum()) for one in (own, theirs))
    low, high = gain_range(theirs - own, tokens)
    return {
        "measure": "perplexity",
        "perplexity": math.exp(loss),
        "baseline_perplexity": math.exp(before),
        "loss": loss,
        "baseline_loss": before,
        "gain": before - loss,
        "gain_range": [low, high],
        "rows": len(tokens),
        "tokens": int(tokens.sum()),
        "better_rows": int((own < theirs).sum()),
    }


def gain_range(gains: Floats, tokens: Floats) -> tuple[float, float]:
    """Return the range that holds the true gain of a token's loss in 95 of 100 samples of the rows.

    Args:
        gains: What each row's loss is lower by, shape (rows,).
        tokens: Of each row.

    Source: the paired bootstrap over rows, whose tokens hang together; Koehn, EMNLP 2004.
    """
    draw = np.random.default_rng(0)
    found = np.empty(SAMPLES)
    for sample in range(SAMPLES):
        rows = draw.integers(len(gains), size=len(gains))
        found[sample] = gains[rows].sum() / max(1.0, tokens[rows].sum())
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def _page(report: dict[str, Any]) -> bytes:
    low, high = report["gain_range"]
    figures = [
        ("perplexity", f"{report['perplexity']:.2f}", "lower is better"),
        ("base model", f"{report['baseline_perplexity']:.2f}", "on the same tokens"),
        ("gain", f"{report['gain']:.4f}", f"of a token's loss; {low:.4f} to {high:.4f}"),
    ]
    told = f"{report['rows']} test rows, {report['tokens']} tokens asked for. "
    told += "The range holds the true gain in 95 of 100 samples of as many rows."
    rows = [["model", f"{report['loss']:.4f}"], ["base model", f"{report['baseline_loss']:.4f}"]]
    rows.append(["rows told better than by the base model", f"{report['better_rows']} of {report['rows']}"])
    return document(tiles("Evaluation", told, figures) + section("Mean loss of a token", table(["", ""], rows)))
