"""Small plots as SVG inside a page: drawn by hand, for their colours follow the page's, light or dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SIDE, MARGIN = 260, 34
BAR_WIDTH, BAR_HEIGHT = 160, 12


def reliability_svg(bins: Sequence[Mapping[str, Any]]) -> str:
    """Return the share of right answers by score, each with its range; on the diagonal a score means what it says."""
    most = max(one["rows"] for one in bins)
    dots = "".join(_dot(one, 2.5 + 4 * (one["rows"] / most) ** 0.5) for one in bins)
    ticks = "".join(
        f'<text x="{_x(tick)}" y="{SIDE - MARGIN + 15}" text-anchor="middle">{tick:g}</text>'
        f'<text x="{MARGIN - 6}" y="{_y(tick)}" dy="4" text-anchor="end">{tick:g}</text>'
        for tick in (0, 0.5, 1)
    )
    return (
        f'<svg class="reliability" viewBox="0 0 {SIDE} {SIDE}" width="{SIDE}" height="{SIDE}" role="img" '
        'aria-label="share of right answers by score">'
        f'<rect class="frame" x="{_x(0)}" y="{_y(1)}" width="{SIDE - 2 * MARGIN}" height="{SIDE - 2 * MARGIN}"/>'
        f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>{dots}{ticks}'
        f'<text x="{SIDE / 2:g}" y="{SIDE - 4}" text-anchor="middle">score</text>'
        f'<text x="{MARGIN}" y="{MARGIN - 10}">share right</text></svg>'
    )


def _dot(one: Mapping[str, Any], radius: float) -> str:
    x = _x(one["score"])
    return (
        f'<line class="range" x1="{x}" y1="{_y(one["low"])}" x2="{x}" y2="{_y(one["high"])}"/>'
        f'<circle class="dot" cx="{x}" cy="{_y(one["right"])}" r="{radius:.1f}"/>'
    )


def interval_svg(score: float, low: float, high: float) -> str:
    """Return a score between 0 and 1 as a dot on its range."""
    middle = BAR_HEIGHT / 2
    left, at, right = (f"{4 + one * (BAR_WIDTH - 8):.1f}" for one in (low, score, high))
    return (
        f'<svg viewBox="0 0 {BAR_WIDTH} {BAR_HEIGHT}" width="{BAR_WIDTH}" height="{BAR_HEIGHT}" aria-hidden="true">'
        f'<line class="frame" x1="4" y1="{middle:g}" x2="{BAR_WIDTH - 4}" y2="{middle:g}"/>'
        f'<line class="range" x1="{left}" y1="{middle:g}" x2="{right}" y2="{middle:g}"/>'
        f'<circle class="dot" cx="{at}" cy="{middle:g}" r="3.5"/></svg>'
    )


def _x(value: float) -> str:
    return f"{MARGIN + value * (SIDE - 2 * MARGIN):.1f}"


def _y(value: float) -> str:
    return f"{SIDE - MARGIN - value * (SIDE - 2 * MARGIN):.1f}"
