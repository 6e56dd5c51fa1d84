"""The audit trail: every change of the platform's state is one entry of one stream, each naming the one before.

The trail lies in the store that it is about, so it is as safe as that, and anybody who can read it can check it. It
shows what was done through Nightshift; who writes to an endpoint behind its back breaks the chain or the store.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

from operators.core.errors import CommitUnknown, StorageError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.storage.store import Store

STREAM = "audit"
REVISION = 1
_TRIES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that was done."""

    action: str
    """A verb and its object: `move primary`, `roll back`."""
    subject: str
    """What it was done to: an endpoint, a recipe, a manifest."""
    by: str
    """A person's login or an Airflow run."""
    event: str
    """Same for every try of one wish; the trail has it once."""
    detail: str = ""
    """What came of it, in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """A change as the trail holds it."""

    generation: int
    manifest: str
    at: str
    """Coordinated universal time, ISO 8601, by the clock of who noted it."""
    change: Change


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether the trail is whole."""

    entries: int
    """That follow from each other, from the first on."""
    broken: int | None = None
    """Generation of the first that does not, or cannot be read; None where all are whole."""
    why: str = ""


def note(store: Store, change: Change) -> AuditEntry:
    """Have a change on the trail, once for its event, and return its entry.

    Raises:
        StorageError: The store does not take it: what was done stays done, and the caller says so.
    """
    stream = store.stream(STREAM)
    for _ in range(_TRIES):
        head = stream.head()
        if head is not None and (known := _known(store, head.generation, change.event)):
            return known
        manifest = _manifest(store, change, head.sha256 if head else None)
        entry = stream.append(store.put_manifest(manifest), head)
        if entry.manifest == manifest.digest:
            return _entry(store, entry.generation, entry.manifest)
    raise CommitUnknown(f"the audit trail was busy {_TRIES} times in a row: note {change.action!r} again")


def trail(store: Store) -> list[AuditEntry]:
    """Return every entry, oldest first.

    Raises:
        StorageError: The chain is broken; `verify` says where.
    """
    return [_entry(store, entry.generation, entry.manifest) for entry in store.stream(STREAM).entries()]


def verify(store: Store) -> Verdict:
    """Check the whole chain: every entry follows from the one before, and what it names is there and whole."""
    stream = store.stream(STREAM)
    head = stream.head()
    previous: str | None = None
    for generation in range(head.generation + 1 if head else 0):
        try:
            entry = stream.at(generation)
            if entry is None:
                return Verdict(entries=generation, broken=generation, why="it is missing, and later ones are there")
            if entry.previous != previous:
                return Verdict(entries=generation, broken=generation, why="it does not follow from the one before")
            _entry(store, generation, entry.manifest)
        except (StorageError, KeyError, TypeError, ValueError) as error:
            return Verdict(entries=generation, broken=generation, why=str(error) or type(error).__name__)
        previous = entry.sha256
    return Verdict(entries=head.generation + 1 if head else 0)


def _manifest(store: Store, change: Change, after: str | None) -> Manifest:
    now = datetime.datetime.fromtimestamp(store.membership.clock(), datetime.UTC)
    spec: dict[str, Any] = {"event": change.event, "after": after}
    facts = {
        "action": change.action,
        "subject": change.subject,
        "by": change.by,
        "event": change.event,
        "detail": change.detail,
        "at": now.isoformat(timespec="seconds"),
    }
    return Manifest.of(StageCall(stage="audit", revision=REVISION, spec=spec), Made(facts=facts))


def _known(store: Store, newest: int, event: str) -> AuditEntry | None:
    """Return the event's entry among the newest; tries of one wish lie close together."""
    stream = store.stream(STREAM)
    for generation in range(newest, max(-1, newest - _TRIES), -1):
        entry = stream.at(generation)
        if entry is not None and (found := _entry(store, generation, entry.manifest)).change.event == event:
            return found
    return None


def _entry(store: Store, generation: int, digest: str) -> AuditEntry:
    facts = dict(store.manifest(digest).facts)
    return AuditEntry(generation=generation, manifest=digest, at=facts.pop("at"), change=Change(**facts))
