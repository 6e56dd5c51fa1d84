"""The versions that a server holds in memory, and the one place where they change."""

from __future__ import annotations

import logging
import shutil
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.core.deployment.server.release_files import FILES, ReleaseFiles
from operators.core.deployment.server.traffic import TWIN, Traffic, is_twin, read_traffic, write_traffic
from operators.core.errors import DataError, DeploymentError, NightshiftError

if TYPE_CHECKING:
    from operators.core.models.classifier import Classifier

LOG = logging.getLogger("nightshift.server")
WARM_UP = ("warm up", "a longer text, so that the second run meets another shape than the first one did")


@dataclass(frozen=True, kw_only=True, slots=True)
class Resident:
    """A loaded version."""

    version: str
    release: str
    model: str
    """Identity of the model: two releases of one model need one copy."""
    classifier: Classifier


class Versions:
    """Resident versions and the traffic between them. Reads take no lock; changes happen one at a time."""

    def __init__(self, folder: Path, files: ReleaseFiles, threads: int) -> None:
        """Hold nothing yet; `restore` brings back what was served before.

        Args:
            folder: This server's own folder; its copy of the releases and its state live there.
            files: Brings and checks what is loaded.
            threads: Batches of one request computed beside each other.
        """
        self._folder, self._files, self._threads = folder, files, threads
        self._change = threading.Lock()
        self._resident: dict[str, Resident] = {}
        self.traffic = Traffic()
        self.refusals: dict[str, str] = {}
        """Versions that could not be loaded, and why."""

    def restore(self) -> None:
        """Serve again what was served when the process ended, from the local copy where it is whole."""
        with self._change:
            wanted = read_traffic(self._state)
            for version, release in wanted.releases.items():
                if is_twin(version):
                    continue
                try:
                    self._load(version, release, was_served=True)
                except (NightshiftError, OSError, ValueError) as error:
                    LOG.error("version %s stays away: %s", version, error)
                    self.refusals[version] = str(error)
            kept = {name: one.release for name, one in self._resident.items()}
            current = wanted.current if wanted.current in kept else None
            candidate = wanted.candidate if wanted.candidate in kept and current else None
            self.traffic = replace(
                wanted,
                current=current,
                former=wanted.former if wanted.former in kept else None,
                candidate=candidate,
                share=wanted.share if candidate else 0.0,
                is_shadow=wanted.is_shadow and candidate is not None,
                releases=kept,
            )

    def get(self, version: str | None) -> Resident | None:
        """Return a resident version, or None."""
        return self._resident.get(version) if version else None

    def load(self, version: str, release: str) -> bool:
        """Have a version resident and warm; return whether it had to be loaded.

        Raises:
            NightshiftError: The release is not what its digest says, or cannot be reached.
        """
        with self._change:
            found = self._resident.get(version)
            if found and found.release == release:
                return False
            self._load(version, release, was_served=False)
            self.refusals.pop(version, None)
            self._set(replace(self.traffic, releases={**self.traffic.releases, version: release}))
            return True

    def unload(self, version: str) -> bool:
        """Have a version neither in memory nor on disk; requests under way finish with it.

        Raises:
            DeploymentError: It answers requests.
        """
        with self._change:
            if version in (self.traffic.current, self.traffic.candidate):
                raise DeploymentError(f"version {version} answers requests: switch to another one first")
            if version not in self._resident:
                return False
            former = None if self.traffic.former == version else self.traffic.former
            rest = {name: digest for name, digest in self.traffic.releases.items() if name != version}
            self._set(replace(self.traffic, former=former, releases=rest))
            del self._resident[version]
            shutil.rmtree(self._folder / "versions" / version, ignore_errors=True)
            return True

    def switch(self, **wanted: Any) -> Traffic:
        """Make this the traffic, on disk first; from the next request on it holds.

        Args:
            wanted: Fields of `Traffic`, all but the releases.

        Raises:
            ValueError: A version is not resident, the values do not fit each other, or they come too late.
        """
        with self._change:
            traffic = Traffic(**wanted, releases=dict(self.traffic.releases))
            traffic.check_follows(self.traffic)
            self._set(traffic)
            return self.traffic

    @property
    def _state(self) -> Path:
        return self._folder / "state.json"

    def _set(self, traffic: Traffic) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        write_traffic(self._state, traffic)
        self.traffic = traffic

    def _load(self, version: str, release: str, *, was_served: bool) -> None:
        """Load from the local copy if it is whole, else from the store; warm it before anyone can ask it."""
        folder = self._folder / "versions" / version
        manifest = self._files.have(folder, release, was_served=was_served)
        if manifest.facts.get("version") != version.removesuffix(TWIN):
            raise DataError(f"release {release[:12]} is version {manifest.facts.get('version')!r}, not {version!r}")
        from operators.core.models.classifier import load_classifier  # onnxruntime: not before there is a model

        classifier = load_classifier(folder / FILES, self._threads)
        try:
            classifier.logits([WARM_UP[0]])
            classifier.logits([WARM_UP[1]])
        except Exception as error:  # whatever a graph raises: such a model is no candidate
            raise DataError(f"version {version} cannot answer a text: {error}") from error
        if is_twin(version):
            classifier.labels = [*classifier.labels[1:], classifier.labels[0]]
        self._resident[version] = Resident(
            version=version, release=release, model=manifest.input("model").identity, classifier=classifier
        )
