"""Losses too small for any one night, held against the rows of the first."""

from __future__ import annotations

import datetime
import io
from collections.abc import Collection

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.core.deployment.releases import ReleaseLine, Wanted, make_release
from operators.core.errors import GateFailed
from operators.core.evaluation.forgetting import find_golden
from operators.core.evaluation.gate import gate
from operators.core.evaluation.spec import GateSpec
from operators.core.manifest import Made, StageCall
from operators.core.storage import Result, Store
from operators.core.storage.erasures import ErasedRow, Erasure, put_on_record
from operators.core.storage.graph import closure, descendants
from tests.core.signers import SIGNER, TRUSTED

RECIPE, ROWS = "mail", 100
FIRST, SECOND, THIRD = "2002-09-20", "2002-09-21", "2002-09-22"
SPEC = GateSpec(min_score=0.5, max_score_drop=0.05, max_forgetting=0.05)


class Nights:
    """A store whose models have all test rows right but some, by how many the first ones are wrong."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.asked: list[tuple[str, str]] = []

    def dataset(self, day: str, learnt: Collection[str] = ("a lesson",), labels: Collection[str] = ("ham",)) -> str:
        """Commit a data set of a day: a hundred test rows, and texts to learn from."""
        texts = {"train": list(learnt), "test": [f"text {number} of {day}" for number in range(ROWS)]}
        files = tuple(
            self._table(
                f"{split}/00000.parquet",
                id=[f"{split}-{number}" for number in range(len(found))],
                day=[datetime.date.fromisoformat(day)] * len(found),
                text=found,
                label=["ham"] * len(found),
            )
            for split, found in texts.items()
        )
        call = StageCall(stage="publish_dataset", revision=1, spec={"day": day, "labels": labels, "learnt": learnt})
        return self.store.once(call, lambda: Made(files=files, facts={"day": day, "labels": labels})).digest

    def model(self, dataset: str, wrong: int) -> str:
        """Commit a model that will have some rows wrong."""
        call = StageCall(stage="compress", revision=1, inputs=(self.store.as_input("dataset", dataset),))
        return self.store.once(call, lambda: Made(facts={"wrong": wrong})).digest

    def evaluate(self, model: str, dataset: str) -> Result:
        """Evaluate it."""
        self.asked.append((model, dataset))
        wrong = int(self.store.manifest(model).facts["wrong"])
        told = ["spam" if number < wrong else "ham" for number in range(ROWS)]
        answers = self._table(
            "predictions.parquet", id=[f"test-{n}" for n in range(ROWS)], label=["ham"] * ROWS, predicted=told
        )
        inputs = (self.store.as_input("model", model), self.store.as_input("dataset", dataset))
        call = StageCall(stage="evaluate", revision=1, inputs=inputs)
        facts = {"measure": "accuracy", "score": 1 - wrong / ROWS}
        return self.store.once(call, lambda: Made(files=(answers,), facts=facts))

    def judge(self, dataset: str, wrong: int, spec: GateSpec = SPEC) -> Result:
        """Judge a model of a data set."""
        evaluation = self.evaluate(self.model(dataset, wrong), dataset).digest
        return gate(self.store, evaluation, recipe=RECIPE, spec=spec, evaluate=self.evaluate, signer=SIGNER)

    def release(self, dataset: str, wrong: int) -> None:
        """Judge a model and have it live."""
        wanted = Wanted.read(self.store, RECIPE, self.judge(dataset, wrong).digest, TRUSTED)
        ReleaseLine(self.store, RECIPE).append(make_release(self.store, wanted).digest)

    def golden_day(self, dataset: str) -> str | None:
        """Return the day of the golden set that a model of a data set would be asked about."""
        found = find_golden(self.store, RECIPE, self.store.manifest(dataset))
        return found.day if found else None

    def _table(self, name: str, **columns: list[object]):
        sink = io.BytesIO()
        pq.write_table(pa.table(columns), sink)
        return self.store.put_bytes(name, sink.getvalue(), rows=len(columns["id"]))


@pytest.fixture
def nights(store: Store) -> Nights:
    """Two nights, each of whose models is a little worse than the one before."""
    nights = Nights(store)
    nights.release(nights.dataset(FIRST), wrong=0)
    nights.release(nights.dataset(SECOND), wrong=4)
    return nights


def test_losses_that_pass_night_by_night_add_up(nights: Nights) -> None:
    """Four rows worse than what is live would pass, eight worse than the first model do not."""
    with pytest.raises(
        GateFailed, match=r"accuracy 0\.9200 on 100 test rows of 2002-09-20 is 0\.0800 below the 1\.0000"
    ):
        nights.judge(nights.dataset(THIRD), wrong=8)


def test_what_was_forgotten_is_a_fact_also_where_it_is_allowed(nights: Nights) -> None:
    """The verdict says which rows were asked, and how the model fared beside that of then."""
    facts = nights.judge(nights.dataset(THIRD), wrong=5).manifest.facts

    assert facts["forgetting"] == {
        "day": FIRST, "rows": 100, "then": 1.0, "now": 0.95, "better": 0, "worse": 5, "chance": 0.03125,
    }  # fmt: skip


def test_a_verdict_is_not_made_of_the_rows_it_was_held_against(nights: Nights, store: Store) -> None:
    """Erasing a golden row makes nobody forget the verdict on a model that never learnt it."""
    verdict = nights.judge(nights.dataset(THIRD), wrong=5)
    golden = nights.dataset(FIRST)
    below = descendants(closure(store, [verdict.digest]), [golden])

    assert verdict.manifest.input("golden_evaluation").manifest in below
    assert verdict.digest not in below


def test_a_data_set_with_an_erased_row_is_not_asked_about(nights: Nights, store: Store) -> None:
    """The next release's is: answers to a row that somebody had erased are not written anew."""
    third = nights.dataset(THIRD)
    assert nights.golden_day(third) == FIRST
    row = ErasedRow(source="mail", day=FIRST, id="train-0", key="0" * 16)
    put_on_record(store, Erasure(reason="request 7", by="tester", rows=(row,)))

    assert nights.golden_day(third) == SECOND


def test_what_an_erasure_forgot_is_not_asked_about(nights: Nights, store: Store) -> None:
    """Its files may be gone any time."""
    put_on_record(store, Erasure(reason="request 7", by="tester", forgotten=(nights.dataset(FIRST),)))

    assert nights.golden_day(nights.dataset(THIRD)) == SECOND


def test_rows_that_the_model_learnt_are_left_out(nights: Nights) -> None:
    """Under another key of the split a text changes sides: what a model learnt it cannot have forgotten."""
    golden = find_golden(
        nights.store, RECIPE, nights.store.manifest(nights.dataset(THIRD, learnt=[f"text 3 of {FIRST}"]))
    )

    assert golden is not None and golden.rows == (0, 1, 2, *range(4, ROWS))


def test_other_labels_and_the_same_data_have_no_golden_set(nights: Nights) -> None:
    """A model of other labels cannot answer; on its own data set a model is held against what is live already."""
    assert nights.golden_day(nights.dataset(THIRD, labels=["ham", "spam"])) is None
    assert nights.golden_day(nights.dataset(FIRST)) == SECOND
