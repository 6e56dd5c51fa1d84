"""The line of releases of a recipe, and the log of what its controllers did: two streams, read and appended."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from operators.core.deployment.client import Serving
from operators.core.errors import DataError, GateFailed, Overtaken
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.signing import check_signature
from operators.core.storage import Entry, Store
from operators.core.storage.erasures import forgotten

RELEASE_REVISION = 1
UNDER_WAY = ("staged", "prepared", "committed", "rehearsing", "rehearsed", "shadow", "share", "passed")
"""Steps after which a candidate is neither live nor withdrawn."""
STEP = ("action", "release", "version", "order", "at")
"""What every step says."""
STEP_REVISION = 7


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """A release manifest, read."""

    digest: str
    version: str
    day: str
    model: str
    """Identity of the model."""
    manifest: Manifest

    @classmethod
    def read(cls, store: Store, digest: str) -> Release:
        """Return the release of that digest."""
        manifest = store.manifest(digest)
        if manifest.stage != "release":
            raise DataError(f"{digest[:12]} is a {manifest.stage}, not a release")
        return cls(
            digest=digest,
            version=str(manifest.facts["version"]),
            day=str(manifest.facts["day"]),
            model=manifest.input("model").identity,
            manifest=manifest,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a verdict lets go live."""

    recipe: str
    verdict: str
    """Digest of the verdict."""
    digest: str
    """Digest of the model."""
    model: str
    """Identity of the model."""
    day: str

    @property
    def version(self) -> str:
        """The name that every response carries: the day of the data and the beginning of the model's digest."""
        return f"{self.day}-{self.digest[:8]}"

    @classmethod
    def read(cls, store: Store, recipe: str, verdict: str, trusted: Collection[str]) -> Wanted:
        """Read a verdict.

        Args:
            store: The store.
            recipe: The recipe's name.
            verdict: Digest of the verdict.
            trusted: Public keys that the gate may sign with.

        Raises:
            GateFailed: It does not let a model of this recipe go live.
            SignatureRefused: It is not the gate's word, or not any more.
            DataError: An erasure forgot the model.
        """
        judged = store.manifest(verdict)
        if judged.stage != "gate" or judged.facts.get("verdict") != "passed":
            raise GateFailed(
                f"{verdict[:12]} is no verdict that lets a model go live (stage {judged.stage}, verdict "
                f"{judged.facts.get('verdict')!r}): run the gate, and deploy only what passes"
            )
        if judged.facts.get("recipe") != recipe:
            raise GateFailed(
                f"the verdict {verdict[:12]} is on a model of {judged.facts.get('recipe')!r}, not of {recipe!r}: "
                "deploy each recipe's own"
            )
        digest = str(judged.facts["model"])
        if digest in forgotten(store):
            raise DataError(
                f"the model {digest[:12]} learnt from rows that were erased since, and its files are forgotten: "
                "run the day anew, it trains without them"
            )
        check_signature(store, verdict, trusted)
        identity = store.manifest(digest).identity
        return cls(recipe=recipe, verdict=verdict, digest=digest, model=identity, day=str(judged.facts["day"]))


def make_release(store: Store, wanted: Wanted) -> Release:
    """Return the release of a model that a verdict lets go live: a manifest, and not yet live anywhere."""
    call = StageCall(
        stage="release",
        revision=RELEASE_REVISION,
        inputs=(store.as_input("model", wanted.digest), store.as_input("verdict", wanted.verdict)),
        spec={"recipe": wanted.recipe},
    )
    facts = {"recipe": wanted.recipe, "day": wanted.day, "version": wanted.version}
    return Release.read(store, store.once(call, lambda: Made(facts=facts)).digest)


class ReleaseLine:
    """What was live, in order; the newest entry is what shall be live now."""

    def __init__(self, store: Store, recipe: str) -> None:
        """Read the stream."""
        self._store, self._stream = store, store.stream(f"release-{recipe}")
        self._entries = self._stream.entries()
        self._forgotten = forgotten(store)

    @property
    def live(self) -> Release | None:
        """The release that shall be live, None before the first."""
        return Release.read(self._store, self._entries[-1].manifest) if self._entries else None

    @property
    def former(self) -> Release | None:
        """The newest release of another model that was live and no erasure forgot: what a rollback goes to."""
        live = self.live
        for entry in reversed(self._entries):
            if live is not None and entry.manifest not in (live.digest, *self._forgotten):
                found = Release.read(self._store, entry.manifest)
                if found.model != live.model:
                    return found
        return None

    def append(self, digest: str) -> None:
        """Make a release the live one; nothing happens when it is already.

        Raises:
            Overtaken: Another controller appended another one meanwhile.
        """
        head = self._entries[-1] if self._entries else None
        if head is None or head.manifest != digest:
            winner = self._stream.append(digest, head)
            if winner.manifest != digest:
                raise Overtaken("another release went live meanwhile: look at both, then deploy the one you want")
            self._entries.append(winner)

    def named(self, version: str) -> Release | None:
        """Return the newest release that was live under this version's name, None where none was."""
        found = (Release.read(self._store, entry.manifest) for entry in reversed(self._entries))
        return next((release for release in found if release.version == version), None)

    def serving(self) -> Serving:
        """Return what every server shall serve by this line: the live release, and the former one resident."""
        live, former = self.live, self.former
        releases = {one.version: one.digest for one in (former, live) if one}
        return Serving(
            releases=releases,
            current=live.version if live else None,
            former=former.version if former else None,
        )


class DeployLog:
    """What controllers did, step by step: a killed one goes on from here, and two at once notice each other."""

    def __init__(self, store: Store, recipe: str, above: int = 0) -> None:
        """Read the newest step.

        Args:
            store: The store.
            recipe: The recipe's name.
            above: Highest order that a server has. It is above the stream's own where the store came from a backup.
        """
        self._store, self._stream, self._recipe = store, store.stream(f"deploy-{recipe}"), recipe
        self._above = above
        self._head: Entry | None = self._stream.head()
        self.last: Mapping[str, Any] = store.manifest(self._head.manifest).facts if self._head else {}

    def note(self, action: str, release: Release, **facts: Any) -> None:
        """Append a step: what is done now, to which release.

        Raises:
            Overtaken: Another controller is at work on this recipe.
        """
        generation = self._head.generation + 1 if self._head else 0
        call = StageCall(
            stage="deploy_step",
            revision=STEP_REVISION,
            inputs=(self._store.as_input("release", release.digest),),
            spec={"recipe": self._recipe, "action": action, "generation": generation},
        )
        step = {
            "action": action,
            "release": release.digest,
            "version": release.version,
            "order": max(self.order, self._above) + 1,
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
        }
        made = Made(facts={**step, **facts})
        manifest = Manifest.of(call, made)
        digest = self._store.put_manifest(manifest)
        winner = self._stream.append(digest, self._head)
        if winner.manifest != digest:
            raise Overtaken("another controller moves this recipe's servers: let it finish, then retry")
        self._head, self.last = winner, manifest.facts

    @property
    def order(self) -> int:
        """Place of the newest step: what servers are given, so that an earlier step comes too late there."""
        return int(self.last.get("order", 0))

    def catch_up(self, live: Release) -> None:
        """Have the newest step above what every server has, said again if need be."""
        if self.order < self._above:
            said = {name: fact for name, fact in self.last.items() if name not in STEP}
            release = Release.read(self._store, str(self.last["release"])) if self.last else live
            self.note(str(self.last.get("action", "live")), release, **said)

    @property
    def unfinished(self) -> Release | None:
        """The candidate whose controller ended before it was live or withdrawn, None where there is none."""
        return Release.read(self._store, str(self.last["release"])) if self.last.get("action") in UNDER_WAY else None

    def steps_left(self, release: Release, shares: Sequence[float]) -> tuple[float, list[float]]:
        """Return the share that a release has on the servers, and the steps that it has not passed."""
        action, share = self.last.get("action"), float(self.last.get("share", 0.0))
        if action not in ("share", "passed") or self.last.get("release") != release.digest:
            return 0.0, list(shares)
        return share, [one for one in shares if one > share or (one == share and action == "share")]


def deploy_steps(store: Store, recipe: str) -> list[Mapping[str, Any]]:
    """Return the facts of every step that controllers noted, oldest first."""
    return [store.manifest(entry.manifest).facts for entry in store.stream(f"deploy-{recipe}").entries()]
