"""Which values a trial takes: drawn from those of the trials before it, so the same ones at every try."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import optuna

from operators.core.tuning.spec import Choices, Range, SearchSpec, Value

Values = Mapping[str, Value]


class Suggestions:
    """Asked for the values of a trial, and told how it went, in turn."""

    def __init__(self, spec: SearchSpec) -> None:
        self._spec = spec
        self._distributions = {one.name: _distribution(one) for one in spec.space}
        # Its own log would tell every trial a second time.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        samplers = optuna.samplers
        by_tpe = spec.method == "tpe"
        self._study = optuna.create_study(
            sampler=samplers.TPESampler(seed=spec.seed) if by_tpe else samplers.RandomSampler(seed=spec.seed)
        )
        self._grid = _grid(spec) if spec.method == "grid" else None
        self._asked: optuna.trial.Trial | None = None

    def ask(self) -> Values | None:
        """Return the next trial's values; None after the last point of a grid."""
        if self._grid is not None:
            return next(self._grid, None)
        self._asked = self._study.ask(self._distributions)
        return dict(self._asked.params)

    def tell(self, losses: Sequence[float], *, is_pruned: bool) -> None:
        """Take in the held-out loss after each epoch of the trial that was asked for last; none if it failed."""
        if self._asked is None:
            return
        for epoch, loss in enumerate(losses):
            self._asked.report(loss, epoch)
        if not losses:
            self._study.tell(self._asked, state=optuna.trial.TrialState.FAIL)
        elif is_pruned:
            self._study.tell(self._asked, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(self._asked, min(losses))


def _distribution(parameter: Choices | Range) -> optuna.distributions.BaseDistribution:
    if isinstance(parameter, Choices):
        return optuna.distributions.CategoricalDistribution(parameter.values)
    low, high = parameter.lowest, parameter.highest
    if isinstance(low, int) and isinstance(high, int):
        return optuna.distributions.IntDistribution(low, high, log=parameter.is_log)
    return optuna.distributions.FloatDistribution(low, high, log=parameter.is_log)


def _grid(spec: SearchSpec) -> Iterator[Values]:
    names = [one.name for one in spec.space]
    for point in itertools.product(*(one.values for one in spec.space if isinstance(one, Choices))):
        yield dict(zip(names, point, strict=True))
