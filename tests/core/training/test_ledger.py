"""Every second of a training is accounted for, once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.training.job import write_record
from operators.core.training.ledger import KINDS, Ledger, account, reached

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from operators.core.training.energy import WATTS_PER_CORE, Meter  # noqa: E402
from operators.core.training.flops import Work, peak_flops  # noqa: E402

CPU = torch.device("cpu")
SECONDS = st.floats(0.0, 1000.0)


def spent(document: dict[str, Any]) -> float:
    """Return the sum of all seconds of an account."""
    kinds = document["spent"]
    return float(kinds["useful"] + kinds["repeated"] + sum(kinds["waiting"].values()) + sum(kinds["idle"].values()))


@given(gangs=st.lists(st.tuples(SECONDS, st.lists(SECONDS, min_size=len(KINDS), max_size=len(KINDS))), max_size=4))
def test_an_account_adds_up_to_the_time_that_went_by(
    tmp_path_factory: pytest.TempPathFactory, gangs: list[tuple[float, list[float]]]
) -> None:
    """Whatever gangs came one after the other, with time between them that nobody trained in."""
    folder, now = tmp_path_factory.mktemp("ledger"), 1000.0
    for number, (pause, seconds) in enumerate(gangs):
        born = now + pause
        now = born + sum(seconds)
        record = {"tokens": 0, "flops": 0.0, "peak_flops": 0.0, "joules": 1.0, "energy": "estimated", "reached": 0}
        times = {"from": born, "until": now, "seconds": dict(zip(KINDS, seconds, strict=True))}
        write_record(folder / f"{number}.json", record | times)
    document = account(folder, 990.0, now + 5.0, 2)

    assert spent(document) == pytest.approx(now + 5.0 - 990.0, abs=0.01)
    assert document["spent"]["idle"]["between"] == pytest.approx(15.0 + sum(pause for pause, _ in gangs), abs=0.01)
    assert document["joules"] == (len(gangs) or None)


def test_a_gang_s_time_has_no_gap_and_steps_done_again_are_repeated(tmp_path: Path) -> None:
    """Of steps 2 and 3 the first had been done before; its record says what a clock says."""
    born = time.time() - 0.1
    first = Ledger(born)
    first.charge_step(2)
    first.write(tmp_path, Work(), 1.0, Meter(CPU, 1))
    again = Ledger(born + 0.05, reached(tmp_path))
    again.charge("starting")
    again.charge_step(2)
    is_repeated = again.seconds["repeated"] > 0 and not again.seconds["useful"]
    time.sleep(0.05)
    again.charge_step(3)

    assert reached(tmp_path) == 3
    assert is_repeated
    assert again.seconds["useful"] >= 0.05
    assert sum(again.seconds.values()) == pytest.approx(time.time() - (born + 0.05), abs=0.02)


def test_utilisation_is_what_was_done_of_what_the_device_does_at_most(tmp_path: Path) -> None:
    """A layer of 4 x 3 weights on rows of 2 and 3 tokens: 6 operations a weight and token, 4 where it is frozen."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 1).requires_grad_(False))
    work = Work.of(model)
    work.add(torch.tensor([2, 3]).numpy())
    ledger = Ledger(time.time() - 10.0)
    ledger.charge("useful")
    ledger.write(tmp_path, work, 33.0, Meter(CPU, 1))
    document = account(tmp_path, 0.0, time.time(), 2)

    assert (work.tokens, work.flops) == (5, 5 * (12 * 6 + 3 * 4))
    assert document["tokens_per_second"] == pytest.approx(2 * 5 / 10, rel=0.05)
    assert document["flops_utilisation"] == pytest.approx(420 / 10 / 33, rel=0.05)


def test_energy_without_a_meter_is_called_estimated() -> None:
    """It follows from the processor's seconds."""
    started = time.process_time()
    reading = Meter(CPU, 2).read()

    assert reading["energy"] == "estimated"
    assert reading["joules"] == pytest.approx(started * 2 * WATTS_PER_CORE, rel=0.05)


def test_the_device_s_peak_is_measured() -> None:
    """Nothing multiplies less than a billion or more than ten quadrillion times a second."""
    assert 1e9 < peak_flops(CPU, torch.float32) < 1e16
