"""The summary for people: half a minute's reading."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

Summary = Mapping[str, Any]


def report(console: Console, summary: Summary, password: str) -> None:
    """Print a summary; parts that the run did not reach are left out."""
    for title, text in _sections(summary):
        console.print(f"[bold]{title:<13}[/bold]{text}", highlight=False, soft_wrap=True)
    ui = summary["ui"]
    login = f"{ui['url']}  user {ui['user']}  password {password}"
    for title, text in (("UI", login), ("the morning", f"{ui['url']}/nightshift/")):
        console.print(f"[bold]{title:<13}[/bold]{text}", highlight=False, soft_wrap=True)


def _sections(summary: Summary) -> list[tuple[str, str]]:
    makers = {
        "rows": _rows, "dataset": _dataset, "drift": _drift, "training": _training, "evaluation": _evaluation,
        "candidates": _candidates, "release": _release, "deployment": _deployment, "predictions": _predictions,
        "backup": _backup, "seconds": _seconds,
    }  # fmt: skip
    lines: list[tuple[str, str]] = []
    for name, make in makers.items():
        if summary.get(name):
            first, *rest = make(summary)
            lines += [(name, first), *(("", line) for line in rest)]
    return lines


def _rows(summary: Summary) -> list[str]:
    rows = summary["rows"]
    reasons = rows["quarantined"]
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())) or "none"
    quarantined = f"{sum(reasons.values())} quarantined ({listed})"
    duplicates = f"{rows['duplicates']} duplicate ({rows['near_duplicates']} nearly)"
    return [f"{rows['in']} in = {rows['kept']} kept + {duplicates} + {quarantined}"]


def _dataset(summary: Summary) -> list[str]:
    data = summary["dataset"]
    splits = ", ".join(f"{count} {name}" for name, count in data["splits"].items())
    return [
        f"{splits}; {data['shards']} shards, {_size(data['bytes'])}, {data['copies']} copies; {data['manifest'][:12]}"
    ]


def _drift(summary: Summary) -> list[str]:
    facts = summary["drift"]
    if facts["comparison"] != "live_data":
        return [f"not judged: {facts['comparison'].replace('_', ' ')}"]
    drifted = facts["drifted"] or "none"
    return [f"{drifted}; {facts['rows']} new rows against {facts['accepted_rows']} of the live release"]


def _training(summary: Summary) -> list[str]:
    facts = summary["training"]
    how = f"{facts['epochs']} epochs on {facts['world_size']} ranks in {facts['precision']}"
    speed = f", {facts['examples_per_second']:.0f} examples/s" if facts["examples_per_second"] else ""
    lines = [f"{how}{speed}, loss {facts['final_loss']:.3f}"]
    if facts.get("spent"):
        lines.append(_spent(facts))
    if facts.get("score") is not None:
        lines.append(
            f"{_measure(facts)} {facts['score']:.4f}, macro F1 {facts['macro_f1']:.4f}; "
            f"baseline (probe on the frozen encoder, same rows) {facts['baseline_score']:.4f}"
        )
    if facts.get("perplexity") is not None:
        lines.append(
            f"perplexity {facts['perplexity']:.2f}; base model (same tokens) {facts['baseline_perplexity']:.2f}"
        )
    return lines


def _evaluation(summary: Summary) -> list[str]:
    facts = summary["evaluation"]
    told = {
        "calibration error {:.3f}": facts["calibration_error"],
        "{:.1%} of answers stay when texts are written carelessly": facts["stays"],
        "AUROC {:.3f} against texts from outside": facts["outside_auroc"],
    }
    figures = "; ".join(words.format(value) for words, value in told.items() if value is not None)
    lines = [figures] if figures else []
    if found := facts["forgetting"]:
        lines.append(f"{found['rows']} test rows of {found['day']}: {found['then']:.4f} then, {found['now']:.4f} now")
    return [*lines, facts["page"]]


def _spent(facts: Mapping[str, Any]) -> str:
    spent, joules = facts["spent"], facts["joules"]
    seconds = {
        "useful": spent["useful"],
        "repeated": spent["repeated"],
        "waiting": sum(spent["waiting"].values()),
        "idle": sum(spent["idle"].values()),
    }
    shares = ", ".join(f"{value:.1f} {kind}" for kind, value in seconds.items())
    share = facts["flops_utilisation"]
    used = f"; {share:.1%} of the device's measured peak" if share else ""
    return f"seconds: {shares}{used}" + (f"; {joules / 1000:.1f} kJ ({facts['energy']})" if joules else "")


def _measure(figures: Mapping[str, Any]) -> str:
    return str(figures["measure"]).replace("_", " ")


def _candidates(summary: Summary) -> list[str]:
    width = max(12, *(len(one["name"]) for one in summary["candidates"]))
    lines = [
        f"{'*' if one['chosen'] else ' '} {one['name']:<{width}} {_size(one['bytes']):>8}  "
        f"p50 {one['p50_ms']:6.1f} ms  {_measure(one)} {one['score']:.4f}  {one['why']}"
        for one in summary["candidates"]
    ]
    return [*lines, summary["compression"]["page"]]


def _release(summary: Summary) -> list[str]:
    return [f"{summary['release']['version']} live at {summary['release']['url']}"]


def _deployment(summary: Summary) -> list[str]:
    facts = summary["deployment"]
    return [
        f"{facts['version']} {facts['action'].replace('_', ' ')}" + (f": {facts['reason']}" if facts["reason"] else "")
    ]


def _predictions(summary: Summary) -> list[str]:
    return [
        f"{one['label']:<5} {one['score']:.3f} by {one['version']}: {one['text'].splitlines()[0][:60]}"
        for one in summary["predictions"]
    ]


def _backup(summary: Summary) -> list[str]:
    backup = summary["backup"]
    state = "read back and verified" if backup["verified"] else "NOT VERIFIED"
    sizes = (
        f"; {_size(backup['bytes'])}, of which new {_size(backup['copied_bytes'])}" if "copied_bytes" in backup else ""
    )
    return [f"{backup['manifest'][:12]}, {state}{sizes}"]


def _seconds(summary: Summary) -> list[str]:
    cached = set(summary["cached"])
    parts = [
        f"{task} {seconds:.1f}{' (found)' if task in cached else ''}" for task, seconds in summary["seconds"].items()
    ]
    return [", ".join(parts)]


def _size(count: float) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
