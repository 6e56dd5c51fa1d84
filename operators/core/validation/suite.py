"""Great Expectations at work: a table against a suite, with the answer stripped of every value."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Set before the import: Great Expectations would report its use over the network otherwise.
os.environ["GX_ANALYTICS_ENABLED"] = "false"

import great_expectations as gx
import pandas as pd
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.registry import get_expectation_impl

from operators.core.errors import DataError
from operators.core.validation.spec import Expectation

_COUNTS = ("element_count", "unexpected_count", "missing_count", "unexpected_percent", "missing_percent")
"""What of a result goes into a report. Lists of unexpected values do not, nor does anything observed in a column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one expectation found in one table."""

    expectation: Expectation
    success: bool
    counts: dict[str, float]
    """Numbers only; see `_COUNTS`. Of a table's expectation its row or column count."""
    failed_rows: tuple[int, ...]
    """Row numbers, from 0; empty for an expectation on the table."""

    @property
    def broken(self) -> bool:
        """Whether it speaks against the file as a whole, not against some of its rows."""
        return not self.success and (self.expectation.reason is None or not self.failed_rows)


def run_suite(table: pd.DataFrame, expectations: Sequence[Expectation]) -> list[Outcome]:
    """Return what every expectation found in a table, in their order.

    Costs about 4 s at the first call of a process, for the import, and about 10 ms an expectation after.

    Raises:
        DataError: An expectation cannot be evaluated: its column is missing, or its name or arguments are wrong.
    """
    # No row has the column: Great Expectations would call that an error; it is the plainest failure there is.
    missing = {o: absent(o) for o in expectations if o.column is not None and o.column not in table.columns}
    asked = [expectation for expectation in expectations if expectation not in missing]
    suite = gx.ExpectationSuite(name="suite", expectations=[_gx_expectation(n, item) for n, item in enumerate(asked)])
    batch = _batch_definition().get_batch({"dataframe": table})
    answer = batch.validate(suite, result_format={"result_format": "COMPLETE", "exclude_unexpected_values": True})
    found = {asked[r.expectation_config.meta["number"]]: r for r in answer.results}
    return [missing.get(item) or _outcome(item, found[item]) for item in expectations]


@functools.cache
def _batch_definition() -> Any:
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("landing")
    return source.add_dataframe_asset("rows").add_batch_definition_whole_dataframe("file")


def absent(expectation: Expectation) -> Outcome:
    """Return what an expectation on a column comes to that the file does not have."""
    return Outcome(expectation=expectation, success=False, counts={}, failed_rows=())


def _outcome(expectation: Expectation, result: Any) -> Outcome:
    raised = [info for info in _exceptions(result.exception_info) if info.get("raised_exception")]
    if raised:
        # Not its message: that may quote a value.
        raise DataError(f"{expectation.kind} on {expectation.column!r} could not be evaluated; check its arguments")
    details = result.result
    counts = {name: details[name] for name in _COUNTS if details.get(name) is not None}
    if expectation.column is None and isinstance(details.get("observed_value"), int):
        counts["observed_value"] = details["observed_value"]
    failed = tuple(sorted(int(row) for row in details.get("unexpected_index_list") or ()))
    return Outcome(expectation=expectation, success=bool(result.success), counts=counts, failed_rows=failed)


def _exceptions(info: Any) -> list[dict[str, Any]]:
    return [info] if "raised_exception" in info else list(info.values())


def _gx_expectation(number: int, expectation: Expectation) -> Any:
    arguments: dict[str, Any] = {name: list(v) if isinstance(v, tuple) else v for name, v in expectation.arguments}
    if expectation.column is not None:
        arguments["column"] = expectation.column
    try:
        return get_expectation_impl(expectation.kind)(**arguments, meta={"number": number})
    except Exception as error:
        raise DataError(
            f"{expectation.kind}: not an expectation with these arguments ({type(error).__name__})"
        ) from None


def report_of(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    """Return outcomes as plain JSON: kinds, arguments and counts, never a value of a row."""
    return [
        {
            "kind": o.expectation.kind,
            "column": o.expectation.column,
            "arguments": json.loads(json.dumps(dict(o.expectation.arguments))),
            "reason": o.expectation.reason,
            "success": o.success,
            "broken": o.broken,
            "counts": o.counts,
        }
        for o in outcomes
    ]
