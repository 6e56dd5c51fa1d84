"""Two models row by row: counts, chance, and what the gate makes of them."""

from __future__ import annotations

import io
import json

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

from operators.core.errors import DataError, GateFailed
from operators.core.evaluation.gate import REGRESSIONS_NAME, gate
from operators.core.evaluation.outcomes import Outcomes
from operators.core.evaluation.paired import chance_of_spans, chance_of_texts, compare
from operators.core.evaluation.spec import GateSpec
from operators.core.labels import LabelledSpan, Task, encode_spans
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.storage import Result, Store
from tests.core.deployment.tiny import GOOD, INVERTED, RECIPE, tiny_dataset, tiny_model, tiny_release
from tests.core.signers import SIGNER

Floats = npt.NDArray[np.float64]
TAGS: Task = "token_classification"
SHARES = (0.58, 0.62)
"""Of the spans of a row that either model finds."""
ROWS = 2000
DAY = "2002-09-26"


def evaluation(store: Store, wrong: range, *, model: str, dataset: str, first_id: int = 0) -> Manifest:
    """Return an evaluation that has all rows right but some."""
    answers = {"label": ["ham"] * ROWS, "predicted": ["spam" if row in wrong else "ham" for row in range(ROWS)]}
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": [f"row{first_id + row}" for row in range(ROWS)], **answers}), sink)
    score = 1 - len(wrong) / ROWS
    call = StageCall(
        stage="evaluate",
        revision=1,
        inputs=(store.as_input("model", model), store.as_input("dataset", dataset)),
        spec={"wrong": [wrong.start, wrong.stop], "first": first_id},
    )
    file = store.put_bytes("predictions.parquet", sink.getvalue(), rows=ROWS)
    return store.once(call, lambda: Made(files=(file,), facts={"measure": "accuracy", "score": score})).manifest


def verdict(store: Store, wrong: range, live_wrong: range, spec: GateSpec) -> Result:
    """Judge a model that has some rows wrong beside a live one that has others wrong."""
    dataset = tiny_dataset(store, DAY)
    own, live = tiny_model(store, GOOD), tiny_model(store, INVERTED)
    tiny_release(store, live, "2002-09-25")

    def of_live(model: str, rows: str) -> Result:
        made = evaluation(store, live_wrong, model=model, dataset=rows)
        return Result(digest=made.digest, manifest=made, found=True)

    judged = evaluation(store, wrong, model=own, dataset=dataset)
    return gate(store, judged.digest, recipe=RECIPE, spec=spec, evaluate=of_live, signer=SIGNER)


def test_a_small_loss_that_chance_does_not_explain_fails(store: Store) -> None:
    """Sixteen rows worse and none better among 2,000 are 0.8 points: within the allowed drop, and no accident."""
    with pytest.raises(GateFailed, match=r"which chance explains with 1\.5e-05: 16 rows got worse and 0 better"):
        verdict(store, range(0, 16), range(0), GateSpec(min_score=0.9))


def test_the_same_loss_passes_where_chance_explains_it(store: Store) -> None:
    """The models are wrong on other rows, 100 and 84 of them: as likely by luck. The verdict lists what got worse."""
    manifest = verdict(store, range(0, 100), range(100, 184), GateSpec(min_score=0.9)).manifest

    assert manifest.facts["verdict"] == "passed"
    assert manifest.facts["rows"] == {"better": 84, "worse": 100, "chance": pytest.approx(0.134, abs=0.001)}
    assert json.loads(store.read(manifest.file(REGRESSIONS_NAME))) == [f"row{row}" for row in range(100)]


def test_a_loss_too_small_to_matter_passes(store: Store) -> None:
    """However surely it is one."""
    assert verdict(store, range(0, 16), range(0), GateSpec(min_score=0.9, min_effect=0.009)).manifest.facts["rows"]


def test_other_rows_are_not_compared(store: Store) -> None:
    """Which model is better cannot be told."""
    names = {"model": tiny_model(store, GOOD), "dataset": tiny_dataset(store, DAY)}
    one, other = (evaluation(store, range(0, 1), first_id=first, **names) for first in (0, 1))

    with pytest.raises(DataError, match="of other rows"):
        compare(store, one, other)


@given(better=st.integers(0, 50), worse=st.integers(0, 50))
def test_the_chance_of_texts_is_that_of_a_fair_coin(better: int, worse: int) -> None:
    """More than a half where no more got worse than better; smaller with each row more that got worse."""
    chance = chance_of_texts(better, worse)

    assert (chance > 0.5 + 1e-9) == (worse <= better)
    assert chance_of_texts(better, worse + 1) < chance or not better + worse


def spans(*names: str) -> str:
    """Return a row's label: spans one after the other."""
    return encode_spans(LabelledSpan(start, start + 1, name) for start, name in enumerate(names))


@pytest.mark.parametrize("seed", range(4))
def test_the_chance_of_spans_is_scipy_s(seed: int) -> None:
    """Its own test of paired samples, on drawn rows of which the models find some of their spans, gives the same."""
    draw = np.random.default_rng(seed)
    true = draw.integers(1, 5, 200)
    own, other = (Outcomes(TAGS, draw.binomial(true, share), true + draw.binomial(2, 0.2, 200)) for share in SHARES)

    def drop(left: Floats, right: Floats) -> float:
        """Return how far F1 falls; hits and claims come as one number each, for scipy knows no pairs."""
        counts = ((many % 100, many // 100) for many in (left, right))
        own, other = (2 * hits.sum() / (claims.sum() + hits.sum()) for hits, claims in counts)
        return float(own - other)

    samples = [100.0 * one.claims + one.hits for one in (own, other)]
    theirs = permutation_test(samples, drop, permutation_type="samples", alternative="less", rng=seed)

    assert chance_of_spans(own, other) == pytest.approx(theirs.pvalue, abs=0.015)


def test_spans_lost_in_rows_that_were_wrong_before_are_seen(store: Store) -> None:
    """No row changes sides, so nothing is listed as worse; that F1 fell so far is no accident all the same."""
    dataset = store.once(StageCall(stage="publish_dataset", revision=1), lambda: Made(facts={"task": TAGS})).digest
    call = StageCall(stage="evaluate", revision=1, inputs=(store.as_input("dataset", dataset),))

    def told(*names: str) -> Manifest:
        columns = {"id": list("abcdefghij"), "label": [spans("a", "b", "c")] * 10, "predicted": [spans(*names)] * 10}
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink)
        return Manifest.of(call, Made(files=(store.put_bytes("predictions.parquet", sink.getvalue()),)))

    found = compare(store, told("a"), told("a", "b"))
    same = compare(store, told("a"), told("a"))

    assert (found.better, found.worse) == (same.better, same.worse) == (0, ())
    assert found.chance == pytest.approx(2**-10, abs=0.001)
    assert same.chance == 1.0
