"""What a command answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType

from operators.core.errors import NightshiftError


class WrongUse(NightshiftError):
    """The command line asks for something that is not there, or not clear."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One answer in two forms."""

    document: Any
    """Plain JSON, for `--json`."""
    lines: tuple[RenderableType, ...]
    """For people."""
    is_good: bool = True
    """Whether the check that was asked for passed."""
