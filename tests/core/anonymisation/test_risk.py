"""k-anonymity and l-diversity, against the tables of the papers that defined them and against brute force."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.anonymisation.risk import accepted_risk, measure_risk
from operators.core.anonymisation.spec import RiskSpec
from operators.core.errors import PrivacyRiskTooHigh

SPEC = RiskSpec(quasi_identifiers=("zip", "age", "nationality"), sensitive=("condition",))


def _patients(rows: str) -> pa.Table:
    names = ("zip", "age", "nationality", "condition")
    lines = [line.split() for line in rows.strip().splitlines()]
    return pa.table({name: [line[place] for line in lines] for place, name in enumerate(names)})


FOUR_ANONYMOUS = _patients("""
130** <30 * heart
130** <30 * heart
130** <30 * viral
130** <30 * viral
1485* >=40 * cancer
1485* >=40 * heart
1485* >=40 * viral
1485* >=40 * viral
130** 3* * cancer
130** 3* * cancer
130** 3* * cancer
130** 3* * cancer
""")
"""Figure 2 of Machanavajjhala et al., l-Diversity (2007): 4-anonymous, and everybody in their thirties has cancer."""
THREE_DIVERSE = _patients("""
1305* <=40 * heart
1305* <=40 * viral
1305* <=40 * cancer
1305* <=40 * cancer
1485* >40 * cancer
1485* >40 * heart
1485* >40 * viral
1485* >40 * viral
1306* <=40 * heart
1306* <=40 * viral
1306* <=40 * cancer
1306* <=40 * cancer
""")
"""Figure 3 of the same paper: the same patients, 3-diverse."""


@pytest.mark.parametrize(("table", "k", "l"), [(FOUR_ANONYMOUS, 4, 1), (THREE_DIVERSE, 4, 3)])
def test_the_papers_tables_have_their_k_and_l(table: pa.Table, k: int, l: int) -> None:  # noqa: E741
    """What the paper says of its figures 2 and 3."""
    risk = measure_risk([table], SPEC)

    assert (risk.k, risk.l, risk.groups) == (k, l, 3)


ROWS = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([1, 2, None]), st.sampled_from(["x", "y", None])))


@given(st.lists(ROWS, min_size=1, max_size=4), st.integers(2, 4), st.integers(1, 3))
def test_any_rows_in_any_tables_agree_with_brute_force(
    parts: list[list[tuple[str, int | None, str | None]]], min_k: int, min_l: int
) -> None:
    """However rows are dealt to tables: the counts are those of a plain loop; a missing value is one of its own."""
    spec = RiskSpec(quasi_identifiers=("a", "b"), sensitive=("c",), min_k=min_k, min_l=min_l)
    schema = pa.schema([("a", pa.string()), ("b", pa.int64()), ("c", pa.string()), ("text", pa.string())])
    tables = [
        pa.Table.from_pylist([{"a": a, "b": b, "c": c, "text": "t"} for a, b, c in rows], schema) for rows in parts
    ]
    groups: dict[tuple[str, int | None], list[str | None]] = defaultdict(list)
    for a, b, c in (row for rows in parts for row in rows):
        groups[a, b].append(c)
    risk = measure_risk(tables, spec)

    assert risk.groups == len(groups)
    assert risk.k == min((len(values) for values in groups.values()), default=0)
    assert risk.l == min((len(set(values)) for values in groups.values()), default=0)
    assert risk.small == sum(len(values) for values in groups.values() if len(values) < min_k)
    assert risk.uniform == sum(len(values) for values in groups.values() if len(set(values)) < min_l)


@pytest.mark.parametrize(("min_k", "min_l", "told"), [(5, 1, "k=4"), (4, 2, "l=1 .at least 2; 4 rows")])
def test_too_high_a_risk_is_refused_without_a_value(min_k: int, min_l: int, told: str) -> None:
    """The message has counts and columns, nothing of a row."""
    spec = RiskSpec(quasi_identifiers=SPEC.quasi_identifiers, sensitive=("condition",), min_k=min_k, min_l=min_l)

    with pytest.raises(PrivacyRiskTooHigh, match=told) as caught:
        accepted_risk([FOUR_ANONYMOUS], spec)

    assert not [value for value in ("130", "cancer", "3*") if value in str(caught.value)]


def test_a_risk_that_is_low_enough_is_a_fact() -> None:
    """What passes says how alike its rows are."""
    spec = RiskSpec(quasi_identifiers=SPEC.quasi_identifiers, sensitive=("condition",), min_k=4, min_l=3)

    assert accepted_risk([THREE_DIVERSE], spec) == {"k": 4, "l": 3, "groups": 3, "small": 0, "uniform": 0}


@pytest.mark.parametrize(
    "changes",
    [{"quasi_identifiers": ()}, {"min_k": 1}, {"min_l": 0}, {"sensitive": ("zip",)}, {"sensitive": (), "min_l": 2}],
)
def test_a_threshold_that_asks_for_nothing_is_refused(changes: dict[str, object]) -> None:
    """A gate that cannot close, or one that contradicts itself, is no gate."""
    with pytest.raises(ValueError, match="="):
        RiskSpec(**{"quasi_identifiers": ("zip",), **changes})  # type: ignore[arg-type]
