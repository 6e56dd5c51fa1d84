"""How one server is set up, handed down by what starts it: whom it believes, whom it answers, what it takes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from operators.core.deployment.server.limits import Limits

SERVER_VARIABLE = "NIGHTSHIFT_SERVER"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CALLER = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """Settings of one server. None of them is secret: of API keys it has the digests."""

    trusted: tuple[str, ...]
    """Public keys that the gate may sign with, in hexadecimal digits: a release needs the word of one of them."""
    api_keys: Mapping[str, str] = field(default_factory=dict)
    """Caller's name to the SHA-256 of its key, in hexadecimal digits; empty: whoever reaches the server is answered."""
    tls_certificate: str | None = None
    """File of the server's certificate chain, PEM; None: plain HTTP and gRPC."""
    tls_key: str | None = None
    """File of its private key, PEM."""
    limits: Limits = field(default_factory=Limits)

    @property
    def certificate(self) -> tuple[Path, Path] | None:
        """The chain and the key, or None for plain text."""
        if self.tls_certificate is None or self.tls_key is None:
            return None
        return Path(self.tls_certificate), Path(self.tls_key)

    def __post_init__(self) -> None:
        if not self.trusted or not all(_SHA256.fullmatch(key) for key in self.trusted):
            raise ValueError(
                f"trusted={list(self.trusted)}: at least one public key of 64 hexadecimal digits. With none, no "
                "release could be loaded"
            )
        keys = self.api_keys.items()
        if wrong := [name for name, digest in keys if not _CALLER.fullmatch(name) or not _SHA256.fullmatch(digest)]:
            raise ValueError(
                f"api_keys of {wrong}: a name of letters, digits and '._-' each, and the SHA-256 of its key in 64 "
                "hexadecimal digits"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key: give both files, or neither")

    def to_json(self) -> str:
        """Return the settings for a child's environment."""
        return json.dumps({**asdict(self), "api_keys": dict(self.api_keys)})

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServerSettings:
        """Read the settings that a parent process handed down.

        Raises:
            ValueError: They are missing, unreadable or cannot be; the message says which.
        """
        text = environment.get(SERVER_VARIABLE)
        if not text:
            raise ValueError(f"{SERVER_VARIABLE} is not set: it carries the server's settings as JSON")
        try:
            document: dict[str, Any] = json.loads(text)
            limits = Limits(**document.pop("limits", {}))
            return cls(**{**document, "trusted": tuple(document.get("trusted", ())), "limits": limits})
        except (TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"{SERVER_VARIABLE} cannot be read: {error}") from None
