"""A rank's random state survives the way through a checkpoint."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from operators.core.training.state import generator, set_generator  # noqa: E402


def test_a_rank_draws_on_where_it_stopped() -> None:
    """The state gives the numbers that would have come next."""
    torch.manual_seed(1)
    state = generator(torch.device("cpu"))
    expected = torch.rand(5)
    set_generator(state, torch.device("cpu"))

    assert torch.equal(torch.rand(5), expected)
