"""How easily somebody is singled out in a data set: k-anonymity and l-diversity, in counts that name nobody."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc

from operators.core.anonymisation.spec import RiskSpec
from operators.core.errors import PrivacyRiskTooHigh

_ALL = pc.CountOptions(mode="all")
"""A missing value is a value of its own: rows that lack an age are alike in that."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Risk:
    """What a data set tells about its rows. Rows that agree in every quasi-identifier are a group."""

    k: int
    """Rows in the smallest group; 0 where there is none."""
    l: int | None  # noqa: E741 - its name in the literature
    """Fewest distinct values of a sensitive column in a group (distinct l-diversity); None without such a column."""
    groups: int
    small: int
    """Rows in groups that are smaller than the spec asks for."""
    uniform: int
    """Rows in groups with fewer distinct values than the spec asks for."""


def measure_risk(tables: Iterable[pa.Table], spec: RiskSpec) -> Risk:
    """Return the risk of rows that come in tables, of which the spec's columns are read.

    Memory follows the number of distinct combinations, not of rows.

    Source: L. Sweeney, k-Anonymity, 2002; A. Machanavajjhala et al., l-Diversity, 2007, section 4.1.
    """
    columns, keys = list(spec.columns), list(spec.quasi_identifiers)
    counted = pa.concat_tables(
        table.select(columns).group_by(columns).aggregate([([], "count_all")]) for table in tables
    )
    distinct = [(name, "count_distinct", _ALL) for name in spec.sensitive]
    groups = counted.group_by(keys).aggregate([("count_all", "sum"), *distinct])
    sizes = groups.column("count_all_sum").to_pylist()
    values = [groups.column(f"{name}_count_distinct").to_pylist() for name in spec.sensitive]
    fewest = [min(counts) for counts in zip(*values, strict=True)]
    return Risk(
        k=min(sizes, default=0),
        l=min(fewest, default=0) if spec.sensitive else None,
        groups=len(sizes),
        small=sum(size for size in sizes if size < spec.min_k),
        # Without a sensitive column there is nothing that could be uniform.
        uniform=sum(size for size, count in zip(sizes, fewest, strict=False) if count < spec.min_l),
    )


def accepted_risk(tables: Iterable[pa.Table], spec: RiskSpec) -> dict[str, int | None]:
    """Return the risk of a data set as facts of its manifest, if it is no higher than the spec allows.

    Raises:
        PrivacyRiskTooHigh: It is; the message holds counts and names of columns, no value.
    """
    risk = measure_risk(tables, spec)
    if risk.small or risk.uniform:
        told = (
            f"k={risk.k} (at least {spec.min_k}; {risk.small} rows stand in smaller groups),"
            f" l={risk.l} (at least {spec.min_l}; {risk.uniform} rows in groups with fewer values),"
            f" {risk.groups} groups by {', '.join(spec.quasi_identifiers)}"
        )
        raise PrivacyRiskTooHigh(f"too few rows are alike: {told}. Generalise these columns further, or drop one")
    return asdict(risk)
