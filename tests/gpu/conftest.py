"""What the tests of a GPU share: a reason to be skipped without one, and how they print what they measured."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True, scope="session")
def _gpu() -> None:
    """Skip where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device and a CUDA build of torch")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a measured figure although pytest holds output back."""

    def print_it(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", flush=True)

    return print_it
