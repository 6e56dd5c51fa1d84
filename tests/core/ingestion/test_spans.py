"""Rows with labelled spans: anonymised and cut with their text, only names that the policy lists."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy
from operators.core.errors import DataError
from operators.core.ingestion.rows import RowAnonymiser
from operators.core.ingestion.spec import IngestionSpec
from operators.core.labels import decode_spans
from operators.core.recipe import Recipe
from operators.core.sources.reader import read_rows
from tests.core.ingestion.parts import anonymised
from tests.core.mails import KEY
from tests.dags.published import recipe_named

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

RECIPE = recipe_named("named_entities")


def _row(words: str, policy: AnonymisationSpec = RECIPE.anonymisation, **spec: int) -> dict[str, Any] | None:
    """Return what leaves a sentence; `Acme/person` is a tagged word."""
    tagged = [word.partition("/") for word in words.split()]
    lines = "".join(f"{word}\t{f'B-{name}' if name else 'O'}\n" for word, _, name in tagged)
    (row,) = read_rows(lines.encode(), "entities/dt=2017-09-07/a.conll", RECIPE.source).rows
    return anonymised(RowAnonymiser(RECIPE.source, policy, IngestionSpec(**spec), KEY), row)


def _named(row: dict[str, Any] | None) -> list[tuple[str, str]]:
    assert row is not None
    return [(row["text"][span.start : span.end], span.name) for span in decode_spans(row["label"])]


def test_spans_move_with_what_is_replaced() -> None:
    """Behind a replaced address they still name what they named."""
    row = _row("ann@example.org works at Acme/corporation in Paris/location now")

    assert "ann@" not in str(row)
    assert _named(row) == [("Acme", "corporation"), ("Paris", "location")]


def test_a_label_tells_nothing_of_the_text() -> None:
    """Places and names of kinds, as many as there are spans."""
    row = _row("Ann/person met Bob/person")

    assert row is not None and row["label"] == '[[0,3,"person"],[8,11,"person"]]'


def test_spans_are_cut_with_the_text() -> None:
    """What lies beyond the most characters is gone with its label."""
    row = _row(f"Ann/person {'x' * 180} Bob/person {'y' * 100} Eve/person", max_text_characters=200)

    assert _named(row) == [("Ann", "person"), ("Bob", "person")]


def test_a_name_that_the_policy_does_not_list_stops_the_run_unquoted() -> None:
    """Default deny holds for what spans are called, too."""
    with pytest.raises(DataError, match="a value that the policy does not list") as caught:
        _row("Ann/secret")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("entities", "words"),
    [
        ('[[0,3,"person"]]', "a span ends at 3 of a text of 2 characters"),
        (None, "missing"),
        ("x", "spans"),
    ],
)
def test_a_label_that_does_not_fit_its_text_is_refused(entities: str | None, words: str) -> None:
    """A parser that was taken over cannot have a label point elsewhere."""
    row = {"text": "ab", "entities": entities, "row_sha256": "0" * 64}
    with pytest.raises(DataError, match=words):
        anonymised(RowAnonymiser(RECIPE.source, RECIPE.anonymisation, IngestionSpec(), KEY), row)


def _with_label(action: Action, **options: Any) -> AnonymisationSpec:
    others = [policy for policy in RECIPE.anonymisation.columns if policy.column != "label"]
    return AnonymisationSpec(columns=(*others, ColumnPolicy(column="label", action=action, **options)))


@pytest.mark.parametrize("action", [Action.KEEP, Action.PSEUDONYM, Action.IDENTIFIER])
def test_entities_leave_as_spans_or_not_at_all(action: Action) -> None:
    """Any other action would let tags through as they are."""
    with pytest.raises(ValueError, match="takes the action SPANS"):
        replace(RECIPE, anonymisation=_with_label(action))


def test_spans_are_for_labels_only() -> None:
    """No other column can have them, and no other source's label."""
    with pytest.raises(ValueError, match="SPANS does not fit it"):
        ColumnPolicy(column="note", action=Action.SPANS, values=("x",))
    mails = recipe_named("mail_triage")
    with pytest.raises(ValueError, match="no other label does"):
        replace(mails, anonymisation=_with_label(Action.SPANS, values=("ham", "spam")))


def test_a_recipe_trains_what_its_labels_are_for() -> None:
    """Spans for tokens, names for texts; the message says where to change it."""
    recipe: Recipe = RECIPE
    with pytest.raises(ValueError, match=r"training\.task='text_classification', but by the policy"):
        replace(recipe, training=replace(recipe.training, task="text_classification"))


def test_a_recipe_that_tags_tokens_may_not_ask_for_their_numbers() -> None:
    """Nothing would read the column: tagging takes the words of a text."""
    with pytest.raises(ValueError, match=r"dataset\.tokens"):
        replace(RECIPE, dataset=replace(RECIPE.dataset, tokens=128))
