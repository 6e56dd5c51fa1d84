"""Whether answers stay when texts are written carelessly.

A changed text keeps its length and its words their places, so the spans of its label are where they were.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from operators.core.evaluation.outcomes import outcomes, wilson
from operators.core.labels import Task
from operators.core.manifest import sha256_hex
from operators.core.models.classifier import Answer, Classifier
from operators.core.training.rows import LabelledRows

TYPO_SHARE, LEFT_OUT_SHARE = 0.05, 0.1
Change = Callable[[str, np.random.Generator], str]


@dataclass(frozen=True, slots=True)
class Perturbed:
    """How answers fared when texts were changed in one way."""

    name: str
    rows: int
    same: float
    """The share of answers that stayed as they were."""
    low: float
    high: float
    """The range of true shares that goes with it."""
    score: float | None
    score_before: float | None
    """On the same rows as they are; None where they have no spans."""


def perturb(classifier: Classifier, rows: LabelledRows, answers: Sequence[Answer], count: int) -> list[Perturbed]:
    """Return how a model fares on a sample of rows, changed in each way.

    Which rows are drawn, and what becomes of each, follows from their ids: the same from night to night.

    Args:
        classifier: The model.
        rows: The test rows.
        answers: To each as it is, the model's.
        count: Rows to draw, where there are as many.
    """
    drawn = sorted(range(len(rows.ids)), key=lambda row: sha256_hex(rows.ids[row].encode()))[:count]
    if not drawn:
        return []
    ways = PERTURBATIONS[rows.task]
    texts = [change(rows.texts[row], _draw(name, rows.ids[row])) for name, change in ways.items() for row in drawn]
    told = [answer.label for answer in classifier.answers(texts)]
    labels, before = [rows.labels[row] for row in drawn], [answers[row].label for row in drawn]
    parts = (told[start : start + len(drawn)] for start in range(0, len(told), len(drawn)))
    return [_compare(name, rows.task, labels, before, after) for name, after in zip(ways, parts, strict=True)]


def _compare(name: str, task: Task, labels: list[str], before: list[str], after: list[str]) -> Perturbed:
    same = sum(one == other for one, other in zip(before, after, strict=True))
    now, then = (outcomes(task, labels, told).estimate() for told in (after, before))
    return Perturbed(
        name,
        len(labels),
        same / len(labels),
        *wilson(same, len(labels)),
        now.score if now else None,
        then.score if then else None,
    )


def _draw(name: str, row_id: str) -> np.random.Generator:
    return np.random.default_rng(int(sha256_hex(f"{name} {row_id}".encode())[:16], 16))


def capitals(text: str, draw: np.random.Generator) -> str:
    """Return the text in capitals; a letter whose capital is two, as the German sharp s, stays."""
    return "".join(capital if len(capital := letter.upper()) == 1 else letter for letter in text)


def typing_errors(text: str, draw: np.random.Generator) -> str:
    """Return the text with a twentieth of its letters in the other order than their right neighbours."""
    letters = list(text)
    for place in np.flatnonzero(draw.random(max(0, len(text) - 1)) < TYPO_SHARE).tolist():
        if letters[place].isalpha() and letters[place + 1].isalpha():
            letters[place], letters[place + 1] = letters[place + 1], letters[place]
    return "".join(letters)


def no_punctuation(text: str, draw: np.random.Generator) -> str:
    """Return the text with blanks for its punctuation marks."""
    return "".join(" " if unicodedata.category(letter).startswith("P") else letter for letter in text)


def words_left_out(text: str, draw: np.random.Generator) -> str:
    """Return the text with blanks for a tenth of its words."""
    words = text.split(" ")
    out = draw.random(len(words)) < LEFT_OUT_SHARE
    return " ".join(" " * len(word) if gone else word for word, gone in zip(words, out.tolist(), strict=True))


_CARELESS: dict[str, Change] = {
    "capitals": capitals,
    "typing errors": typing_errors,
    "no punctuation": no_punctuation,
}
PERTURBATIONS: dict[Task, dict[str, Change]] = {
    "text_classification": {**_CARELESS, "words left out": words_left_out},
    # A name that is left out is no longer there to be found.
    "token_classification": _CARELESS,
}
"""The ways of each task."""
