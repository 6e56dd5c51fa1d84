"""What a run came to, read back from the store's manifests: the document that becomes `var/summary.json`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from operators.core.manifest import Manifest
from operators.core.overview.night import outcome_of
from operators.core.storage import Store

COST = ("examples_per_second", "tokens_per_second", "flops_utilisation", "spent", "joules", "energy")
"""Of a training, from its account."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFacts:
    """What Airflow knows of a run."""

    dag_id: str
    run_id: str
    day: str | None
    logical_date: str | None
    state: str
    seconds: Mapping[str, float]
    """By task, of those that ran."""
    digests: Mapping[str, list[str]] = field(default_factory=dict)
    """By task: the manifests that it returned; a task that did not get so far is missing."""


def summarise(store: Store, run: RunFacts, *, model_url: str) -> dict[str, Any]:
    """Return the summary of a run, but for predictions and the UI's address; parts not reached are None or empty."""
    manifests = {task: [store.manifest(digest) for digest in found] for task, found in run.digests.items()}
    dataset, model = _one(manifests, "publish_dataset"), _one(manifests, "fine_tune")
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "day": run.day,
        "logical_date": run.logical_date,
        "state": run.state,
        "seconds": {task: round(seconds, 1) for task, seconds in run.seconds.items()},
        "cached": [task for task, found in manifests.items() if _was_found(store, run.run_id, task, found)],
        "rows": dict(dataset.facts["rows"]) if dataset else None,
        "dataset": _dataset(store, dataset),
        "drift": dict(drift.facts) if (drift := _one(manifests, "check_drift")) else None,
        "training": _training(store, model, _one(manifests, "evaluate"), _one(manifests, "evaluate_compressed")),
        "evaluation": _evaluation(manifests),
        "candidates": list(chosen.facts["candidates"]) if (chosen := _one(manifests, "compress")) else [],
        "release": _release(_one(manifests, "deploy"), model_url),
        "deployment": _deployment(store, run),
        "backup": _backup(_one(manifests, "back_up")),
    }


def evaluation_page(store: Store, run: RunFacts) -> str | None:
    """Return the page on the model that was to go live, or on its parent where the run came only so far."""
    for task in ("evaluate_compressed", "evaluate"):
        for digest in run.digests.get(task, ()):
            return store.read(store.manifest(digest).file("report.html")).decode()
    return None


def _one(manifests: Mapping[str, list[Manifest]], task: str) -> Manifest | None:
    return manifests[task][0] if manifests.get(task) else None


def _was_found(store: Store, run_id: str, task: str, manifests: Iterable[Manifest]) -> bool:
    """Say whether every result of a task was there before this run's first look at it."""
    accounts = [account for manifest in manifests for account in store.accounts(manifest.run_key)]
    return outcome_of(accounts, run_id, task) == "found"


def _dataset(store: Store, manifest: Manifest | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    return {
        "manifest": manifest.digest,
        "shards": len(manifest.files),
        "bytes": sum(entry.bytes for entry in manifest.files),
        "copies": min((store.copies(entry) for entry in manifest.files), default=0),
        "splits": dict(manifest.facts["splits"]),
    }


def _training(
    store: Store, model: Manifest | None, proof: Manifest | None, compressed: Manifest | None
) -> dict[str, Any] | None:
    if model is None:
        return None
    figures = {
        "manifest": model.digest,
        **{name: model.facts.get(name) for name in ("world_size", "epochs", "steps", "final_loss", "precision")},
        **_cost(store, model),
    }
    if proof is not None:
        of_text = ("accuracy", "macro_f1", "baseline_accuracy", "baseline_macro_f1")
        of_tokens = ("perplexity", "baseline_perplexity")
        for name in ("measure", "score", "baseline_score", *of_text, *of_tokens):
            figures[name] = proof.facts.get(name)
    if compressed is not None:
        figures["compressed_accuracy"] = compressed.facts.get("accuracy")
        figures["compressed_score"] = compressed.facts.get("score")
    return figures


def _cost(store: Store, model: Manifest) -> dict[str, Any]:
    """Return what the try that trained the model noted of speed, seconds and energy, in whichever run that was."""
    tries = [account for account in store.accounts(model.run_key) if account.get("examples_per_second")]
    return {name: tries[-1].get(name) if tries else None for name in COST}


def _evaluation(manifests: Mapping[str, list[Manifest]]) -> dict[str, Any] | None:
    """Return what is told of the model that was to go live beside its score."""
    proof, verdict = _one(manifests, "evaluate_compressed") or _one(manifests, "evaluate"), _one(manifests, "gate")
    if proof is None:
        return None
    figures = {name: proof.facts.get(name) for name in ("calibration_error", "stays", "outside_auroc")}
    return {**figures, "forgetting": verdict.facts.get("forgetting") if verdict else None}


def _release(manifest: Manifest | None, model_url: str) -> dict[str, Any] | None:
    if manifest is None:
        return None
    return {"manifest": manifest.digest, "version": manifest.facts["version"], "url": model_url}


def _deployment(store: Store, run: RunFacts) -> dict[str, Any] | None:
    """Return the newest step of the recipe's releases, with why it came back if it did; None without a `deploy`."""
    head = store.stream(f"deploy-{run.dag_id.removeprefix('retrain_')}").head() if "deploy" in run.seconds else None
    if head is None:
        return None
    facts = store.manifest(head.manifest).facts
    return {name: facts.get(name) for name in ("action", "version", "reason", "at")}


def _backup(manifest: Manifest | None) -> dict[str, Any] | None:
    if manifest is None:
        return None
    return {"manifest": manifest.digest, "verified": bool(manifest.facts.get("verified")), **_counts(manifest)}


def _counts(manifest: Manifest) -> dict[str, Any]:
    names = ("manifests", "objects", "bytes", "copied_objects", "copied_bytes")
    return {name: manifest.facts[name] for name in names if name in manifest.facts}
