"""The summary is read from manifests: what they say, and no more."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from operators.core.manifest import Made, StageCall
from operators.core.storage import Store
from operators.local.report import report
from operators.local.summary import RunFacts, evaluation_page, summarise

ROWS = {"in": 10, "kept": 7, "duplicates": 2, "near_duplicates": 1, "quarantined": {"empty_text": 1}}
CANDIDATE = {
    "name": "int8",
    "bytes": 22_000_000,
    "p50_ms": 15.7,
    "measure": "accuracy",
    "score": 0.98,
    "accuracy": 0.98,
    "chosen": True,
    "why": "the fastest",
}
FILES = {
    "publish_dataset": ("train/00000.parquet", b"rows"),
    "evaluate": ("report.html", b"the page of the parent"),
    "evaluate_compressed": ("report.html", b"the page"),
}
FACTS: dict[str, dict[str, Any]] = {
    "check_drift": {
        "comparison": "live_data",
        "rows": 9,
        "accepted_rows": 90,
        "level": "warn",
        "drifted": "labels by 0.31",
    },
    "publish_dataset": {"rows": ROWS, "splits": {"train": 6, "test": 1}, "labels": ["ham", "spam"]},
    "fine_tune": {"world_size": 2, "epochs": 2, "steps": 8, "final_loss": 0.1, "precision": "bf16"},
    "evaluate": {
        "measure": "accuracy",
        "score": 0.98,
        "accuracy": 0.98,
        "macro_f1": 0.97,
        "baseline_score": 0.95,
        "baseline_accuracy": 0.95,
        "baseline_macro_f1": 0.93,
    },
    "evaluate_compressed": {
        "score": 0.975,
        "accuracy": 0.975,
        "calibration_error": 0.02,
        "stays": 0.953,
        "outside_auroc": None,
    },
    "gate": {"forgetting": {"day": "2002-09-20", "rows": 100, "then": 0.99, "now": 0.98}},
    "compress": {"chosen": "int8", "candidates": [CANDIDATE]},
    "deploy": {"version": "2002-09-26-abcdef12", "recipe": "mail_triage", "day": "2002-09-26"},
    "back_up": {"verified": True},
}


SPENT = {
    "useful": 80.0,
    "repeated": 1.5,
    "waiting": {"data": 1.0, "saves": 0.5, "others": 0.5},
    "idle": {"starting": 10.0, "finishing": 1.0, "between": 4.0},
}
COST = {"spent": SPENT, "joules": 2000.0, "energy": "estimated", "flops_utilisation": 0.25, "tokens_per_second": 900.0}


def made_run(
    store: Store, tasks: list[str], outcome: str = "made", facts: dict[str, dict[str, Any]] = FACTS
) -> RunFacts:
    """Commit a manifest a task, with an account, and return the run that made them."""
    digests = {}
    for task in tasks:
        call = StageCall(stage=task, revision=1)
        files = (store.put_bytes(*FILES[task], rows=6),) if task in FILES else ()
        result = store.once(call, lambda task=task, files=files: Made(files=files, facts=facts[task]))
        account = {"run_id": "r1", "task_id": task, "outcome": outcome, "examples_per_second": 40.0, **COST}
        store.add_account(call.run_key, f"{task}.0.r1.1", account)
        digests[task] = [result.digest]
    return RunFacts(
        dag_id="retrain_mail_triage", run_id="r1", day="2002-09-26", logical_date=None, state="success",
        seconds=dict.fromkeys(tasks, 1.25), digests=digests,
    )  # fmt: skip


def test_a_whole_run_has_every_key_that_is_fixed_by_name(store: Store):
    """The keys of DESIGN 8 are there, with what the manifests say."""
    summary = summarise(store, made_run(store, list(FACTS)), model_url="http://x/v2/models/mail_triage")

    assert summary["rows"] == ROWS
    assert tuple(summary["dataset"][name] for name in ("shards", "bytes", "copies")) == (1, 4, 3)
    training = summary["training"]
    assert tuple(
        training[name] for name in ("world_size", "epochs", "examples_per_second", "accuracy", "baseline_accuracy")
    ) == (2, 2, 40.0, 0.98, 0.95)
    assert {name: training[name] for name in COST} == COST
    assert summary["candidates"] == [CANDIDATE]
    assert summary["release"]["version"] == "2002-09-26-abcdef12"
    assert summary["backup"]["verified"] is True
    assert summary["cached"] == []


def test_what_was_found_is_listed_as_cached(store: Store):
    """A task counts as cached when this run found all its results."""
    run = made_run(store, ["publish_dataset", "fine_tune"], outcome="found")

    assert summarise(store, run, model_url="")["cached"] == ["publish_dataset", "fine_tune"]


def test_a_run_that_failed_early_has_a_summary_of_what_it_reached(store: Store):
    """Parts that were not reached are None or empty, never made up."""
    summary = summarise(store, made_run(store, ["publish_dataset"]), model_url="")

    assert summary["rows"] == ROWS
    assert tuple(summary[name] for name in ("training", "candidates", "release", "backup")) == (None, [], None, None)


def test_the_page_is_of_the_model_that_was_to_go_live(store: Store):
    """Of the compressed one; of its parent where the run ended before; else there is none."""
    reached = (list(FACTS), ["publish_dataset", "evaluate"], ["publish_dataset"])

    assert [evaluation_page(store, made_run(store, tasks)) for tasks in reached] == [
        "the page", "the page of the parent", None,
    ]  # fmt: skip


def test_rows_of_the_printed_summary_add_up(store: Store):
    """A person reads: rows in = kept + duplicate + quarantined, by reason."""
    summary = summarise(store, made_run(store, list(FACTS)), model_url="http://x")
    prediction = {"text": "Subject\nbody", "label": "ham", "score": 0.99, "version": "v"}
    out = io.StringIO()
    whole = {
        **summary,
        "predictions": [prediction],
        "ui": {"url": "http://ui", "user": "admin"},
        "evaluation": {**summary["evaluation"], "page": "/p.html"},
    }
    report(Console(file=out, width=200), whole, "secret")

    assert "10 in = 7 kept + 2 duplicate (1 nearly) + 1 quarantined (1 empty_text)" in out.getvalue()
    assert "accuracy 0.9800, macro F1 0.9700; baseline (probe on the frozen encoder, same rows) 0.95" in out.getvalue()
    assert "calibration error 0.020; 95.3% of answers stay when texts are written carelessly\n" in out.getvalue()
    assert "100 test rows of 2002-09-20: 0.9900 then, 0.9800 now\n" in out.getvalue()
    assert "/p.html\n" in out.getvalue()
    assert "http://ui  user admin  password secret" in out.getvalue()


def test_the_printed_summary_says_where_the_seconds_of_training_went(store: Store):
    """Useful, repeated, waiting and idle in one line, and that the energy is no measurement."""
    summary = summarise(store, made_run(store, ["fine_tune"]), model_url="")
    out = io.StringIO()
    report(Console(file=out, width=200), {**summary, "ui": {"url": "http://ui", "user": "admin"}}, "secret")

    assert "80.0 useful, 1.5 repeated, 2.0 waiting, 15.0 idle; 25.0% of the device's measured peak" in out.getvalue()
    assert "2.0 kJ (estimated)" in out.getvalue()


def test_why_a_release_came_back_is_told(store: Store):
    """A run whose deployment withdrew the candidate says so, with the reason."""
    run = made_run(store, ["gate", "deploy"])
    facts = {"action": "withdrawn", "version": "v2", "reason": "it fails on 9 of 300", "at": "now"}
    step = store.once(StageCall(stage="deploy_step", revision=1), lambda: Made(facts=facts))
    store.stream("deploy-mail_triage").append(step.digest, None)

    assert summarise(store, run, model_url="")["deployment"] == facts


def test_a_causal_language_model_s_run_is_told_to_its_end(store: Store):
    """Its perplexity beside its base model's, and the page; what other recipes go on with is not there."""
    told = {"measure": "perplexity", "perplexity": 62.35, "baseline_perplexity": 99.49, "rows": 300}
    run = made_run(store, ["publish_dataset", "fine_tune", "evaluate"], facts=FACTS | {"evaluate": told})
    summary = summarise(store, run, model_url="")
    summary |= {"ui": {"url": "http://ui", "user": "admin"}, "evaluation": {**summary["evaluation"], "page": "/p.html"}}
    out = io.StringIO()
    report(Console(file=out, width=200), summary, "secret")
    words = " ".join(out.getvalue().split())

    assert "perplexity 62.35; base model (same tokens) 99.49 evaluation /p.html" in words
    assert evaluation_page(store, run) == "the page of the parent"
