"""The deploy controller: brings a judged model to every server, step by step, and back by itself when it fails.

Killed anywhere it goes on: the release stream says what shall be live, the log how far the candidate came, and each
server what it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from operators.core.deployment.client import Server, bring, highest_order
from operators.core.deployment.golden import golden_requests
from operators.core.deployment.releases import DeployLog, Release, ReleaseLine, Wanted, make_release
from operators.core.deployment.roll_back import Deployed, note_rollback
from operators.core.deployment.rollout import Rollout
from operators.core.deployment.spec import DeploymentSpec
from operators.core.deployment.watch import check_golden
from operators.core.errors import SignatureRefused
from operators.core.progress import Progress, no_progress
from operators.core.signing import check_signature
from operators.core.storage import Store


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
        recipe: Its name.
        verdict: Digest of the gate's verdict, which names the model.
        trusted: Public keys that the gate may have signed it with.
        spec: Steps and limits.
        by_name: The user asks for this model: also when a later day is live, or when it was rolled back.
        progress: Told of every step.

    Raises:
        GateFailed, SignatureRefused: The verdict does not let this model go live, or is not the gate's word.
        HealthCheckFailed: The candidate failed; the live release answers everything again.
        DeploymentError: A server stays away, or (`Overtaken`) somebody else has gone on; a retry goes on from there.
    """
    wanted = Wanted.read(store, recipe, verdict, trusted)
    note_rollback(store, servers, recipe)
    line, log = ReleaseLine(store, recipe), DeployLog(store, recipe, above=highest_order(servers))
    reason = _why_nothing_to_do(line, log, wanted, by_name, lambda live: _would_load(store, live, trusted))
    release = None if reason else make_release(store, wanted)
    _end_unfinished(line, log, release, wanted)
    if release is None:
        return settle(store, servers, line, log, spec, str(reason))
    golden = golden_requests(store, release.manifest, spec.golden_rows)
    Rollout(servers, line, log, release, golden, spec, progress).run()
    note = f"{release.version} is live"
    return Deployed(release=release.digest, version=release.version, is_changed=True, repaired=(), note=note)


def _end_unfinished(line: ReleaseLine, log: DeployLog, release: Release | None, wanted: Wanted) -> None:
    """Have on record what became of a candidate whose controller was killed, unless it is the one to go on with."""
    left = log.unfinished
    if left is None or (release is not None and left.digest == release.digest):
        return
    if line.live is not None and left.digest == line.live.digest:
        log.note("live", left)
    else:
        log.note("withdrawn", left, reason=f"its controller ended, and {wanted.version} was deployed next")


def settle(
    store: Store, servers: Sequence[Server], line: ReleaseLine, log: DeployLog, spec: DeploymentSpec, note: str
) -> Deployed:
    """Have every server serve what the line says is live, and prove it by golden requests."""
    live = line.live
    assert live is not None
    log.catch_up(live)
    wanted = replace(line.serving(), order=log.order)
    golden = golden_requests(store, live.manifest, spec.golden_rows)
    repaired = tuple(server.url for server in servers if bring(server, wanted, tidy=True))
    for server in servers:
        check_golden(server, live.version, golden, len(servers))
    return Deployed(release=live.digest, version=live.version, is_changed=False, repaired=repaired, note=note)


def _would_load(store: Store, release: Release, trusted: Collection[str]) -> bool:
    """Say whether a server that does not hold a release would take it: none takes the word of a key given up."""
    try:
        check_signature(store, str(release.manifest.input("verdict").manifest), trusted)
    except SignatureRefused:
        return False
    return True


def _why_nothing_to_do(
    line: ReleaseLine, log: DeployLog, wanted: Wanted, by_name: bool, would_load: Callable[[Release], bool]
) -> str | None:
    live = line.live
    if live is None:
        return None
    if live.model == wanted.model:
        return f"{live.version} is live already" if would_load(live) else None
    if by_name:
        return None
    if live.day > wanted.day:
        return f"{live.version} is live, from a later day than {wanted.version}: deploy that one by name if you want it"
    if log.last.get("action") == "rolled_back_to" and log.last.get("left_model") == wanted.model:
        return f"{wanted.version} was rolled back to {live.version}: deploy it by name if you want it again"
    if log.last.get("action") == "withdrawn" and log.last.get("left_model") == wanted.model:
        return f"{wanted.version} was taken back by {log.last['by']}: deploy it by name if you want it again"
    return None
