"""What a controller does to a server, whichever protocol it comes by."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

from operators.core.deployment.server.versions import Versions
from operators.core.errors import NightshiftError
from operators.core.manifest import DIGEST_PATTERN

VERSION_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Refused(RuntimeError):
    """It was not done."""

    def __init__(self, message: str, status: int) -> None:
        """Say why, with HTTP's status: 400 it is no request, 409 not as things are, 422 never, 503 not now."""
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        return str(self.args[0])


async def load(versions: Versions, version: str, release: str) -> bool:
    """Have a version resident and warm; return whether it had to be loaded.

    Raises:
        Refused: It is none, cannot be fetched now, or is not to be loaded.
    """
    if not VERSION_PATTERN.fullmatch(version) or not DIGEST_PATTERN.fullmatch(str(release)):
        raise Refused(f"version {version!r} or release {release!r} is not well-formed", 400)
    try:
        return await asyncio.to_thread(versions.load, version, release)
    except NightshiftError as error:
        raise Refused(str(error), 503 if error.retry_can_help else 422) from None
    except (OSError, ValueError) as error:
        raise Refused(f"version {version} cannot be fetched here: {error}", 503) from None


async def unload(versions: Versions, version: str) -> bool:
    """Have a version neither in memory nor on disk; return whether it was.

    Raises:
        Refused: It answers requests.
    """
    try:
        return await asyncio.to_thread(versions.unload, version)
    except NightshiftError as error:
        raise Refused(str(error), 409) from None


async def unload_idle(versions: Versions) -> list[str]:
    """Unload every version that answers no requests, the former one too; return them."""
    traffic = versions.traffic
    idle = sorted(set(traffic.releases) - {traffic.current, traffic.candidate})
    return [version for version in idle if await unload(versions, version)]


def load_parameters(parameters: Mapping[str, Any]) -> tuple[str, str]:
    """Return version and release of a load request in the protocol's form: its parameter `config` is JSON of both.

    Raises:
        Refused: It is not.
    """
    try:
        config = json.loads(parameters["config"])
        return str(config["version"]), str(config["release"])
    except (KeyError, TypeError, ValueError):
        raise Refused(
            "the parameter 'config' must be JSON with 'version' and 'release', the digest of an entry of the release "
            "stream", 400,
        ) from None  # fmt: skip
