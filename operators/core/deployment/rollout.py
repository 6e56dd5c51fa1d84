"""The phases of one release: staged, prepared, committed, then its shares; each noted before the servers move."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from operators.core.deployment.client import Server, Serving, bring
from operators.core.deployment.golden import Golden
from operators.core.deployment.releases import DeployLog, Release, ReleaseLine
from operators.core.deployment.server.traffic import TWIN
from operators.core.deployment.spec import DeploymentSpec
from operators.core.deployment.watch import Pair, ProvenWorse, check_golden, watch, watch_shadow
from operators.core.errors import DeploymentError, HealthCheckFailed, Overtaken
from operators.core.progress import Progress


@dataclass(slots=True)
class Rollout:
    """Brings one release from the store to all requests, or gives every request back to what was live.

    A step is appended to the stream before the servers move, and they take no earlier step after a later one: of two
    controllers the one that appends last goes on, and the other stops at its next step or at the first server.
    """

    servers: Sequence[Server]
    line: ReleaseLine
    log: DeployLog
    release: Release
    golden: Sequence[Golden]
    spec: DeploymentSpec
    progress: Progress
    before: Serving = field(init=False)
    reached: float = field(init=False)
    steps: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.before = self.line.serving()
        self.reached, self.steps = self.log.steps_left(self.release, self.spec.shares)
        live = self.line.live
        if live is None or live.model == self.release.model:
            self.steps = []  # nothing to compare with, or nothing to compare: the same model under a new verdict

    def run(self) -> None:
        """Have the release live on every server.

        Raises:
            HealthCheckFailed: The candidate failed; what was live answers everything again.
            Overtaken: Another controller or a person has gone on; nothing was touched since.
            DeploymentError: A server stays away; what was live answers everything, and a retry begins anew.
        """
        try:
            if not self.reached:
                self._prepare()
            self._raise_shares()
            self.line.append(self.release.digest)
        except Overtaken:
            raise
        except DeploymentError as failure:
            self._withdraw(str(failure))
            raise
        self.log.note("live", self.release)
        for server in self.servers:
            bring(server, replace(self.line.serving(), order=self.log.order), tidy=True)
        self._tell(len(self.steps), f"{self.release.version} is live on {len(self.servers)} servers")

    def _prepare(self) -> None:
        """Have every server hold the candidate, warm and proven, and then commit to it: what follows has callers."""
        self.log.note("staged", self.release)
        for index, server in enumerate(self.servers):
            self.progress(index, len(self.servers) + len(self.steps), f"{server.url} loads {self.release.version}")
            bring(server, self._beside())
            check_golden(server, self.release.version, self.golden, self._pair().golden_tests)
        self.log.note("prepared", self.release, servers=[server.url for server in self.servers])
        self.log.note("committed", self.release)
        if self.steps and self.spec.rehearses_rollback:
            self._rehearse()
        if self.steps and self.spec.shadow_sample:
            self.log.note("shadow", self.release)
            self._bring_all(replace(self._beside(), candidate=self.release.version, is_shadow=True))
            self.log.note("shadow", self.release, compared=watch_shadow(self._pair()))

    def _rehearse(self) -> None:
        """Have a twin that answers wrongly on purpose thrown out of the first share, as a bad release would be.

        Raises:
            HealthCheckFailed: It was not: then nothing would throw out a bad release either.
        """
        twin, share = self.release.version + TWIN, self.spec.shares[0]
        self.log.note("rehearsing", self.release, twin=twin, twin_share=share)
        beside = self._beside()
        releases = {**beside.releases, twin: self.release.digest}
        self._bring_all(replace(beside, releases=releases, candidate=twin, share=share))
        try:
            watch(replace(self._pair(), candidate=twin), share)
        except ProvenWorse as thrown_out:
            reason = str(thrown_out)[:500]
        else:
            raise HealthCheckFailed(
                f"the rehearsal failed: {twin}, whose labels are exchanged, passed at {share:.0%}. Look at the golden "
                "rows of this release, and at the limits; a bad release would pass, too"
            )
        self._bring_all(beside, tidy=True)
        self.log.note("rehearsed", self.release, reason=reason)

    def _raise_shares(self) -> None:
        for index, share in enumerate(self.steps):
            self._tell(index, f"{self.release.version} answers {share:.0%}")
            self.log.note("share", self.release, share=share)
            self._bring_all(replace(self._beside(), candidate=self.release.version, share=share))
            self.log.note("passed", self.release, share=share, compared=watch(self._pair(), share))

    def _withdraw(self, reason: str) -> None:
        """Note why, then give every request back; a server that is away gets it back with the next controller."""
        with contextlib.suppress(Overtaken):
            self.log.note("withdrawn", self.release, reason=reason[:500])
        for server in self.servers:
            with contextlib.suppress(DeploymentError):
                bring(server, replace(self.before, order=self.log.order), tidy=True)

    def _beside(self) -> Serving:
        """Return what a server serves that holds the candidate and asks it nothing."""
        releases = {**self.before.releases, self.release.version: self.release.digest}
        return replace(self.before, releases=releases, order=self.log.order)

    def _pair(self) -> Pair:
        live = self.before.current or self.release.version
        return Pair(servers=self.servers, candidate=self.release.version, live=live, golden=self.golden, spec=self.spec)

    def _bring_all(self, wanted: Serving, *, tidy: bool = False) -> None:
        for server in self.servers:
            bring(server, wanted, tidy=tidy)

    def _tell(self, steps_done: int, note: str) -> None:
        total = len(self.servers) + len(self.steps)
        self.progress(len(self.servers) + steps_done, total, note)
