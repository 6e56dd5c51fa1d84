"""Drift: whether new rows come from where the accepted ones came from, judged on profiles.

Each finding has a size and a chance. The size decides the level, for with enough rows any difference is significant;
the chance (how often two samples of one source differ by as much) keeps small samples from crying wolf.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, chi2_contingency, kstwobign

from operators.core.profiling.profile import WORD_BUCKETS, Profile
from operators.core.validation.spec import DriftSpec, Levels

Level = Literal["none", "warn", "block"]
Table = npt.NDArray[np.float64]
RARE = 5
"""Rows, of both sides, below which a word's bucket is not judged by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """How far one measure of the new rows is from the accepted ones."""

    measure: str
    """`labels`, `repeated`, `vocabulary`, or one of `profile.MEASURES`."""
    size: float
    """0 to 1: Cramer's V of labels and repeated rows, Kolmogorov-Smirnov distance of numbers, Jensen-Shannon distance
    of vocabularies."""
    chance: float
    """0 to 1: how probable a difference of this size is where nothing changed."""
    level: Level

    def document(self) -> dict[str, Any]:
        """Return it as plain JSON, rounded to what it can tell."""
        return {**asdict(self), "size": round(self.size, 4), "chance": float(f"{self.chance:.2g}")}


def compare(new: Profile, accepted: Profile, spec: DriftSpec) -> list[Finding]:
    """Return a finding for every measure, none at all where a side has too few rows to tell."""
    if min(new.rows, accepted.rows) < spec.min_rows:
        return []
    pairs = {"labels": (new.labels, accepted.labels), "repeated": (_twins(new), _twins(accepted))}
    found = [_finding(name, *_categories(*pair), spec.labels, spec) for name, pair in pairs.items()]
    found += [
        _finding(name, *_distance(bins, accepted.measures[name]), spec.numbers, spec)
        for name, bins in new.measures.items()
    ]
    return [*found, _finding("vocabulary", *_vocabulary(new, accepted), spec.vocabulary, spec)]


def _finding(measure: str, size: float, chance: float, levels: Levels, spec: DriftSpec) -> Finding:
    level: Level = "none"
    if chance < spec.max_chance:
        level = "block" if size >= levels.block else "warn" if size >= levels.warn else "none"
    return Finding(measure=measure, size=size, chance=chance, level=level)


def _twins(profile: Profile) -> Counter[str]:
    return Counter({"repeated": profile.repeated, "new": profile.rows - profile.repeated})


def _categories(new: Mapping[str, int], accepted: Mapping[str, int]) -> tuple[float, float]:
    """Return Cramer's V and the chance by the chi-square test; both sides have rows."""
    table = np.array([[side.get(name, 0) for name in sorted({*new, *accepted})] for side in (new, accepted)], float)
    # Where less than one row is expected the test does not hold: rare classes are one.
    expected = table.sum(axis=1).min() / table.sum() * table.sum(axis=0)
    table = _lumped(table, expected < 1)
    if table.shape[1] < 2:
        return 0.0, 1.0
    tested = chi2_contingency(table, correction=False)
    # What chance gives on average is taken off: with many classes it is much. What is left is divided by the number of
    # rows that counts for two sides of unlike size: so a class that one side has alone is 1, however small that side.
    excess = max(0.0, float(tested.statistic) - tested.dof)
    effective = 4 * float(table[0].sum() * table[1].sum() / table.sum())
    return min(1.0, math.sqrt(excess / effective)), float(tested.pvalue)


def _distance(new: Mapping[int, int], accepted: Mapping[int, int]) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance over the bins, and its chance by the asymptotic distribution.

    Binning can only make the distance smaller, and the chance larger.
    """
    bins = sorted({*new, *accepted})
    sides = [np.cumsum([side.get(key, 0) for key in bins], dtype=float) for side in (new, accepted)]
    size = float(np.abs(sides[0] / sides[0][-1] - sides[1] / sides[1][-1]).max())
    effective = sides[0][-1] * sides[1][-1] / (sides[0][-1] + sides[1][-1])
    return size, float(kstwobign.sf(size * math.sqrt(effective)))


def _vocabulary(new: Profile, accepted: Profile) -> tuple[float, float]:
    """Return the Jensen-Shannon distance of the words, and its chance.

    Samples of one source differ by chance, the more the smaller they are: what chance gives on average is taken off.
    """
    counts = np.array([[side.words.get(key, 0) for key in range(WORD_BUCKETS)] for side in (new, accepted)], float)
    # Where few are counted the chi-square distribution does not hold: rare words are one bucket.
    counts = _lumped(counts, counts.sum(axis=0) < RARE)
    totals = counts.sum(axis=1, keepdims=True)
    if not totals.all():
        return (0.0, 1.0) if not totals.any() else (1.0, 0.0)
    shares = counts / totals
    weights = totals / totals.sum()
    middle = (weights * shares).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(shares > 0, shares * np.log2(shares / middle), 0.0)
    divergence = float((weights * terms).sum())
    freedom = counts.shape[1] - 1
    # 2 n ln(2) times this weighted divergence is the likelihood-ratio statistic, chi-square distributed.
    statistic = 2 * math.log(2) * float(totals.sum()) * divergence
    excess = max(0.0, statistic - freedom) / (2 * math.log(2) * float(totals.sum()))
    # Weighted by the sides' sizes it reaches the entropy of the weights at most; scaled, other words altogether give 1.
    reachable = -float((weights * np.log2(weights)).sum())
    return min(1.0, math.sqrt(excess / reachable)), float(chi2.sf(statistic, freedom))


def _lumped(table: Table, rare: npt.NDArray[np.bool_]) -> Table:
    """Return a table with its rare columns added up to one, and without columns that count nothing."""
    table = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
    return table[:, table.sum(axis=0) > 0]


def worst(findings: list[Finding]) -> Level:
    """Return the highest level among findings."""
    return max((finding.level for finding in findings), key=("none", "warn", "block").index, default="none")


def described(findings: list[Finding]) -> Iterator[str]:
    """Yield in words what drifted, the largest first."""
    for finding in sorted(findings, key=lambda one: -one.size):
        if finding.level != "none":
            yield f"{finding.measure} by {finding.size:.2f} ({finding.level})"
