"""Where things are, and the secrets to reach them: parsed when called, never on import; no repr shows a secret."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

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
class MasterKey:
    """One version of the key that wraps data keys."""

    version: int
    """From 1; a number is never given to a second key."""
    secret: str = field(repr=False)
    """32 bytes, hexadecimal."""

    def __post_init__(self) -> None:
        if isinstance(self.version, bool) or not isinstance(self.version, int) or not 1 <= self.version <= 999_999:
            raise ValueError(f"master key version {self.version!r}: give a whole number from 1 to 999999")
        _check_secret(f"master key version {self.version}", self.secret)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncryptionSettings:
    """The keys of a store whose files are encrypted at rest; see docs/storage.md."""

    masters: tuple[MasterKey, ...]
    """Every version that objects may still be wrapped with."""
    current: int
    """The version that wraps what is written now."""
    store_secret: str | None = field(default=None, repr=False)
    """32 bytes, hexadecimal; data keys are derived from it. None: may read, not write."""

    def __post_init__(self) -> None:
        versions = [master.version for master in self.masters]
        if len(set(versions)) != len(versions) or len({master.secret for master in self.masters}) != len(versions):
            raise ValueError(f"master keys {versions}: each version needs a key of its own")
        if self.current not in versions:
            raise ValueError(f"master key version {self.current!r} is to be current, but the settings hold {versions}")
        if self.store_secret is not None:
            _check_secret("store secret", self.store_secret)


def _check_secret(name: str, value: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"{name}: 64 lower-case hexadecimal digits (32 bytes) are expected")


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSettings:
    """A folder of this machine where files that were read are kept, for whoever reads them next."""

    folder: str
    """Absolute; shared by all processes of the machine, of nobody else's concern. Made where it is missing."""
    bytes: int
    """Most that lies there, at least 1; while something is fetched, that more."""

    def __post_init__(self) -> None:
        if not isinstance(self.folder, str) or not self.folder.startswith("/"):
            raise ValueError(f"cache folder {self.folder!r}: give an absolute path")
        if isinstance(self.bytes, bool) or not isinstance(self.bytes, int) or self.bytes < 1:
            raise ValueError(f"cache bytes {self.bytes!r}: give a whole number, at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class StorageSettings:
    """The endpoints of one store, how many acknowledge a write, the keys of what lies there, and what is kept near."""

    endpoints: tuple[EndpointSettings, ...]
    acknowledge: int = 2
    """W: copies that count before a write is acknowledged; more than half of the endpoints."""
    encryption: EncryptionSettings | None = None
    """None: files are stored as they are, and encrypted ones cannot be read."""
    cache: CacheSettings | None = None
    """None: every read goes to an endpoint."""

    def __post_init__(self) -> None:
        names = [endpoint.name for endpoint in self.endpoints]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"endpoint names must be unique and at least one: {names}")
        if not len(names) < 2 * self.acknowledge <= 2 * len(names):
            raise ValueError(
                f"acknowledge={self.acknowledge} of {len(names)} endpoints: it must be more than half, at most all"
            )

    def for_readers(self) -> StorageSettings:
        """Return the settings without what only a writer needs: with them files can be read, not written."""
        if self.encryption is None:
            return self
        return replace(self, encryption=replace(self.encryption, store_secret=None))

    def without_keys(self) -> StorageSettings:
        """Return the settings without what opens files: with them stored bytes can be read and written as they are."""
        return replace(self, encryption=None, cache=None)

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
            cache = document.get("cache")
            return cls(
                endpoints=endpoints,
                acknowledge=document.get("acknowledge", 2),
                encryption=_read_encryption(document.get("encryption")),
                cache=None if cache is None else CacheSettings(**cache),
            )
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


def _read_encryption(document: dict[str, Any] | None) -> EncryptionSettings | None:
    if document is None:
        return None
    return EncryptionSettings(**{**document, "masters": tuple(MasterKey(**item) for item in document["masters"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class LandingSettings:
    """Where source files arrive, and how to reach them: `file:///folder`, `s3://bucket/prefix`, or any fsspec URL."""

    url: str
    endpoint_url: str | None = None
    """Of S3: address of the server, e.g. `https://s3.example.org`; None for AWS itself."""
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    """Of S3: certificate bundle to verify TLS with; None for the system's."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What else the fsspec file system of the URL's scheme is made with."""

    def __post_init__(self) -> None:
        # No message repeats the URL: somebody may have put a password into it.
        for address in filter(None, (self.url, self.endpoint_url)):
            parts = urlsplit(address)
            if "@" in parts.netloc or parts.query or parts.fragment:
                raise ValueError("landing zone: put keys into access_key, secret_key or options, not into an address")
        parts = urlsplit(self.url)
        if not re.fullmatch(r"[a-z][a-z0-9]{1,15}", parts.scheme) or "::" in self.url:
            raise ValueError("landing zone: use file:///folder, s3://bucket/prefix, or another fsspec URL")
        if parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/")):
            raise ValueError("landing zone: use file:///folder, with three slashes")
        if parts.scheme == "s3" and not re.fullmatch(r"[a-z0-9.-]{3,63}", parts.netloc):
            raise ValueError("landing zone: use s3://bucket/prefix")


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingSettings:
    """Where the model servers and their balancer listen."""

    servers: tuple[str, ...]
    """Base URLs of the servers, e.g. `http://127.0.0.1:8301`: reached directly by the controller only."""
    balancer_url: str
    token: str = field(repr=False)
    """Bearer token of the servers' repository routes."""
    ca_file: str | None = None
    """Certificate bundle to verify the servers' TLS with; None for the system's."""

    def __post_init__(self) -> None:
        if self.ca_file and not all(url.startswith("https://") for url in self.servers):
            raise ValueError(
                f"servers={list(self.servers)} with ca_file={self.ca_file}: what is to be verified is asked by https://"
            )
