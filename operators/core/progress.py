"""How long work tells where it is: a callable that stages are given and call as they go."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""(done, total, note): `progress(120, 540, "loss 0.231")`."""


def no_progress(done: int, total: int, note: str) -> None:
    """Drop the news."""
