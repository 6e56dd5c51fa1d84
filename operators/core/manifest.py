"""Manifests, identities and run keys: pure functions over immutable JSON documents.

A manifest names the files that a stage made and the manifests it was made from. Its *digest* names its bytes; its
*identity* covers files (by plaintext), inputs, spec and revision, and nothing that differs from one try to the next.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from operators.core.errors import DataError

FORMAT = 1
DIGEST_PATTERN = re.compile(r"[0-9a-f]{64}")
NAME_PATTERN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


def canonical(value: object) -> bytes:
    """Encode JSON so that equal values give equal bytes.

    Raises:
        ValueError: A number is not finite, or a value is no JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of some bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits, reading it in pieces."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def check_digest(value: str) -> str:
    """Return the digest, or refuse what is not 64 lower-case hex digits.

    Raises:
        DataError: `value` is something else; digests become storage keys, so nothing else may pass.
    """
    if not isinstance(value, str) or not DIGEST_PATTERN.fullmatch(value):
        raise DataError(f"not a digest: {value!r} (64 lower-case hex digits are expected)")
    return value


def spec_json(value: Any) -> Any:
    """Return a spec as plain JSON: dataclasses become objects, tuples lists, dates ISO text, enums their value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: spec_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return spec_json(value.value)
    if isinstance(value, Mapping):
        return {str(key): spec_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [spec_json(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(spec_json(item) for item in value)
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    return value


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """A file of a manifest: what it is, and the object that holds it."""

    name: str
    """Path inside the manifest, `/` between parts, never leading outside."""
    sha256: str
    """SHA-256 of the plaintext."""
    bytes: int
    """Size of the plaintext, in bytes."""
    stored_sha256: str
    """SHA-256 of the bytes as stored: the object's name."""
    stored_bytes: int
    """Size as stored, in bytes."""
    rows: int | None = None
    """Rows, where the file is a table."""

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise DataError(
                f"file name {self.name!r}: a manifest's may hold letters, digits, '.', '_', '-' and '/' only"
            )
        check_digest(self.sha256)
        check_digest(self.stored_sha256)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Input:
    """What a stage was made from: a manifest of the store, or a file outside it."""

    role: str
    identity: str
    """The input manifest's identity, or the SHA-256 of a file outside the store."""
    manifest: str | None = None
    """Digest of the input manifest; None for a file outside the store."""

    def __post_init__(self) -> None:
        check_digest(self.identity)
        if self.manifest is not None:
            check_digest(self.manifest)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class StageCall:
    """Everything that decides a stage's result."""

    stage: str
    revision: int
    """Raised whenever the stage's code changes what it computes."""
    inputs: tuple[Input, ...] = ()
    spec: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0

    @property
    def run_key(self) -> str:
        """SHA-256 of (stage, revision, input identities, spec, seed): no try number, clock, host or run id."""
        document = {
            "format": FORMAT,
            "stage": self.stage,
            "revision": self.revision,
            "inputs": [[item.role, item.identity] for item in self.inputs],
            "spec": spec_json(self.spec),
            "seed": self.seed,
        }
        return sha256_hex(canonical(document))


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What a stage's work produced, before it becomes a manifest."""

    files: tuple[FileEntry, ...] = ()
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What follows from files, inputs and spec: row counts, metrics. Never seconds, joules or host names."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """An immutable record of what a stage made, and from what."""

    stage: str
    revision: int
    run_key: str
    inputs: tuple[Input, ...]
    spec: Mapping[str, Any]
    seed: int
    files: tuple[FileEntry, ...]
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, call: StageCall, made: Made) -> Manifest:
        """Join a call and what was made for it."""
        return cls(
            stage=call.stage,
            revision=call.revision,
            run_key=call.run_key,
            inputs=call.inputs,
            spec=spec_json(call.spec),
            seed=call.seed,
            files=tuple(sorted(made.files, key=lambda entry: entry.name)),
            facts=spec_json(made.facts),
        )

    @property
    def identity(self) -> str:
        """SHA-256 over files (by plaintext), inputs, spec and revision: equal where the result is equal."""
        document = {
            "format": FORMAT,
            "stage": self.stage,
            "revision": self.revision,
            "inputs": [[item.role, item.identity] for item in self.inputs],
            "spec": self.spec,
            "seed": self.seed,
            "files": [[entry.name, entry.sha256, entry.bytes, entry.rows] for entry in self.files],
        }
        return sha256_hex(canonical(document))

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's own bytes: its name in the store."""
        return sha256_hex(self.encode())

    def encode(self) -> bytes:
        """Return the bytes that are stored, the same for equal manifests."""
        return canonical({"format": FORMAT, **spec_json(self)})

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """Read back what `encode` wrote.

        Raises:
            DataError: The bytes are no manifest of this format.
        """
        try:
            document = json.loads(data)
            if document.pop("format") != FORMAT:
                raise DataError(f"a manifest of another format than {FORMAT}: use the Nightshift release that wrote it")
            document["inputs"] = tuple(Input(**item) for item in document["inputs"])
            document["files"] = tuple(FileEntry(**item) for item in document["files"])
            return cls(**document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"not a manifest: {error}") from error

    def file(self, name: str) -> FileEntry:
        """Return the entry of that name.

        Raises:
            DataError: The manifest has no such file.
        """
        for entry in self.files:
            if entry.name == name:
                return entry
        raise DataError(f"the manifest of {self.stage} has no file {name!r}; it has {[e.name for e in self.files]}")

    def inputs_of(self, role: str) -> tuple[Input, ...]:
        """Return the inputs of a role, in their order."""
        return tuple(item for item in self.inputs if item.role == role)

    def input(self, role: str) -> Input:
        """Return the one input of a role.

        Raises:
            DataError: There is none, or more than one.
        """
        found = self.inputs_of(role)
        if len(found) != 1:
            raise DataError(f"the manifest of {self.stage} has {len(found)} inputs of role {role!r}, one is expected")
        return found[0]
