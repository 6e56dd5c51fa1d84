"""The simulation finds every rule that is left out of the protocol."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.faults.simulation.mutants import MUTANTS, Mutant
from tests.faults.simulation.verdict import simulate

SEEDS = 3000
"""At most: one in two hundred to four hundred shows the rarest."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.ERROR)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.faults
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
def test_a_rule_left_out_shows(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed shows a violation when one rule is missing, and none when it is back."""
    mutant.apply(monkeypatch)
    for seed in range(mutant.start, mutant.start + SEEDS):
        if simulate(seed, mutant.scenario).violations:
            monkeypatch.undo()
            assert not simulate(seed, mutant.scenario).violations
            return
    pytest.fail(f"{SEEDS} seeds of {mutant.scenario} did not notice: {mutant.apply.__doc__}")
