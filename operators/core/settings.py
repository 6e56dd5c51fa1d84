"""Where things are, and the secrets to reach them: parsed when called, never on import; no repr shows a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

STORAGE_VARIABLE = "NIGHTSHIFT_STORAGE"
"""Environment variable that carries `StorageSettings.to_json()` to training and serving processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSettings:
    """One endpoint: an S3 bucket or a directory, in its own failure domain."""

    name: str
    """`[a-z0-9_-]{1,32}`, unique in a store."""
    url: str
    """`s3://bucket` or `file:///folder`."""
    endpoint_url: str | None = None
    """Address of the S3 server, e.g. `https://s3.example.org`; None for AWS itself."""
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    """Certificate bundle to verify TLS with; None for the system's."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9_-]{1,32}", self.name):
            raise ValueError(f"endpoint name {self.name!r}: use 1 to 32 of a-z, 0-9, '_' and '-'")
        if not re.match(r"(s3://[a-z0-9.-]{3,63}$|file:///)", self.url):
            raise ValueError(f"endpoint {self.name}: url {self.url!r} is neither s3://bucket nor file:///folder")


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageSettings:
    """The endpoints of one store and how many of them acknowledge a write."""

    endpoints: tuple[EndpointSettings, ...]
    acknowledge: int = 2
    """W: copies that count before a write is acknowledged; more than half of the endpoints."""

    def __post_init__(self) -> None:
        names = [endpoint.name for endpoint in self.endpoints]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"endpoint names must be unique and at least one: {names}")
        if not len(names) < 2 * self.acknowledge <= 2 * len(names):
            raise ValueError(
                f"acknowledge={self.acknowledge} of {len(names)} endpoints: it must be more than half, at most all"
            )

    def to_json(self) -> str:
        """Return the settings with their secrets, for a file of mode 0600 or a child's environment."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StorageSettings:
        """Read back what `to_json` wrote.

        Raises:
            ValueError: It is no such document; the message never repeats the text, which holds secrets.
        """
        try:
            document = json.loads(text)
            endpoints = tuple(EndpointSettings(**item) for item in document["endpoints"])
            return cls(endpoints=endpoints, acknowledge=document.get("acknowledge", 2))
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"storage settings cannot be read ({type(error).__name__})") from None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> StorageSettings:
        """Read the settings that a parent process handed down.

        Raises:
            ValueError: The variable is missing or unreadable.
        """
        text = environment.get(STORAGE_VARIABLE)
        if not text:
            raise ValueError(f"{STORAGE_VARIABLE} is not set: it carries the storage settings as JSON")
        return cls.from_json(text)


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingSettings:
    """Where the model servers and their balancer listen."""

    servers: tuple[str, ...]
    """Base URLs of the servers, e.g. `http://127.0.0.1:8301`: reached directly by the controller only."""
    balancer_url: str
    token: str = field(repr=False)
    """Bearer token of the servers' repository routes."""
