"""What a run did and cost, from Airflow's word and the store's accounts."""

from __future__ import annotations

import pytest

from operators.core.overview.night import read_night
from operators.core.overview.prices import PriceList
from operators.core.storage import Store
from tests.core.overview.nights import SPENT, note, run_of, stage, task

ROWS = {"in": 10, "kept": 7, "duplicates": 2, "near_duplicates": 0, "quarantined": {"empty_text": 1}}


def test_a_training_is_told_by_its_ledger_and_others_by_their_seconds(store: Store) -> None:
    """Useful, waiting and lost seconds are those of the account; a stage without one was useful as long as it took."""
    key, dataset = stage(store, "publish_dataset", {"rows": ROWS, "day": "2002-09-26"})
    note(store, key, "publish_dataset", "made")
    key, model = stage(store, "fine_tune", {})
    note(store, key, "fine_tune", "made", spent=SPENT, joules=2000.0, energy="estimated")

    night = read_night(store, run_of(task("publish_dataset", dataset), task("fine_tune", model, lost_seconds=40.0)))

    assert (night.useful_seconds, night.waiting_seconds, night.lost_seconds) == (82.0, 17.0, 1.5)
    assert (night.joules, night.energies) == (2000.0, {"estimated"})
    assert (night.day, night.quarantined, night.count("made")) == ("2002-09-26", 1, 2)


def test_what_was_found_costs_the_seconds_of_finding_it(store: Store) -> None:
    """A training of another night is paid by that night: its ledger is not counted again."""
    key, model = stage(store, "fine_tune", {})
    note(store, key, "fine_tune", "made", run_id="the-night-before", spent=SPENT, joules=2000.0, energy="estimated")
    note(store, key, "fine_tune", "found")

    night = read_night(store, run_of(task("fine_tune", model)))

    assert (night.count("found"), night.useful_seconds, night.joules) == (1, 2.0, 0.0)


def test_tries_that_failed_are_lost(store: Store) -> None:
    """A stage without checkpoints begins again: what its failed tries took was in vain."""
    night = read_night(store, run_of(task("compress", state="failed", lost_seconds=300.0), state="failed"))

    assert (night.lost_seconds, night.useful_seconds) == (300.0, 0.0)


def test_money_is_reckoned_by_the_price_list() -> None:
    """An hour of the machines and a kilowatt-hour, each at its price."""
    prices = PriceList(currency="EUR", machine_hour=1.2, kilowatt_hour=0.3)

    assert prices.money(run_seconds=1800, joules=3.6e6) == pytest.approx(0.9)


@pytest.mark.parametrize("wrong", [{"currency": ""}, {"machine_hour": -1}, {"kilowatt_hour": "0.3"}])
def test_a_price_list_that_is_none_is_refused(wrong: dict) -> None:
    """The message names the field."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PriceList(**{"currency": "EUR", **wrong})
