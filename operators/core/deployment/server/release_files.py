"""The local copy of a release: fetched by digest, checked again whenever it is loaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from operators.core.errors import DataError, DeploymentError
from operators.core.manifest import Manifest, sha256_hex, sha256_of_file

if TYPE_CHECKING:
    from operators.core.storage import Store

FILES = "files"
RELEASE = "release.json"
MODEL = "model.json"


def fetch_release(open_store: Callable[[], Store], digest: str, recipe: str, folder: Path) -> Manifest:
    """Bring a release and its model's files under `folder`, all verified or none there; return the release manifest.

    Args:
        open_store: Called only here: a server that has its files needs no store.
        digest: Digest of the release manifest.
        recipe: The recipe this server answers for.
        folder: Target; replaced when it exists.

    Raises:
        DataError: The digest names something else than a release of this recipe.
        StorageError: The store does not give the files.
    """
    store = open_store()
    release = store.manifest(digest)
    if release.stage != "release" or release.facts.get("recipe") != recipe:
        raise DataError(
            f"{digest[:12]} is a {release.stage} of {release.facts.get('recipe')!r}, not a release of {recipe!r}: "
            "give the digest of an entry of the release stream"
        )
    model = store.manifest(_model_digest(release))
    incoming = folder.with_name(folder.name + ".incoming")
    shutil.rmtree(incoming, ignore_errors=True)
    (incoming / FILES).mkdir(parents=True)
    store.fetch_all(model, incoming / FILES)
    (incoming / RELEASE).write_bytes(release.encode())
    (incoming / MODEL).write_bytes(model.encode())
    check_release(incoming, digest)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(incoming, folder)
    return release


def check_release(folder: Path, digest: str) -> Manifest:
    """Prove that a local copy is exactly the release of that digest; return its manifest.

    Raises:
        DeploymentError: A file differs, is missing, or is not listed in the model's manifest.
    """
    release = _read_manifest(folder / RELEASE, digest)
    model = _read_manifest(folder / MODEL, _model_digest(release))
    listed = {entry.name: entry for entry in model.files}
    present = {path.relative_to(folder / FILES).as_posix() for path in (folder / FILES).rglob("*") if not path.is_dir()}
    if unlisted := sorted(present - set(listed)):
        raise DeploymentError(
            f"{folder.name} holds files that its manifest does not list: {unlisted}; it is not loaded"
        )
    for name, entry in listed.items():
        path = folder / FILES / name
        if name not in present or path.is_symlink() or sha256_of_file(path) != entry.sha256:
            raise DeploymentError(f"{folder.name}/{name} is missing or not the file of its manifest; it is not loaded")
    return release


def _model_digest(release: Manifest) -> str:
    digest = release.input("model").manifest
    if digest is None:
        raise DataError("the release names no model in the store")
    return digest


def _read_manifest(path: Path, digest: str) -> Manifest:
    data = path.read_bytes() if path.is_file() else b""
    if sha256_hex(data) != digest:
        raise DeploymentError(f"{path.parent.name}/{path.name} is not the manifest {digest[:12]}; it is not loaded")
    return Manifest.decode(data)
