"""The choice as a page for people: what each candidate costs, which are worth having, and why one was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operators.core.compression.spec import BudgetSpec
from operators.core.pages.document import document, section, share, table, text

WIDTH, HEIGHT, MARGIN = 720, 360, 48
LETTER, LINE = 6.6, 15.0
"""About the width of a letter of a name and the height of its line."""
Figures = Mapping[str, Any]


def render(report: Figures, judged: Sequence[Figures], parent: Figures, spec: BudgetSpec) -> bytes:
    """Return the page, in UTF-8."""
    chosen = next(one for one in judged if one["chosen"])
    told = (
        f"{chosen['name']} was chosen: {chosen['why']}. Latency and memory on one thread of the machine that measured; "
        f"batches of {report['batch']}; energy is estimated from processor time. Score on {report['test_rows']} test "
        f"rows, agreement with the parent on up to {report['rows']} rows."
    )
    return document(
        "Compression",
        f"<h1>Compression</h1><p>{text(told)}</p>"
        + section("Score by latency", _told_of_plot(spec) + plot_svg([parent, *judged], parent["score"], spec))
        + section("Cost", _costs([parent, *judged]))
        + section("Choice", _choice(judged)),
    )


def _told_of_plot(spec: BudgetSpec) -> str:
    drop = f"{100 * spec.max_score_drop:g}"
    return (
        "<p>Filled: no other candidate is as fast, as small and as good (Pareto). Areas are sizes. The dashed line is "
        f"the budget's floor, {drop} points below the parent.</p>"
    )


def _costs(models: Sequence[Figures]) -> str:
    heads = [
        "candidate",
        "score",
        "agrees",
        "p50 ms",
        "p99 ms",
        "batch p50",
        "batch p99",
        "MB",
        "memory MB",
        "J per 1000",
    ]
    rows = [
        [
            one["name"],
            share(one["score"]),
            share(one["agreement"]),
            *(round(float(one[name]), 2) for name in ("p50_ms", "p99_ms", "batch_p50_ms", "batch_p99_ms")),
            *(round(one[name] / 1e6, 1) for name in ("bytes", "memory_bytes")),
            round(float(one["joules_per_1000"]), 1),
        ]
        for one in models
    ]
    return table(heads, rows)


def _choice(judged: Sequence[Figures]) -> str:
    rows = [
        [one["name"], "chosen" if one["chosen"] else "", one["dominated_by"] or "none: Pareto", one["why"]]
        for one in judged
    ]
    return table(["candidate", "", "dominated by", "why"], rows)


def plot_svg(models: Sequence[Figures], parent_score: float, spec: BudgetSpec) -> str:
    """Return score by the median latency of one text: candidates as circles, the parent as a square."""
    slowest = max(float(one["p50_ms"]) for one in models) * 1.08
    floor = parent_score - spec.max_score_drop
    scores: list[float] = [floor, *(one["score"] for one in models)]
    low, high = min(scores), max(scores)
    pad = max(0.15 * (high - low), 0.002)
    largest = max(one["bytes"] for one in models)

    def x(value: float) -> float:
        return MARGIN + value / slowest * (WIDTH - 2 * MARGIN)

    def y(value: float) -> float:
        return HEIGHT - MARGIN - (value - low + pad) / (high - low + 2 * pad) * (HEIGHT - 2 * MARGIN)

    places = [
        _Place(x(one["p50_ms"]), y(one["score"]), 4 + 8 * (one["bytes"] / largest) ** 0.5, _name(one)) for one in models
    ]
    marks = "".join(_mark(one, place) for one, place in zip(models, places, strict=True)) + _names(places)
    ticks = "".join(
        f'<text x="{x(slowest * part):.1f}" y="{HEIGHT - MARGIN + 16}" text-anchor="middle">{slowest * part:.1f}</text>'
        for part in (0, 0.25, 0.5, 0.75, 1)
    )
    ends = "".join(
        f'<text x="{MARGIN - 6}" y="{y(value):.1f}" dy="4" text-anchor="end">{100 * value:.1f}</text>'
        for value in sorted({low, high})
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
        'aria-label="score in percent by milliseconds of one text">'
        f'<rect class="frame" x="{MARGIN}" y="{MARGIN}" width="{WIDTH - 2 * MARGIN}" height="{HEIGHT - 2 * MARGIN}"/>'
        f'<line class="ideal" x1="{MARGIN}" y1="{y(floor):.1f}" x2="{WIDTH - MARGIN}" y2="{y(floor):.1f}"/>'
        f"{marks}{ticks}{ends}"
        f'<text x="{WIDTH / 2:g}" y="{HEIGHT - 8}" text-anchor="middle">ms, one text, median</text>'
        f'<text x="{MARGIN}" y="{MARGIN - 14}">score, %</text></svg>'
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a model's mark stands, its radius, and its name."""

    x: float
    y: float
    radius: float
    name: str


def _name(one: Figures) -> str:
    return f"{one['name']}{' (chosen)' if one.get('chosen') else ''}"


def _mark(one: Figures, at: _Place) -> str:
    if "chosen" not in one:
        corner, side = (at.x - at.radius, at.y - at.radius), 2 * at.radius
        return f'<rect class="open" x="{corner[0]:.1f}" y="{corner[1]:.1f}" width="{side:.1f}" height="{side:.1f}"/>'
    style = "open" if one["dominated_by"] else "dot"
    return f'<circle class="{style}" cx="{at.x:.1f}" cy="{at.y:.1f}" r="{at.radius:.1f}"/>'


def _names(places: Sequence[_Place]) -> str:
    """Return the models' names beside their marks, or below where another name stands, with a line to the mark."""
    taken: list[tuple[float, float, float]] = []
    shown = []
    for at in sorted(places, key=lambda one: (one.y, one.x)):
        length = LETTER * len(at.name)
        is_right = at.x + at.radius + length > WIDTH
        left = at.x - at.radius - 4 - length if is_right else at.x + at.radius + 4
        line = at.y
        while any(abs(line - row) < LINE and left < end and start < left + length for start, end, row in taken):
            line += LINE
        taken.append((left, left + length, line))
        if line != at.y:
            shown.append(f'<line class="frame" x1="{at.x:.1f}" y1="{at.y:.1f}" x2="{left:.1f}" y2="{line:.1f}"/>')
        shown.append(f'<text x="{left:.1f}" y="{line:.1f}" dy="4">{text(at.name)}</text>')
    return "".join(shown)
