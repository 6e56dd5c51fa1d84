"""Which rows a server is asked before it may answer anybody else."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.core.deployment.golden import FLIPS, GOLDEN_FALSE_ALARM, golden_requests, is_another_model
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.storage import Store
from tests.core.deployment.tiny import tiny_dataset


def release(store: Store, scores: list[float]) -> Manifest:
    """Return a release whose evaluation was so sure of the data set's two rows."""

    def stage(name: str, role: str, digest: str, **files: bytes) -> str:
        call = StageCall(stage=name, revision=1, inputs=(store.as_input(role, digest),), spec={"scores": scores})
        made = Made(files=tuple(store.put_bytes(f"{file}.parquet", data) for file, data in files.items()))
        return store.once(call, lambda: made).digest

    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ["a", "b"], "predicted": ["ham", "spam"], "score": scores}), sink)
    dataset = tiny_dataset(store, "2002-09-26")
    evaluation = stage("evaluate", "dataset", dataset, predictions=sink.getvalue())
    return store.manifest(stage("release", "verdict", stage("gate", "evaluation", evaluation)))


@pytest.mark.parametrize(
    ("scores", "asked"),
    [([0.85, 0.99], ["spam", "ham"]), ([0.5, 0.99], ["spam"]), ([0.4, 0.3], ["ham"])],
    ids=["both sure", "one a close call", "no sure one"],
)
def test_a_close_call_is_not_asked(store: Store, scores: list[float], asked: list[str]) -> None:
    """In int8 it may come out otherwise in another batch; where nothing else is there the surest is asked."""
    found = golden_requests(store, release(store, scores), 4)

    assert sorted(golden.label for golden in found) == sorted(asked)


@pytest.mark.parametrize(
    ("asked", "otherwise", "is_another"), [(100, 0, False), (100, 3, False), (100, 5, True), (2, 2, True)]
)
def test_a_few_flips_are_chance_and_more_are_another_model(asked: int, otherwise: int, is_another: bool) -> None:
    """On another machine one of a thousand sure answers may flip; five of a hundred do not, nor do both of two."""
    assert is_another == is_another_model(asked, otherwise, tests=7)


def test_looked_at_after_every_row_it_is_wrong_less_often_than_stated() -> None:
    """20,000 candidates that are what was judged, a look after each of 100 rows: fewer than 1 in 1000 alarms."""
    draws = np.random.default_rng(1).random((20_000, 100)) < FLIPS
    flips = draws.cumsum(axis=1)
    alarms = {(row + 1, count) for row in range(100) for count in range(6) if is_another_model(row + 1, count, tests=1)}
    is_alarmed = [
        any((row + 1, int(count)) in alarms for row, count in enumerate(one)) for one in flips[draws.any(axis=1)]
    ]

    assert sum(is_alarmed) / 20_000 < GOLDEN_FALSE_ALARM
