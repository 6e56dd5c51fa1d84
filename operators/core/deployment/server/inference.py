"""Answering a request: the version that the split chose, and the current one where a candidate breaks."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from operators.core.deployment.server.batcher import Batcher, Overloaded
from operators.core.deployment.server.metrics import ServerMetrics
from operators.core.deployment.server.protocol import InferRequest
from operators.core.deployment.server.shadow import Shadow
from operators.core.deployment.server.versions import Resident, Versions

if TYPE_CHECKING:
    from operators.core.models.classifier import Answer

LOG = logging.getLogger("nightshift.server")


class NotServed(LookupError):
    """No such version is resident."""


class InferenceFailed(RuntimeError):
    """The model broke on a request, and no other version may answer it."""


class Inference:
    """Chooses the version that answers, and has it answer."""

    def __init__(self, versions: Versions, metrics: ServerMetrics, batcher: Batcher, request_seconds: float) -> None:
        """Give each request up to `request_seconds`."""
        self._versions, self._metrics, self._batcher = versions, metrics, batcher
        self._request_seconds = request_seconds
        self._shadow = Shadow(versions, metrics.arms, batcher)

    async def answer(self, request: InferRequest, version: str | None) -> tuple[Resident, list[Answer]]:
        """Return the version that answered and its answers.

        A candidate that breaks costs it a failure and the caller nothing: the current version answers instead.

        Raises:
            NotServed: No version is resident, or not the one asked for.
            Overloaded: There is no room, or no time left.
            InferenceFailed: The model broke and no other version may answer.
        """
        begun = time.monotonic()
        until = begun + min(request.seconds or self._request_seconds, self._request_seconds)
        traffic = self._versions.traffic
        chosen = self._versions.get(version or traffic.version_for(request.id))
        if chosen is None:
            raise NotServed(f"version {version} is not loaded" if version else "no version is loaded yet")
        is_compared = version is None and traffic.is_split
        fallback = None if version or chosen.version == traffic.current else self._versions.get(traffic.current)
        for resident in (chosen, fallback):
            if resident is None:
                break
            try:
                answers = await self._batcher.answers(resident, request.texts, until - time.monotonic())
            except Overloaded:
                raise
            except Exception as error:  # whatever a model's graph raises: it must not take the server along
                LOG.error("version %s failed on a request: %s", resident.version, type(error).__name__)
                self._metrics.failed(resident.version)
                if is_compared and resident is chosen:
                    self._metrics.arms.failed(resident.version, "callers")
            else:
                seconds = time.monotonic() - begun
                self._metrics.answered(resident.version, seconds)
                if is_compared and resident is chosen:
                    self._metrics.arms.answered(resident, "callers", answers, seconds)
                if version is None and traffic.is_shadow:
                    self._shadow.copy(traffic, resident, request, answers, seconds)
                return resident, answers
        raise InferenceFailed(f"version {chosen.version} failed on this request")
