"""The line of releases of a recipe, and the log of what its controllers did: two streams, read and appended."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from operators.core.deployment.client import Serving
from operators.core.errors import DataError, DeploymentError, GateFailed
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.signing import check_signature
from operators.core.storage import Entry, Store
from operators.core.storage.erasures import forgotten

RELEASE_REVISION = 1
STEP_REVISION = 4


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
        """The release that was live before this one, but for those an erasure forgot: what a rollback goes to."""
        for entry in reversed(self._entries):
            if entry.manifest not in (self._entries[-1].manifest, *self._forgotten):
                return Release.read(self._store, entry.manifest)
        return None

    def append(self, digest: str) -> None:
        """Make a release the live one; nothing happens when it is already.

        Raises:
            DeploymentError: Another controller appended another one meanwhile.
        """
        head = self._entries[-1] if self._entries else None
        if head is None or head.manifest != digest:
            winner = self._stream.append(digest, head)
            if winner.manifest != digest:
                raise DeploymentError("another release went live meanwhile: look at both, then deploy the one you want")
            self._entries.append(winner)

    def serving(self) -> Serving:
        """Return what every server shall serve by this line: the live release, and the former one resident."""
        live, former = self.live, self.former
        releases = {one.version: one.digest for one in (former, live) if one}
        # Two releases of one model share a version: the newer one holds it, and there is nothing to fall back to.
        is_other = former is not None and live is not None and former.version != live.version
        return Serving(
            releases=releases,
            current=live.version if live else None,
            former=former.version if former and is_other else None,
        )


class DeployLog:
    """What controllers did, step by step: a killed one goes on from here, and two at once notice each other."""

    def __init__(self, store: Store, recipe: str) -> None:
        """Read the newest step."""
        self._store, self._stream, self._recipe = store, store.stream(f"deploy-{recipe}"), recipe
        self._head: Entry | None = self._stream.head()
        self.last: Mapping[str, Any] = store.manifest(self._head.manifest).facts if self._head else {}

    def note(self, action: str, release: Release, **facts: Any) -> None:
        """Append a step: what is done now, to which release.

        Raises:
            DeploymentError: Another controller is at work on this recipe.
        """
        generation = self._head.generation + 1 if self._head else 0
        call = StageCall(
            stage="deploy_step",
            revision=STEP_REVISION,
            inputs=(self._store.as_input("release", release.digest),),
            spec={"recipe": self._recipe, "action": action, "generation": generation},
        )
        at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        made = Made(facts={"action": action, "release": release.digest, "version": release.version, "at": at, **facts})
        manifest = Manifest.of(call, made)
        digest = self._store.put_manifest(manifest)
        winner = self._stream.append(digest, self._head)
        if winner.manifest != digest:
            raise DeploymentError("another controller moves this recipe's servers: let it finish, then retry")
        self._head, self.last = winner, manifest.facts

    def share_reached(self, release: Release) -> float:
        """Return the share at which a deployment of this release was interrupted, 0 where there was none."""
        if self.last.get("action") == "share" and self.last.get("release") == release.digest:
            return float(self.last["share"])
        return 0.0
