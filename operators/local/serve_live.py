"""Model servers that lost all they had, or are new, are given what the store says is live, before anybody deploys."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

from operators.core.deployment.client import bring, highest_order, open_servers
from operators.core.deployment.releases import DeployLog, ReleaseLine
from operators.core.errors import DeploymentError
from operators.core.settings import ServingSettings, StorageSettings
from operators.core.storage import open_store

_LOAD_SECONDS = 60.0
"""For a server to fetch, check and warm a release."""


def serve_live(storage: StorageSettings, serving: ServingSettings, recipe: str) -> str | None:
    """Have every server answer by the live release, where none of them holds any; return its version if so.

    A server that holds something may have been rolled back by hand: then the next controller, which notes such things
    first, brings them together.

    Args:
        storage: Of the store that says what is live.
        serving: The servers.
        recipe: What they answer for.

    Raises:
        StorageError: What is live cannot be read.
        DeploymentError: A server stays away, refuses the release, or does not answer by it.
    """
    with open_servers(serving, recipe, _LOAD_SECONDS) as servers:
        if any(server.serving().releases for server in servers):
            return None
        with closing(open_store(storage)) as store:
            line = ReleaseLine(store, recipe)
            if line.live is None:
                return None
            wanted = replace(line.serving(), order=DeployLog(store, recipe, above=highest_order(servers)).order)
        for server in servers:
            bring(server, wanted)
            if (answer := server.infer("Is anybody there?", "serve-live")).label is None:
                raise DeploymentError(f"{server.url} has {wanted.current} and answers {answer.status} to a text")
        return wanted.current
