"""A model server of its own, on a port of its own, that answers from another store than the platform's."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from operators.core.deployment.client import Answer, Server, bring
from operators.core.deployment.releases import ReleaseLine
from operators.core.deployment.server.settings import SERVER_VARIABLE, ServerSettings
from operators.core.errors import DeploymentError
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.core.storage import Store

_START_SECONDS = 120.0


def answers_from(
    store: Store, settings: StorageSettings, folder: Path, recipe: str, texts: Sequence[str], trusted: Collection[str]
) -> list[Answer]:
    """Return what a new server answers, which has nothing but a store; none where nothing is live there.

    Args:
        store: The store.
        settings: Where the server finds it.
        folder: Empty; the server's own.
        recipe: What it answers for.
        texts: What it is asked.
        trusted: Public keys that the gate may have signed with.

    Raises:
        DeploymentError: It does not come up, or refuses the release.
    """
    line = ReleaseLine(store, recipe)
    if line.live is None:
        return []
    port, token = _free_port(), secrets.token_urlsafe(24)
    variables = {
        STORAGE_VARIABLE: settings.for_readers().to_json(),
        SERVER_VARIABLE: ServerSettings(trusted=tuple(sorted(trusted))).to_json(),
        "NIGHTSHIFT_SERVING_TOKEN": token,
    }
    log = folder.with_name(f"{folder.name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(port, folder, recipe),
            env={**os.environ, **variables},
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder.parent,
        )
    try:
        return _ask(Server(f"http://127.0.0.1:{port}", recipe, token, _START_SECONDS), line, texts)
    except DeploymentError as error:
        tail = log.read_text(errors="replace").strip().splitlines()[-3:]
        raise DeploymentError(f"{error}; its log ends: {' | '.join(tail)}") from error
    finally:
        process.kill()
        process.wait()


def _command(port: int, folder: Path, recipe: str) -> list[str]:
    return [
        sys.executable, "-m", "operators.core.deployment.server", "--host", "127.0.0.1", "--port", str(port),
        "--name", "rehearsal", "--folder", str(folder), "--model", recipe,
    ]  # fmt: skip


def _ask(server: Server, line: ReleaseLine, texts: Sequence[str]) -> list[Answer]:
    try:
        bring(server, line.serving())
        return [server.infer(text, f"rehearsal-{number}") for number, text in enumerate(texts)]
    finally:
        server.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
