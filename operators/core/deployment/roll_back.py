"""The rollback controller: what was live before becomes live again, as a new entry of the release stream."""

from __future__ import annotations

from collections.abc import Sequence

from operators.core.deployment.client import Server, bring
from operators.core.deployment.deploy import Deployed
from operators.core.deployment.releases import DeployLog, Release, ReleaseLine
from operators.core.errors import DataError
from operators.core.progress import Progress, no_progress
from operators.core.storage import Store


def roll_back(
    store: Store, servers: Sequence[Server], *, recipe: str, request: str, progress: Progress = no_progress
) -> Deployed:
    """Have the former release live on every server; seconds, for each server still holds it.

    Args:
        store: The store.
        servers: Every server of the recipe.
        recipe: The recipe's name.
        request: Names this wish, e.g. the run's id: the same wish is granted once however often it is tried.
        progress: Told of every server.

    Raises:
        DataError: Nothing was live before.
        DeploymentError: A server stays away, or another controller is at work; a retry goes on.
    """
    line, log = ReleaseLine(store, recipe), DeployLog(store, recipe)
    last = log.last
    if last.get("action") == "rolled_back_to" and last.get("request") == request:
        target = Release.read(store, str(last["release"]))
        return _deployed(target, is_changed=False)
    if last.get("action") == "roll_back":
        target, left_model = Release.read(store, str(last["release"])), str(last["left_model"])
    else:
        target, left_model = _former(line, recipe)
        log.note("roll_back", target, request=request, left_model=left_model)
    line.append(target.digest)
    for index, server in enumerate(servers):
        progress(index, len(servers), f"{server.url} goes back to {target.version}")
        bring(server, line.serving())
    log.note("rolled_back_to", target, request=request, left_model=left_model)
    return _deployed(target, is_changed=True)


def _former(line: ReleaseLine, recipe: str) -> tuple[Release, str]:
    """Return the release to go back to and the identity of the model that is left."""
    live, former = line.live, line.former
    if live is None or former is None:
        raise DataError(
            f"{recipe} has no former release to go back to: {'none but this one' if live else 'none'} was ever live, "
            "or an erasure forgot what was"
        )
    return former, live.model


def _deployed(release: Release, *, is_changed: bool) -> Deployed:
    return Deployed(
        release=release.digest, version=release.version, is_changed=is_changed, repaired=(),
        note=f"{release.version} is live again",
    )  # fmt: skip
