"""The learning rates rise, then fall as the schedule says; only matrices decay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from operators.core.models.encoder import build_model  # noqa: E402
from operators.core.training.adapters import choose_trained  # noqa: E402
from operators.core.training.optimisation import make_optimiser, rate_factor  # noqa: E402
from operators.core.training.spec import Schedule  # noqa: E402
from tests.core.training.gang import loop_spec  # noqa: E402
from tests.core.training.tiny import CONFIG  # noqa: E402


def test_rates_rise_to_the_peak_and_fall_to_the_last_step() -> None:
    """With a tenth of 100 steps of warm-up the peak is at step 9 and 10, the last step is the smallest of the fall."""
    factors = [rate_factor(step, 100, 0.1, "linear") for step in range(100)]

    assert factors[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[99] == pytest.approx(1 / 90)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_without_warm_up_the_first_step_has_the_peak_rate(schedule: Schedule) -> None:
    """No share of warm-up, no rise."""
    assert rate_factor(0, 10, 0.0, schedule) == 1.0


def test_a_cosine_falls_as_torch_has_it() -> None:
    """Each step's factor is that of torch's own schedule, which ends at zero one step after ours."""
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=40)
    expected = []
    for _ in range(40):
        expected.append(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()

    assert [rate_factor(step, 40, 0.0, "cosine") for step in range(40)] == pytest.approx(expected)


def test_a_constant_rate_stays_at_its_peak() -> None:
    """After the warm-up nothing changes it."""
    assert {rate_factor(step, 100, 0.1, "constant") for step in range(9, 100)} == {1.0}


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_only_matrices_decay_and_frozen_tables_are_left_out(optimiser: str, tmp_path: Path) -> None:
    """Four groups: each part's matrices with decay, its vectors without, at the part's rate; every parameter once."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    spec = loop_spec(optimiser=optimiser, weight_decay=0.25, momentum=0.7)
    model = build_model(tmp_path, "text_classification", 2)
    choose_trained(model, spec, 10)
    groups = make_optimiser(model, spec).param_groups

    assert [(group["lr"], group["weight_decay"]) for group in groups] == [
        (spec.encoder_rate, 0.25), (spec.encoder_rate, 0.0), (spec.head_rate, 0.25), (spec.head_rate, 0.0),
    ]  # fmt: skip
    assert all((parameter.ndim > 1) == bool(group["weight_decay"]) for group in groups for parameter in group["params"])
    ids = [id(parameter) for group in groups for parameter in group["params"]]
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert sorted(ids) == sorted(map(id, trained))
    assert not any(parameter.requires_grad for parameter in model.encoder.get_submodule("embeddings").parameters())
    assert all(0.7 in (group.get("momentum"), *group.get("betas", ())) for group in groups)
