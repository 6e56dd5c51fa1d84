"""What is live of a recipe: by the release stream, and by each server's own word."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from operators.core.deployment.client import Server, Serving
from operators.core.deployment.releases import Release
from operators.core.deployment.scrape import Sample
from operators.core.errors import NightshiftError
from operators.core.overview.dated import read_newest
from operators.core.settings import ServingSettings
from operators.core.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """How good the live model is, as its gate found it."""

    evaluation: str
    """Digest of the evaluation."""
    measure: str
    score: float
    baseline_score: float | None
    """Of a cheap probe on the same rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Live:
    """The release that shall answer for a recipe."""

    recipe: str
    release: str
    """Digest of the release."""
    model: str
    version: str
    day: str
    """Of the newest data in it."""
    since: datetime.datetime | None
    """When it went live, by the endpoints' clocks; None where none tells."""
    proof: Proof | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerState:
    """One model server, asked for one recipe."""

    name: str
    serving: Serving | None
    """None where it does not answer, or answers for no such recipe."""
    counted: Mapping[str, Sample]
    """Since it was started, by version."""
    reason: str = ""
    """Why it is not serving."""

    @property
    def answered(self) -> float:
        """Return how many requests it answered since it was started."""
        return sum(sample.answered for sample in self.counted.values())

    @property
    def failed(self) -> float:
        """Return how many requests it failed since it was started."""
        return sum(sample.failed for sample in self.counted.values())

    def serves(self, version: str) -> bool:
        """Say whether requests reach that version there."""
        return self.serving is not None and version in (self.serving.current, self.serving.candidate)


def read_live(store: Store, recipe: str) -> Live | None:
    """Return what shall be live, None before the first release.

    Raises:
        StorageError: The store does not tell.
    """
    head = read_newest(store, f"release-{recipe}")
    if head is None:
        return None
    release = Release.read(store, head.digest)
    return Live(
        recipe=recipe,
        release=release.digest,
        model=release.manifest.input("model").manifest or "",
        version=release.version,
        day=release.day,
        since=head.at,
        proof=_proof(store, release),
    )


def read_server(url: str, recipe: str, settings: ServingSettings) -> ServerState:
    """Return what a server says it serves of a recipe. It is asked once; one that hangs is waited for."""
    try:
        with Server(url, recipe, settings.token, timeout_seconds=0.0, ca_file=settings.ca_file) as server:
            return ServerState(name=server_name(url), serving=server.serving(), counted=server.scrape().everything)
    except NightshiftError as error:
        return ServerState(name=server_name(url), serving=None, counted={}, reason=str(error))


def server_name(url: str) -> str:
    """Return what a server is called on a page: its address, without the scheme."""
    return url.split("://")[-1].rstrip("/")


def traffic(servers: Iterable[ServerState]) -> dict[str, float]:
    """Return the share of the requests by version, the mean over the servers that answer, largest first."""
    serving = [one.serving for one in servers if one.serving is not None and one.serving.current is not None]
    shares: dict[str, float] = {}
    for one in serving:
        given = one.share if one.candidate else 0.0
        for version, share in ((one.current, 1 - given), (one.candidate, given)):
            if version and share:
                shares[version] = shares.get(version, 0.0) + share / len(serving)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _proof(store: Store, release: Release) -> Proof | None:
    verdict = release.manifest.input("verdict").manifest
    evaluation = store.manifest(verdict).input("evaluation").manifest if verdict else None
    if evaluation is None:
        return None
    facts = store.manifest(evaluation).facts
    return Proof(
        evaluation=evaluation,
        measure=str(facts["measure"]),
        score=float(facts["score"]),
        baseline_score=facts.get("baseline_score"),
    )
