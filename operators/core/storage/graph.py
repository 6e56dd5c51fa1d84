"""Walks of the manifest graph: what a manifest was made from, down to the files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from operators.core.manifest import FileEntry, Manifest
from operators.core.progress import Progress, no_progress
from operators.core.storage.store import Store


def parents(manifest: Manifest) -> tuple[str, ...]:
    """Return the digests of the manifests that one was made from, in the order of its inputs, each once."""
    return tuple(dict.fromkeys(item.manifest for item in manifest.inputs if item.manifest is not None))


def closure(store: Store, roots: Iterable[str], progress: Progress = no_progress) -> dict[str, Manifest]:
    """Return every manifest that the roots reach, themselves included, by digest, in the order of digests.

    Cost: one read a manifest, several at a time.

    Raises:
        AllCopiesDamaged, QuorumLost: A manifest cannot be read.
    """
    found: dict[str, Manifest] = {}
    wanted = list(dict.fromkeys(roots))
    while wanted:
        for digest, manifest in zip(wanted, store.membership.round.map(store.manifest, wanted), strict=True):
            found[digest] = manifest
            progress(len(found), len(found) + len(wanted), "manifests")
        reached = (parent for digest in wanted for parent in parents(found[digest]))
        wanted = [digest for digest in dict.fromkeys(reached) if digest not in found]
    return dict(sorted(found.items()))


def find_ancestor(store: Store, root: str, stage: str) -> Manifest | None:
    """Return the nearest manifest of a stage that one was made from, None where there is none.

    Raises:
        AllCopiesDamaged, QuorumLost: A manifest on the way cannot be read.
    """
    wanted, seen = [root], {root}
    while wanted:
        manifest = store.manifest(wanted.pop(0))
        if manifest.stage == stage:
            return manifest
        reached = [parent for parent in parents(manifest) if parent not in seen]
        seen.update(reached)
        wanted += reached
    return None


def objects(manifests: Mapping[str, Manifest]) -> dict[str, FileEntry]:
    """Return every stored object that the manifests name, by its stored digest, each once, in the order of digests."""
    named = {entry.stored_sha256: entry for manifest in manifests.values() for entry in manifest.files}
    return dict(sorted(named.items()))
