"""The deploy controller: brings a judged model to every server, step by step, and back by itself when it fails.

Killed anywhere it goes on: the release stream says what shall be live, the log how far the candidate came, and each
server what it serves.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from operators.core.deployment.client import Server, Serving, bring
from operators.core.deployment.golden import Golden, golden_requests
from operators.core.deployment.releases import DeployLog, Release, ReleaseLine, Wanted, make_release
from operators.core.deployment.spec import DeploymentSpec
from operators.core.deployment.watch import check_golden, watch
from operators.core.errors import DeploymentError
from operators.core.progress import Progress, no_progress
from operators.core.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployed:
    """What a controller found or did."""

    release: str
    """Digest of the release that is live on every server now."""
    version: str
    is_changed: bool
    """Whether another release is live than before."""
    repaired: tuple[str, ...]
    """Servers that did not serve it and do now."""
    note: str
    """Why, in a sentence for people."""


def deploy(
    store: Store,
    servers: Sequence[Server],
    *,
    recipe: str,
    verdict: str,
    trusted: Collection[str],
    spec: DeploymentSpec,
    by_name: bool = False,
    progress: Progress = no_progress,
) -> Deployed:
    """Have a judged model live on every server, or find that there is nothing to do and that all serve what is live.

    Args:
        store: The store.
        servers: Every server of the recipe.
        recipe: The recipe's name.
        verdict: Digest of the gate's verdict, which names the model.
        trusted: Public keys that the gate may have signed it with.
        spec: Steps and limits.
        by_name: The user asks for this model: also when a later day is live, or when it was rolled back.
        progress: Told of every step.

    Raises:
        GateFailed: The verdict does not let this model go live.
        SignatureRefused: The verdict is not the gate's word; nothing was done.
        HealthCheckFailed: The candidate failed; the live release answers everything again.
        DeploymentError: A server stays away, or another controller is at work; a retry goes on.
    """
    wanted = Wanted.read(store, recipe, verdict, trusted)
    line, log = ReleaseLine(store, recipe), DeployLog(store, recipe)
    if reason := _why_nothing_to_do(line, log, wanted, by_name):
        return settle(store, servers, line, spec, reason)
    release = make_release(store, wanted)
    _roll_out(store, servers, line, log, release, spec, progress)
    return Deployed(
        release=release.digest, version=release.version, is_changed=True, repaired=(), note=f"{release.version} is live"
    )


def settle(store: Store, servers: Sequence[Server], line: ReleaseLine, spec: DeploymentSpec, note: str) -> Deployed:
    """Have every server serve what the line says is live, and prove it by golden requests."""
    live, wanted = line.live, line.serving()
    assert live is not None
    golden = golden_requests(store, live.manifest, spec.golden_rows)
    repaired = tuple(server.url for server in servers if bring(server, wanted, tidy=True))
    for server in servers:
        check_golden(server, live.version, golden)
    return Deployed(release=live.digest, version=live.version, is_changed=False, repaired=repaired, note=note)


def _why_nothing_to_do(line: ReleaseLine, log: DeployLog, wanted: Wanted, by_name: bool) -> str | None:
    live = line.live
    if live is None:
        return None
    if live.model == wanted.model:
        return f"{live.version} is live already"
    if by_name:
        return None
    if live.day > wanted.day:
        return f"{live.version} is live, from a later day than {wanted.version}: deploy that one by name if you want it"
    if log.last.get("action") == "rolled_back_to" and log.last.get("left_model") == wanted.model:
        return f"{wanted.version} was rolled back to {live.version}: deploy it by name if you want it again"
    return None


def _roll_out(
    store: Store,
    servers: Sequence[Server],
    line: ReleaseLine,
    log: DeployLog,
    release: Release,
    spec: DeploymentSpec,
    progress: Progress,
) -> None:
    before = line.serving()
    beside = replace(before, releases={**before.releases, release.version: release.digest})
    golden = golden_requests(store, release.manifest, spec.golden_rows)
    reached = log.share_reached(release)
    steps = [share for share in spec.shares if share >= reached] if before.current else []
    try:
        for index, server in enumerate(servers):
            progress(index, len(servers) + len(steps), f"loading {release.version} on {server.url}")
            bring(server, replace(beside, candidate=release.version, share=reached) if reached and steps else beside)
            check_golden(server, release.version, golden)
        for index, share in enumerate(steps):
            progress(len(servers) + index, len(servers) + len(steps), f"{release.version} answers {share:.0%}")
            log.note("share", release, share=share)
            _raise_share(servers, beside, release, share, golden, spec)
        line.append(release.digest)
    except DeploymentError as failure:
        _withdraw(servers, before)
        with contextlib.suppress(DeploymentError):  # another controller's entry came first: it has the word
            log.note("withdrawn", release, reason=str(failure)[:500])
        raise
    for server in servers:
        bring(server, line.serving(), tidy=True)
    log.note("live", release)
    progress(
        len(servers) + len(steps), len(servers) + len(steps), f"{release.version} is live on {len(servers)} servers"
    )


def _raise_share(
    servers: Sequence[Server],
    beside: Serving,
    release: Release,
    share: float,
    golden: Sequence[Golden],
    spec: DeploymentSpec,
) -> None:
    # Counted from before the first request of this share reaches the candidate.
    before = [server.samples() for server in servers]
    for server in servers:
        bring(server, replace(beside, candidate=release.version, share=share))
    watch(servers, release.version, golden, before, spec)


def _withdraw(servers: Sequence[Server], before: Serving) -> None:
    """Give every request back to what was live; a server that is away gets it back with the next controller."""
    for server in servers:
        with contextlib.suppress(DeploymentError):
            bring(server, before, tidy=True)
