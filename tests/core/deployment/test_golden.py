"""Which rows a server is asked before it may answer anybody else."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.core.deployment.golden import golden_requests
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
