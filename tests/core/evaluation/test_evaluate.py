"""The stage `evaluate` on a model of texts whose answers are known."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from operators.core.evaluation.evaluate import evaluate
from operators.core.evaluation.spec import EvaluationSpec
from operators.core.manifest import FileEntry, Made, StageCall
from operators.core.progress import no_progress
from operators.core.storage import Result, Store
from tests.core.deployment.tiny import GOOD, tiny_model
from tests.core.training.tiny import adopt_tiny

pytestmark = pytest.mark.integration

SPEC = EvaluationSpec(slices=("list",), perturbed_rows=8)


def publish(store: Store) -> str:
    """Commit a data set of two words and two lists; a tenth of the test rows has the other label."""

    def shard(split: str, rows: int) -> FileEntry:
        words = ["meeting" if number % 2 else "lottery" for number in range(rows)]
        sink = io.BytesIO()
        columns = {
            "id": [f"{split}{number}" for number in range(rows)],
            "day": [datetime.date(2002, 9, 26)] * rows,
            "text": words,
            "label": ["ham" if (number % 2) != (number % 20 == 0) else "spam" for number in range(rows)],
            "list": ["a" if number < 10 else None for number in range(rows)],
        }
        pq.write_table(pa.table(columns), sink)
        return store.put_bytes(f"{split}/00000.parquet", sink.getvalue(), rows=rows)

    files = (shard("train", 60), shard("test", 40))
    facts = {"labels": ["ham", "spam"], "day": "2002-09-26"}
    return store.once(StageCall(stage="publish_dataset", revision=1), lambda: Made(files=files, facts=facts)).digest


class Bench:
    """A store with a model, its test rows, and the encoder of the baseline."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self._base = store, adopt_tiny(store, folder)
        self._model, self._dataset = tiny_model(store, GOOD), publish(store)

    def evaluate(self, spec: EvaluationSpec = SPEC) -> Result:
        """Evaluate it."""
        return evaluate(
            self.store,
            spec,
            model=self._model,
            dataset=self._dataset,
            base_model=self._base,
            threads=1,
            progress=no_progress,
        )

    def report(self, result: Result) -> dict[str, object]:
        """Return the report of an evaluation."""
        document: dict[str, object] = json.loads(self.store.read(result.manifest.file("report.json")))
        return document


def test_an_evaluation_tells_all_there_is_and_is_found_again(store: Store, tmp_path: Path) -> None:
    """Files, facts and parts of the rows; a model that is only compared with is spared the further texts."""
    bench = Bench(store, tmp_path / "base")
    made = bench.evaluate()
    report, facts = bench.report(made), made.manifest.facts
    parts = {(one["by"], one["name"]): (one["rows"], one["score"]) for one in report["slices"]}

    assert bench.evaluate().found
    assert [entry.name for entry in made.manifest.files] == [
        "confusion.png", "predictions.parquet", "report.html", "report.json",
    ]  # fmt: skip
    assert facts["accuracy"] == pytest.approx(0.95)
    assert report["score_range"][0] < 0.95 < report["score_range"][1]
    assert parts["list", "a"] == (10, pytest.approx(0.9)) and parts["list", "(none)"] == (30, pytest.approx(29 / 30))
    assert {one["name"]: one["same"] for one in report["perturbed"]}["no punctuation"] == 1.0
    # It knows two words; of everyday texts it knows none, and gives both labels the same probability.
    assert facts["outside_auroc"] == 1.0 and facts["stays"] < 1.0
    assert b"Careless writing" in store.read(made.manifest.file("report.html"))

    assert not [value for value in facts.values() if isinstance(value, list | dict)]

    spared = bench.evaluate(SPEC.answers_only)
    assert [bench.report(spared)[name] for name in ("perturbed", "outside")] == [[], None]
    assert "list" not in {one["by"] for one in bench.report(spared)["slices"]}
    assert spared.manifest.facts["score"] == facts["score"]


def test_other_texts_from_outside_are_another_evaluation(store: Store, tmp_path: Path) -> None:
    """A recipe's own are asked; texts that the model knows well cannot be told from test rows."""
    bench = Bench(store, tmp_path / "base")
    own = bench.evaluate(EvaluationSpec(outside=("meeting", "lottery"), perturbed_rows=0))

    assert bench.report(own)["outside"]["texts"] == 2
    assert own.manifest.facts["outside_auroc"] == 0.5
    assert own.manifest.run_key != bench.evaluate(EvaluationSpec(outside=(), perturbed_rows=0)).manifest.run_key
