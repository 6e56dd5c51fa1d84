"""Shadow mode: a candidate answers copies of callers' requests, and nobody is given its answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from operators.core.deployment.server.arms import Arms
from operators.core.deployment.server.batcher import Batcher, Overloaded
from operators.core.deployment.server.protocol import InferRequest
from operators.core.deployment.server.traffic import Traffic
from operators.core.deployment.server.versions import Resident, Versions

if TYPE_CHECKING:
    from operators.core.models.classifier import Answer

LOG = logging.getLogger("nightshift.server")
COPY_SECONDS = 5.0
"""Longest that a copy may wait for its answer."""


class Shadow:
    """Has a candidate answer one copy at a time; a request that comes while it does is not copied."""

    def __init__(self, versions: Versions, arms: Arms, batcher: Batcher) -> None:
        self._versions, self._arms, self._batcher = versions, arms, batcher
        self._copying: asyncio.Task[None] | None = None

    def copy(
        self, traffic: Traffic, current: Resident, request: InferRequest, answers: Sequence[Answer], seconds: float
    ) -> None:
        """Ask the candidate what the current version has just answered, unless it is busy with another copy."""
        candidate = self._versions.get(traffic.candidate)
        if candidate is None or (self._copying and not self._copying.done()):
            return
        self._arms.answered(current, "shadow", answers, seconds)
        self._copying = asyncio.create_task(self._ask(candidate, request.texts, answers))

    async def _ask(self, candidate: Resident, texts: Sequence[str], current: Sequence[Answer]) -> None:
        begun = time.monotonic()
        try:
            answers = await self._batcher.answers(candidate, tuple(texts), COPY_SECONDS)
        except Overloaded:
            return
        except Exception as error:  # whatever a model's graph raises: the candidate's failure, and nobody's loss
            LOG.error("version %s failed on a copy: %s", candidate.version, type(error).__name__)
            self._arms.failed(candidate.version, "shadow")
        else:
            self._arms.answered(candidate, "shadow", answers, time.monotonic() - begun)
            self._arms.compared(candidate.version, current, answers)
