"""A rank's random state survives the way through a checkpoint."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from operators.core.training.state import set_generator  # noqa: E402


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_every_rank_draws_on_where_it_stopped(rank: int) -> None:
    """Each row of the gathered states gives its rank the numbers that would have come next."""
    states, expected = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        states.append(torch.get_rng_state())
        expected.append(torch.rand(5))
    set_generator(torch.stack(states)[rank], torch.device("cpu"))

    assert torch.equal(torch.rand(5), expected[rank])
