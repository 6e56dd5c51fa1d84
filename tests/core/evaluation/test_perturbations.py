"""Careless writing and texts from outside, asked of a model whose answers are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from operators.core.evaluation.everyday import EVERYDAY
from operators.core.evaluation.outside import look_outside
from operators.core.evaluation.perturbations import PERTURBATIONS, no_punctuation, perturb, words_left_out
from operators.core.models.classifier import Answer
from operators.core.training.rows import LabelledRows

TEXTS = ["Win a prize, now!", "Minutes of the meeting.", "prize", "the meeting is at nine"]
ROWS = LabelledRows(
    ids=["a", "b", "c", "d"],
    texts=TEXTS,
    labels=["spam", "ham", "spam", "ham"],
    label_names=("ham", "spam"),
    task="text_classification",
)


class Reader:
    """Takes for spam what has the word prize in small letters, and is the surer the longer a text is."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        self.asked += texts
        return [Answer("spam" if "prize" in text else "ham", min(1.0, 0.5 + len(text) / 100)) for text in texts]


@pytest.mark.parametrize("change", PERTURBATIONS["text_classification"].values())
@given(text=st.text(max_size=80), seed=st.integers(0, 99))
def test_a_changed_text_keeps_its_length(change: object, text: str, seed: int) -> None:
    """So every span of its label is where it was."""
    assert callable(change)
    assert len(change(text, np.random.default_rng(seed))) == len(text)


def test_no_other_letter_is_lost_with_the_punctuation() -> None:
    """Marks of other scripts go too; digits, letters and currencies stay."""
    assert no_punctuation("¿Qué? 5 $, «da» 。", np.random.default_rng(0)) == " Qué  5 $   da   "


def test_about_a_tenth_of_the_words_is_left_out() -> None:
    """The others stay as they are."""
    left = words_left_out("word " * 10_000, np.random.default_rng(0)).split()

    assert set(left) == {"word"} and 8_800 < len(left) < 9_200


def test_answers_that_change_are_counted_way_by_way() -> None:
    """Capitals hide the prize from this reader in two rows of four; without punctuation it answers as before."""
    reader = Reader()
    found = {one.name: one for one in perturb(reader, ROWS, reader.answers(TEXTS), count=10)}

    assert set(found) == {"capitals", "typing errors", "no punctuation", "words left out"}
    assert (found["capitals"].same, found["capitals"].score, found["capitals"].score_before) == (0.5, 0.5, 1.0)
    assert (found["no punctuation"].same, found["no punctuation"].rows) == (1.0, 4)
    assert found["capitals"].low < 0.5 < found["capitals"].high


def test_a_row_is_changed_alike_whatever_rows_lie_beside_it() -> None:
    """Which rows are drawn and what becomes of them follows from their ids alone: nights can be compared."""
    turned = LabelledRows(
        ids=ROWS.ids[::-1], texts=TEXTS[::-1], labels=ROWS.labels[::-1], label_names=ROWS.label_names, task=ROWS.task
    )
    first, second = Reader(), Reader()
    perturb(first, ROWS, [Answer("ham", 1.0)] * 4, count=2)
    perturb(second, turned, [Answer("ham", 1.0)] * 4, count=2)

    assert first.asked == second.asked
    assert len(first.asked) == 2 * 4


def test_no_row_drawn_asks_nothing() -> None:
    """A model that is only compared with is not asked."""
    reader = Reader()

    assert perturb(reader, ROWS, [], count=0) == [] and look_outside(reader, (), [0.5]) is None
    assert reader.asked == []


def test_the_auroc_is_scikit_learn_s() -> None:
    """Ties count a half; the threshold lets 95 of 100 test rows through."""
    draw = np.random.default_rng(0)
    scores = np.round(0.6 + 0.4 * draw.random(100), 2).tolist()
    found = look_outside(Reader(), EVERYDAY, scores)
    others = [answer.score for answer in Reader().answers(EVERYDAY)]

    assert found is not None
    assert found.auroc == pytest.approx(roc_auc_score([1] * len(scores) + [0] * len(others), [*scores, *others]))
    assert found.threshold == sorted(scores)[4]
    assert found.passed == pytest.approx(sum(score >= found.threshold for score in others) / len(EVERYDAY))


def test_everyday_texts_are_distinct() -> None:
    """Each counts once."""
    assert len(set(EVERYDAY)) == len(EVERYDAY) >= 60 and all(EVERYDAY)
