"""The local copy of a release: fetched by digest and by the gate's word for it, checked again whenever it is loaded."""

from __future__ import annotations

import hmac
import logging
import os
import shutil
from collections.abc import Callable, Collection
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from operators.core.errors import DataError, DeploymentError, SignatureRefused
from operators.core.manifest import Manifest, sha256_hex, sha256_of_file
from operators.core.signing import SIGNATURE_NAME, check_signed

if TYPE_CHECKING:
    from operators.core.storage import Store

LOG = logging.getLogger("nightshift.server")
FILES = "files"
RELEASE = "release.json"
MODEL = "model.json"
VERDICT = "verdict.json"
ACCEPTED = "accepted"
"""The server's own mark on what it took once: made with its secret, so that nobody else can make it."""


class ReleaseFiles:
    """The releases of one server on its disk. Nothing is loaded that no trusted key's holder let go live."""

    def __init__(self, recipe: str, open_store: Callable[[], Store], trusted: Collection[str], secret: str) -> None:
        """Read nothing yet.

        Args:
            recipe: The recipe this server answers for.
            open_store: Called only to fetch: a server that has its files needs no store.
            trusted: Public keys that the gate may sign with, in hexadecimal digits.
            secret: The server's own.
        """
        self._recipe, self._open_store, self._trusted = recipe, open_store, frozenset(trusted)
        self._secret = secret.encode()

    def have(self, folder: Path, digest: str, *, was_served: bool) -> Manifest:
        """Have a release's files under `folder`, exactly those; return its manifest.

        Args:
            folder: Of this release; replaced where it is not whole.
            digest: Digest of the release manifest.
            was_served: It is what this server served when it ended. Then its own mark will do: a change of keys takes
                nothing down that is live.

        Raises:
            SignatureRefused: Its verdict is not one that a trusted key's holder signed, or not on this model.
            DataError: The digest names something else than a release of this recipe.
            StorageError: The store does not give the files.
        """
        try:
            release = check_release(folder, digest)
        except (DeploymentError, DataError) as refusal:
            LOG.info("fetching %s%s", folder.name, f": {refusal}" if folder.exists() else "")
            release = self._fetch(folder, digest)
        mark = hmac.new(self._secret, f"accepted {digest}".encode(), sha256).hexdigest()
        path = folder / ACCEPTED
        if not (was_served and path.is_file() and hmac.compare_digest(path.read_bytes(), mark.encode())):
            verdict = _read_manifest(folder / VERDICT, _named(release, "verdict"))
            self._check_verdict(release, verdict, (folder / SIGNATURE_NAME).read_bytes())
            path.write_text(mark)
        return release

    def _fetch(self, folder: Path, digest: str) -> Manifest:
        """Bring a release, its verdict and its model's files under `folder`, all verified or none there."""
        store = self._open_store()
        release = store.manifest(digest)
        if release.stage != "release" or release.facts.get("recipe") != self._recipe:
            raise DataError(
                f"{digest[:12]} is a {release.stage} of {release.facts.get('recipe')!r}, not a release of "
                f"{self._recipe!r}: give the digest of an entry of the release stream"
            )
        verdict = store.manifest(_named(release, "verdict"))
        signatures = [store.read(entry) for entry in verdict.files if entry.name == SIGNATURE_NAME]
        self._check_verdict(release, verdict, signatures[0] if signatures else b"")
        model = store.manifest(_named(release, "model"))
        incoming = folder.with_name(folder.name + ".incoming")
        shutil.rmtree(incoming, ignore_errors=True)
        (incoming / FILES).mkdir(parents=True)
        store.fetch_all(model, incoming / FILES)
        for name, manifest in ((RELEASE, release), (MODEL, model), (VERDICT, verdict)):
            (incoming / name).write_bytes(manifest.encode())
        (incoming / SIGNATURE_NAME).write_bytes(signatures[0])
        check_release(incoming, digest)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(incoming, folder)
        return release

    def _check_verdict(self, release: Manifest, verdict: Manifest, signature: bytes) -> None:
        """Return if a trusted key's holder let this very model go live for this recipe."""
        check_signed(verdict, _named(release, "verdict"), lambda _: signature, self._trusted)
        facts = verdict.facts
        is_meant = facts.get("model") == _named(release, "model") and facts.get("recipe") == self._recipe
        if verdict.stage != "gate" or facts.get("verdict") != "passed" or not is_meant:
            raise SignatureRefused(
                f"the release names a verdict ({verdict.stage}, {facts.get('verdict')!r}) that does not let its model "
                f"go live for {self._recipe!r}: somebody else than deploy made it. Run the gate, then deploy"
            )


def check_release(folder: Path, digest: str) -> Manifest:
    """Prove that a local copy is exactly the release of that digest; return its manifest.

    Raises:
        DeploymentError: A file differs, is missing, or is not listed in the model's manifest.
    """
    release = _read_manifest(folder / RELEASE, digest)
    model = _read_manifest(folder / MODEL, _named(release, "model"))
    verdict = _read_manifest(folder / VERDICT, _named(release, "verdict"))
    signatures = {entry.sha256 for entry in verdict.files if entry.name == SIGNATURE_NAME}
    if not _is_file(folder / SIGNATURE_NAME) or sha256_of_file(folder / SIGNATURE_NAME) not in signatures:
        raise DeploymentError(f"{folder.name} has not the signature of its verdict; it is not loaded")
    listed = {entry.name: entry for entry in model.files}
    present = {path.relative_to(folder / FILES).as_posix() for path in (folder / FILES).rglob("*") if not path.is_dir()}
    if unlisted := sorted(present - set(listed)):
        raise DeploymentError(
            f"{folder.name} holds files that its manifest does not list: {unlisted}; it is not loaded"
        )
    for name, entry in listed.items():
        path = folder / FILES / name
        if not _is_file(path) or sha256_of_file(path) != entry.sha256:
            raise DeploymentError(f"{folder.name}/{name} is missing or not the file of its manifest; it is not loaded")
    return release


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _named(release: Manifest, role: str) -> str:
    digest = release.input(role).manifest
    if digest is None:
        raise DataError(f"the release names no {role} in the store")
    return digest


def _read_manifest(path: Path, digest: str) -> Manifest:
    data = path.read_bytes() if path.is_file() else b""
    if sha256_hex(data) != digest:
        raise DeploymentError(f"{path.parent.name}/{path.name} is not the manifest {digest[:12]}; it is not loaded")
    return Manifest.decode(data)
