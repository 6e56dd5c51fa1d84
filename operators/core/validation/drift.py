"""Drift: whether new rows come from where the accepted ones came from, judged on profiles.

Each finding has a size and a chance. The size decides the level, for with enough rows any difference is significant;
the chance (how often two samples of one source differ by as much) keeps small samples from crying wolf.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2, chi2_contingency, hypergeom, kstwobign

from operators.core.profiling.profile import Profile
from operators.core.profiling.texts import LABEL_BUCKETS, WORD_BUCKETS
from operators.core.validation.spec import DriftSpec, Levels

Level = Literal["none", "warn", "block"]
Table = npt.NDArray[np.float64]
RARE = 5
"""Rows, of both sides, below which a word's bucket is not judged by itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """How far one measure of the new rows is from the accepted ones."""

    measure: str
    """`labels`, `lost_label`, `repeated`, `vocabulary`, `label_words`, or one of the profile's measures."""
    size: float
    """0 to 1: Cramer's V of labels and repeated rows, of the label that lost most the part that is gone,
    Kolmogorov-Smirnov distance of numbers, Jensen-Shannon distance of vocabularies."""
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
    return [
        *found,
        _finding("lost_label", *_lost_label(new.labels, accepted.labels, spec.max_chance), spec.lost_label, spec),
        _finding("vocabulary", *_vocabulary(new, accepted), spec.vocabulary, spec),
        _finding("label_words", *_label_words(new, accepted), spec.label_words, spec),
    ]


def _finding(measure: str, size: float, chance: float, levels: Levels, spec: DriftSpec) -> Finding:
    level: Level = "none"
    if chance < spec.max_chance:
        is_too_far = levels.block is not None and size >= levels.block
        level = "block" if is_too_far else "warn" if size >= levels.warn else "none"
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


def _lost_label(new: Counter[str], accepted: Counter[str], max_chance: float) -> tuple[float, float]:
    """Return, of the label that lost most, which part of its rows is gone, and the chance of that for any label.

    Among many labels one can go without the shares as a whole showing it. A loss that chance explains is none.
    """
    rows, known, worst_loss = new.total(), accepted.total(), (0.0, 1.0)
    for label, count in accepted.items():
        loss = 1 - new[label] * known / (rows * count)
        if loss > worst_loss[0]:
            chance = float(hypergeom.cdf(new[label], rows + known, new[label] + count, rows)) * len(accepted)
            worst_loss = (loss, chance) if chance < max_chance else worst_loss
    return worst_loss


def _vocabulary(new: Profile, accepted: Profile) -> tuple[float, float]:
    """Return the Jensen-Shannon distance of the words, and its chance."""
    counts = _table(new.words, accepted.words, WORD_BUCKETS)
    has_words = counts.any(axis=1)
    if not has_words.all():
        # What has words and no buckets is of an older revision, which had others.
        is_older = any(not side.words and max(side.measures["words"]) > 0 for side in (new, accepted))
        return (1.0, 0.0) if has_words.any() and not is_older else (0.0, 1.0)
    return _word_distance([counts])


def _label_words(new: Profile, accepted: Profile) -> tuple[float, float]:
    """Return the Jensen-Shannon distance of the words that go with each label, over all labels, and its chance."""
    counts = _table(new.label_words, accepted.label_words, LABEL_BUCKETS**2).reshape(2, LABEL_BUCKETS, LABEL_BUCKETS)
    # A label that one side lacks says nothing of what goes with it.
    return _word_distance(counts[:, label] for label in range(LABEL_BUCKETS) if counts[:, label].any(axis=1).all())


def _table(new: Mapping[int, int], accepted: Mapping[int, int], buckets: int) -> Table:
    """Return what both sides count in each bucket, shape (2, buckets)."""
    return np.array([[side.get(key, 0) for key in range(buckets)] for side in (new, accepted)], float)


def _word_distance(tables: Iterable[Table]) -> tuple[float, float]:
    """Return the Jensen-Shannon distance of two sides' words, within each of some tables, and its chance.

    Samples of one source differ by chance, the more the smaller they are: what chance gives on average is taken off.
    """
    statistic = reachable = 0.0
    freedom = 0
    for counts in tables:
        # Where few are counted the chi-square distribution does not hold: rare words are one bucket.
        counts = _lumped(counts, counts.sum(axis=0) < RARE)
        totals = counts.sum(axis=1, keepdims=True)
        shares, weights = counts / totals, totals / totals.sum()
        middle = (weights * shares).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(shares > 0, shares * np.log2(shares / middle), 0.0)
        # 2 n ln(2) times this weighted divergence is the likelihood-ratio statistic, chi-square distributed.
        scale = 2 * math.log(2) * float(totals.sum())
        statistic += scale * float((weights * terms).sum())
        # Weighted by the sides' sizes it reaches the entropy of the weights at most; scaled, other words altogether
        # give 1.
        reachable -= scale * float((weights * np.log2(weights)).sum())
        freedom += counts.shape[1] - 1
    if not freedom:
        return 0.0, 1.0
    return min(1.0, math.sqrt(max(0.0, statistic - freedom) / reachable)), float(chi2.sf(statistic, freedom))


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
