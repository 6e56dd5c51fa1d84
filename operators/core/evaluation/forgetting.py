"""What a model no longer knows: test rows of the first day that went live, asked again.

From night to night a model may lose less than the gate allows. Held against the same old rows the losses add up.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.evaluation.outcomes import outcomes
from operators.core.evaluation.paired import Answers, Paired, compare, read_answers
from operators.core.manifest import Manifest, canonical, sha256_hex
from operators.core.storage import Store
from operators.core.storage.erasures import erased_rows, forgotten
from operators.core.training.rows import Split, shards_of, task_of


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSet:
    """Test rows of the oldest release whose rows may all still be held, and what its model answered."""

    evaluation: str
    """Digest of the release's evaluation."""
    dataset: str
    """Digest of its data set."""
    day: str
    rows: tuple[int, ...]
    """Places, in the test split, of the rows that the candidate did not learn from."""

    @property
    def rows_digest(self) -> str:
        """What names the rows in a run key."""
        return sha256_hex(canonical(self.rows))


@dataclass(frozen=True, kw_only=True, slots=True)
class Forgetting:
    """How a model fares on a golden set, beside the model of then."""

    day: str
    rows: int
    then: float
    now: float
    paired: Paired

    @property
    def lost(self) -> float:
        """The loss of score, below 0 for a gain."""
        return self.then - self.now


def find_golden(store: Store, recipe: str, dataset: Manifest) -> GoldenSet | None:
    """Return the golden set that a model of a data set is asked about, None where nothing was live that has one.

    Args:
        store: The store.
        recipe: The recipe's name.
        dataset: The candidate's. A golden set is of another one with the same labels.
    """
    gone, erased = forgotten(store), {(row.day, row.id) for row in erased_rows(store)}
    for evaluation, kept in _released(store, recipe):
        then = store.manifest(kept)
        is_alike = (then.facts["labels"], task_of(then)) == (dataset.facts["labels"], task_of(dataset))
        if kept == dataset.digest or not is_alike or {evaluation, kept} & gone or not _is_held(store, evaluation, kept):
            continue
        # Asking would write answers to the rows anew: a data set with an erased one is not touched any more.
        if erased and _has_any(store, then, erased):
            continue
        if rows := _unlearnt(store, then, dataset):
            return GoldenSet(evaluation=evaluation, dataset=kept, day=str(then.facts["day"]), rows=rows)
    return None


def measure_forgetting(store: Store, golden: GoldenSet, now: Manifest) -> Forgetting:
    """Return how an evaluation on the golden set's data set fares beside that of then."""
    then = store.manifest(golden.evaluation)
    return Forgetting(
        day=golden.day,
        rows=len(golden.rows),
        then=_score(store, golden, read_answers(store, then)),
        now=_score(store, golden, read_answers(store, now)),
        paired=compare(store, now, then, golden.rows),
    )


def _released(store: Store, recipe: str) -> Iterator[tuple[str, str]]:
    """Yield the evaluation and the data set of every release that names them, oldest first."""
    for entry in store.stream(f"release-{recipe}").entries():
        verdict = store.manifest(entry.manifest).input("verdict").manifest
        evaluation = store.manifest(verdict).input("evaluation").manifest if verdict else None
        dataset = store.manifest(evaluation).input("dataset").manifest if evaluation else None
        if evaluation and dataset:
            yield evaluation, dataset


def _is_held(store: Store, evaluation: str, dataset: str) -> bool:
    """Say whether the files are there: a store that was restored has the newest release's alone."""
    entries = (store.manifest(evaluation).file("predictions.parquet"), *shards_of(store.manifest(dataset), "test"))
    return all(store.copies(entry) for entry in entries)


def _has_any(store: Store, dataset: Manifest, rows: Collection[tuple[str, str]]) -> bool:
    """Say whether a data set holds any of some rows, given as day and id."""
    tables = (_read(store, dataset, split, "day", "id") for split in ("train", "test"))
    held = (zip(table["day"].to_pylist(), table["id"].to_pylist(), strict=True) for table in tables)
    return any((day.isoformat(), row_id) in rows for day, row_id in itertools.chain.from_iterable(held))


def _unlearnt(store: Store, then: Manifest, dataset: Manifest) -> tuple[int, ...]:
    """Return the places of test rows whose text is none of those that a model of the data set learnt from.

    A text stays on its side of the split from night to night, but not under another key of the split.
    """
    learnt = set(_read(store, dataset, "train", "text")["text"].to_pylist())
    texts = _read(store, then, "test", "text")["text"].to_pylist()
    return tuple(place for place, text in enumerate(texts) if text not in learnt)


def _read(store: Store, dataset: Manifest, split: Split, *columns: str) -> pa.Table:
    entries = shards_of(dataset, split)
    return pa.concat_tables([pq.read_table(io.BytesIO(store.read(entry)), columns=list(columns)) for entry in entries])


def _score(store: Store, golden: GoldenSet, answers: Answers) -> float:
    labels, predicted = ([column[row] for row in golden.rows] for column in (answers.labels, answers.predicted))
    found = outcomes(task_of(store.manifest(golden.dataset)), labels, predicted).estimate()
    return found.score if found else 0.0
