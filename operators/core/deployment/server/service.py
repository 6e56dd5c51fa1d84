"""One model's server, whichever protocol asks it: what it holds, what it answers, and whether it does."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from operators.core.deployment.server.batcher import Batcher
from operators.core.deployment.server.inference import Inference, NotServed
from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.metrics import ServerMetrics
from operators.core.deployment.server.protocol import (
    EXTENSIONS,
    VERSION,
    InferRequest,
    Tensor,
    model_metadata,
    output_tensors,
)
from operators.core.deployment.server.versions import Versions

if TYPE_CHECKING:
    from operators.core.models.classifier import Classifier


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What a version answered."""

    version: str
    tensors: Sequence[Tensor]


class Service:
    """Answers for one model."""

    def __init__(self, *, name: str, model: str, versions: Versions, limits: Limits) -> None:
        """Answer nothing yet.

        Args:
            name: What this server calls itself.
            model: The model it answers for, the recipe's name.
            versions: What it holds.
            limits: What it takes.
        """
        self.name, self.model, self.versions, self.limits = name, model, versions, limits
        self.metrics = ServerMetrics(model, versions)
        self.is_draining = False
        """Set when it is told to end: from then on it calls itself not ready, and answers all the same."""
        self._batcher = Batcher(limits, self.metrics)
        self._inference = Inference(versions, self.metrics, self._batcher, limits.request_seconds)
        self._restoring: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Be live at once, and ready when what was served before is loaded again."""
        self._batcher.open()
        self._restoring = asyncio.create_task(asyncio.to_thread(self.versions.restore))

    async def close(self) -> None:
        """Return when nothing is computed any more."""
        if self._restoring:
            await self._restoring
        await asyncio.to_thread(self._batcher.close)

    @property
    def is_ready(self) -> bool:
        """Whether new requests shall come here."""
        return self.versions.traffic.current is not None and not self.is_draining

    def has(self, version: str | None) -> bool:
        """Say whether a version answers, or any where none is named."""
        return self.versions.get(version or self.versions.traffic.current) is not None

    def check_room(self) -> None:
        """Return if another request may come in; raises `QueueFull` where not."""
        self._batcher.check_room()

    async def answer(self, request: InferRequest, version: str | None) -> Answered:
        """Return what a version says, the one named or the one that the split chooses.

        Raises:
            BadRequest: The request asks for what the model does not give.
            NotServed: No version is resident, or not the one asked for.
            Overloaded: There is no room, or no time left.
            InferenceFailed: The model broke.
        """
        resident, answers = await self._inference.answer(request, version)
        tensors = output_tensors(request, resident.classifier.card, answers)
        return Answered(version=resident.version, tensors=tensors)

    def metadata(self) -> dict[str, Any]:
        """Return what the protocol calls server metadata."""
        return {"name": self.name, "version": VERSION, "extensions": list(EXTENSIONS)}

    def model_metadata(self, version: str | None) -> dict[str, Any]:
        """Return what the protocol calls model metadata, of one version or of all.

        Raises:
            NotServed: That version is not resident.
        """
        resident = self.versions.get(version or self.versions.traffic.current)
        if version and resident is None:
            raise NotServed(f"version {version} of {self.model} is not loaded")
        classifier: Classifier | None = resident.classifier if resident else None
        names = [version] if version else sorted(self.versions.traffic.releases)
        return model_metadata(self.model, names, classifier.card if classifier else None)

    def index(self, *, only_ready: bool = False) -> list[dict[str, str]]:
        """Return a line for each version, loaded or refused."""
        lines = [
            {"name": self.model, "version": version, "state": "READY", "reason": ""}
            for version in self.versions.traffic.releases
        ]
        if only_ready:
            return lines
        return lines + [
            {"name": self.model, "version": version, "state": "UNAVAILABLE", "reason": why}
            for version, why in self.versions.refusals.items()
        ]
