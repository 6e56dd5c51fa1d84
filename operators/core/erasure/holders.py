"""What holds wanted rows, or was made of what holds them: a walk down the graph of manifests."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.storage.erasures import forgotten, kept_by_holds, live_releases, made_live
from operators.core.storage.graph import descendants, objects


class State(enum.Enum):
    """What becomes of something that holds erased rows."""

    LIVE = "live"
    """A live release is it, or was made of it: it stays until another is live."""
    HELD = "held"
    """A legal hold keeps it, which wins over an erasure."""
    FORGOTTEN = "forgotten"
    """Nothing keeps it: the collector takes its files."""
    KEPT = "kept"
    """Nobody has asked for it to be forgotten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Holder:
    """One manifest whose files hold wanted rows, or were made of such."""

    manifest: str
    stage: str
    day: str | None
    """The last day of its data, where it knows one."""
    state: State
    why: str = ""
    """The reason of the hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lineage:
    """Everything below some parts and data sets."""

    made: frozenset[str]
    """All manifests that were made of them, also those whose files are gone."""
    objects: frozenset[str]
    """Stored digests of their files, apart from files that something else names too: those hold no such row."""
    holders: tuple[Holder, ...]
    """Those whose files are still there, and releases of such models."""
    live: Mapping[str, str]
    """Recipes whose live release is among them, with its day."""

    @property
    def is_held(self) -> bool:
        """Say whether a legal hold keeps any of it."""
        return any(holder.state is State.HELD for holder in self.holders)


def trace(store: Store, manifests: Mapping[str, Manifest], present: frozenset[str], roots: Iterable[str]) -> Lineage:
    """Return what was made of some manifests, and what becomes of it.

    Args:
        store: Where they are.
        manifests: Every manifest of the store.
        present: Stored digests of the objects that are there.
        roots: Manifests that hold wanted rows.
    """
    made = descendants(manifests, roots)
    clean = objects({digest: manifest for digest, manifest in manifests.items() if digest not in made})
    told = frozenset(objects({digest: manifests[digest] for digest in made})) - set(clean)
    full = {digest for digest in made if any(e.stored_sha256 in told & present for e in manifests[digest].files)}
    full |= {digest for digest in made if _model(manifests[digest]) in full}
    states = _States(store)
    live = {recipe: digest for recipe, digest in live_releases(store).items() if digest in made}
    return Lineage(
        made=frozenset(made),
        objects=told,
        holders=tuple(states.holder(digest, manifests[digest]) for digest in sorted(full, key=_order(manifests))),
        live={recipe: str(manifests[digest].facts["day"]) for recipe, digest in live.items()},
    )


def _model(manifest: Manifest) -> str | None:
    """Return the model of a release, which has no files of its own."""
    return manifest.input("model").manifest if manifest.stage == "release" else None


def _order(manifests: Mapping[str, Manifest]) -> Callable[[str], tuple[str, str, str]]:
    return lambda digest: (manifests[digest].stage, str(manifests[digest].facts.get("day", "")), digest)


class _States:
    """Says what becomes of each manifest, with all that this depends on read once."""

    def __init__(self, store: Store) -> None:
        self._live, self._held, self._forgotten = set(made_live(store)), kept_by_holds(store), forgotten(store)

    def holder(self, digest: str, manifest: Manifest) -> Holder:
        day = manifest.facts.get("day") or manifest.spec.get("day")
        return Holder(
            manifest=digest,
            stage=manifest.stage,
            day=None if day is None else str(day),
            state=self._state(digest),
            why=self._held.get(digest, ""),
        )

    def _state(self, digest: str) -> State:
        if digest in self._held:
            return State.HELD
        if digest in self._live:
            return State.LIVE
        return State.FORGOTTEN if digest in self._forgotten else State.KEPT
