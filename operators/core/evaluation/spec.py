"""Specs of evaluation and of the gate."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationSpec:
    """How a model is measured on the held-out rows, and the baseline it is shown beside."""

    batch_size: int = 32
    """Rows of one forward pass."""
    slices: tuple[str, ...] = ()
    """Further columns of the data set by whose values the report parts the test rows, beside label and length."""
    perturbed_rows: int = 48
    """Test rows that are changed, in three or four ways each, to see whether the answers stay; 0 for none."""
    outside: tuple[str, ...] | None = None
    """Texts that belong to none of the labels, to see whether the model is less sure of them; None takes everyday
    sentences, `()` none. Only the model of a whole text's label is asked."""
    baseline_max_length: int = 128
    """Tokens that the baseline's frozen encoder sees of a text."""
    baseline_strength: float = 20.0
    """Inverse regularisation strength of the baseline's logistic regression."""

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("batch_size", 1, 4096),
            ("perturbed_rows", 0, 100_000),
            ("baseline_max_length", 8, 512),
            ("baseline_strength", 1e-4, 1e4),
        ):
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ValueError(f"{name}={value!r}: choose {lowest} to {highest}")
        if isinstance(self.slices, str) or len(set(self.slices)) != len(self.slices):
            raise ValueError(f"slices={self.slices!r}: name each column once, in a tuple")
        if isinstance(self.outside, str):
            raise ValueError("outside: give texts in a tuple, not one text")

    @property
    def answers_only(self) -> EvaluationSpec:
        """The same without all that is for people: for a model that is only compared, or compared with."""
        return replace(self, slices=(), perturbed_rows=0, outside=())


@dataclass(frozen=True, kw_only=True, slots=True)
class GateSpec:
    """What a model must reach before it may go live."""

    min_score: float = 0.9
    """Floor on the held-out rows, 0 to 1: of the accuracy of texts, of the strict F1 of spans."""
    max_score_drop: float = 0.01
    """Largest loss of it against the live model on the same rows, 0 to 1."""
    min_effect: float = 0.002
    """A smaller loss than that is none, however many rows show it, 0 to 1."""
    max_chance: float = 0.01
    """A loss from `min_effect` on fails too if two equally good models differ so much with less than this chance."""
    max_forgetting: float = 0.05
    """Largest loss against the oldest release on its own test rows, 0 to 1, if chance explains it as little."""

    min_slice_score: float | None = None
    """Floor of every part of the rows that the evaluation tells, 0 to 1; None: none. Parts of less than 30 rows are
    left out, and one fails only where the upper end of its range is below: of many parts some are low by chance."""
    max_calibration_error: float | None = None
    """Largest expected calibration error, 0 to 1; None: any."""
    min_stays: float | None = None
    """Least share of answers that stay when texts are written carelessly, 0 to 1, in whichever way; None: any."""

    def __post_init__(self) -> None:
        for name in ("min_score", "max_score_drop", "min_effect", "max_chance", "max_forgetting"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}={value!r}: choose 0 to 1")
        for name in ("min_slice_score", "max_calibration_error", "min_stays"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise ValueError(f"{name}={value!r}: choose 0 to 1, or None")
