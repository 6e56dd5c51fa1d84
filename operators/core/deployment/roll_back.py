"""The rollback controller: what was live before becomes live again, on the servers first and in the streams after.

Each server still holds the former release and is told by hand to answer with it, which needs neither store nor
scheduler nor database. It keeps a record of that. Until a controller that reaches the store has brought the record into
the streams, a server takes no other traffic, so nothing undoes a rollback that it does not know of.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from typing import Any

from operators.core.deployment.client import Server, Serving, bring, highest_order
from operators.core.deployment.releases import DeployLog, Release, ReleaseLine
from operators.core.errors import DataError, DeploymentError, HealthCheckFailed
from operators.core.progress import Progress, no_progress
from operators.core.storage import Store

LOG = logging.getLogger("nightshift.deployment")


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


def roll_back(
    store: Store,
    servers: Sequence[Server],
    *,
    recipe: str,
    request: str,
    by: str = "a person",
    progress: Progress = no_progress,
) -> Deployed:
    """Have the former release live on every server, and that on record; see `switch_back`.

    Args:
        store: The store.
        servers: Every server of the recipe.
        recipe: The recipe's name.
        request: Names this wish, e.g. the run's id: the same wish is granted once however often it is tried.
        by: Who wishes it.
        progress: Told of every server.

    Raises:
        DataError: Nothing was live before.
        DeploymentError: A server stays away, or another controller is at work; a retry goes on.
        StorageError: The servers answer with the former release, and the next controller puts it on record.
    """
    hand = switch_back(servers, request=request, by=by, progress=progress)
    is_changed = not hand["is_noted"]
    note_rollback(store, servers, recipe)
    return Deployed(
        release=str(hand["to_release"]), version=str(hand["to_version"]), is_changed=is_changed, repaired=(),
        note=f"{hand['to_version']} is live again",
    )  # fmt: skip


def switch_back(
    servers: Sequence[Server], *, request: str, by: str, progress: Progress = no_progress
) -> Mapping[str, Any]:
    """Have every server answer with the former release; return the record of it that they keep. Seconds, no store.

    While a candidate answers a share, it is the candidate that goes: what is live stays.

    Raises:
        DataError: There is nothing to go back to.
        DeploymentError: A server stays away, or does not hold the release; the others have switched.
    """
    hand: Mapping[str, Any] | None = None
    refused: list[Exception] = []
    with ThreadPoolExecutor(max_workers=len(servers)) as threads:
        # In the order in which they answer: one that is away must not keep the others waiting.
        asked = {threads.submit(server.serving): server for server in servers}
        for index, answer in enumerate(as_completed(asked)):
            try:
                now = answer.result()
                if now.by_hand is not None and now.by_hand["request"] == request:
                    hand = now.by_hand
                    continue
                hand = hand or _planned(now, request, by)
                progress(index, len(servers), f"{asked[answer].url} goes back to {hand['to_version']}")
                _switch(asked[answer], now, hand)
            except (DataError, DeploymentError) as error:
                refused.append(error)
    if hand is None:
        raise next((error for error in refused if isinstance(error, DataError)), refused[0])
    if refused:
        told = "; ".join(str(error) for error in refused)
        raise DeploymentError(f"{hand['to_version']} answers, but not everywhere: {told}. Try again")
    return hand


def note_rollback(store: Store, servers: Sequence[Server], recipe: str) -> None:
    """Have a rollback that was made on the servers in the streams, and on every server what they then say.

    A server that refuses what the others went back to goes on with what it has.

    Raises:
        DeploymentError: A server stays away, or another controller is at work; a retry goes on.
    """
    hands = [hand for server in servers if (hand := server.serving().by_hand) and not hand["is_noted"]]
    if not hands:
        return
    hand = hands[0]
    line, log = ReleaseLine(store, recipe), DeployLog(store, recipe, above=highest_order(servers))
    target, left = (Release.read(store, str(hand[f"{end}_release"])) for end in ("to", "from"))
    wish = {"request": hand["request"], "left_model": left.model, "by": hand["by"], "done_at": hand["at"]}
    is_begun = log.last.get("request") == hand["request"]
    if line.live is None or target.digest != line.live.digest or (is_begun and log.last["action"] == "roll_back"):
        if not is_begun:
            log.note("roll_back", target, **wish)
        line.append(target.digest)
        log.note("rolled_back_to", target, **wish)
    elif not is_begun:
        log.note("withdrawn", left, reason=f"{hand['by']} took it back at {hand['at']}", **wish)
    wanted = replace(line.serving(), order=log.order, by_hand={**hand, "is_noted": True})
    for server in servers:
        try:
            bring(server, wanted, tidy=True)
        except HealthCheckFailed as refusal:
            # It was emptied since the keys changed. The rollback stands all the same, and the gate's new word mends it.
            LOG.warning("%s does not go back to %s: %s", server.url, wanted.current, refusal)


def _planned(now: Serving, request: str, by: str) -> dict[str, Any]:
    """Return the record of a rollback from what a server serves now."""
    left, target = (now.candidate, now.current) if now.candidate else (now.current, now.former)
    if left is None or target is None:
        raise DataError(
            f"there is no former release to go back to: {'none but this one' if left else 'none'} was ever live, an "
            "erasure forgot what was, or who signed it is trusted no longer and this server was emptied since"
        )
    return {
        "request": request,
        "by": by,
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        "from_version": left,
        "from_release": now.releases[left],
        "to_version": target,
        "to_release": now.releases[target],
        "is_noted": False,
    }


def _switch(server: Server, now: Serving, hand: Mapping[str, Any]) -> None:
    """Have a server answer with the former release, as the step after whatever it serves now."""
    if hand["to_version"] not in now.releases:
        raise DeploymentError(f"{server.url} does not hold {hand['to_version']}")
    former = now.former if now.former != hand["to_version"] else now.current
    server.switch(Serving(current=str(hand["to_version"]), former=former, order=now.order + 1, by_hand=hand))
