"""Walks of the manifest graph: what a manifest was made from, down to the files."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping

from operators.core.manifest import FileEntry, Input, Manifest
from operators.core.progress import Progress, no_progress
from operators.core.storage.store import Store

COMPARED = frozenset({"live_evaluation", "live_model", "accepted", "golden_evaluation", "golden_reference"})
"""Roles of inputs that something is only held against: nothing of them is in what was made."""

MANY = 4
"""Inputs of one role that are all shown to people; of more, the first two are."""


def parents(manifest: Manifest) -> tuple[str, ...]:
    """Return the digests of the manifests that one was made from, in the order of its inputs, each once."""
    return tuple(dict.fromkeys(item.manifest for item in manifest.inputs if item.manifest is not None))


def sources(manifest: Manifest) -> tuple[str, ...]:
    """Return the parents that something of is in a manifest's files: all but those it was only compared with."""
    made_of = (item.manifest for item in manifest.inputs if item.role not in COMPARED and item.manifest is not None)
    return tuple(dict.fromkeys(made_of))


def closure(
    store: Store,
    roots: Iterable[str],
    progress: Progress = no_progress,
    follow: Callable[[Manifest], Iterable[str]] = parents,
) -> dict[str, Manifest]:
    """Return every manifest that the roots reach, themselves included, by digest, in the order of digests.

    Cost: one read a manifest, several at a time.

    Args:
        store: Where they are.
        roots: Digests to begin with.
        progress: Told of the manifests read.
        follow: Which inputs lead on: `parents` all of them, `sources` those that something was made of.

    Raises:
        AllCopiesDamaged, QuorumLost: A manifest cannot be read.
    """
    found: dict[str, Manifest] = {}
    wanted = list(dict.fromkeys(roots))
    while wanted:
        for digest, manifest in zip(wanted, store.membership.round.map(store.manifest, wanted), strict=True):
            found[digest] = manifest
            progress(len(found), len(found) + len(wanted), "manifests")
        reached = (parent for digest in wanted for parent in follow(found[digest]))
        wanted = [digest for digest in dict.fromkeys(reached) if digest not in found]
    return dict(sorted(found.items()))


def descendants(manifests: Mapping[str, Manifest], roots: Iterable[str]) -> set[str]:
    """Return the digests, among these manifests, of what was made of the roots, themselves included."""
    children: dict[str, list[str]] = defaultdict(list)
    for digest, manifest in manifests.items():
        for parent in sources(manifest):
            children[parent].append(digest)
    found: set[str] = set()
    wanted = [digest for digest in roots if digest in manifests]
    while wanted:
        found.update(wanted)
        wanted = list({child for digest in wanted for child in children[digest]} - found)
    return found


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


def shown_inputs(manifest: Manifest, *, is_whole: bool = False) -> tuple[list[Input], dict[str, int]]:
    """Return the inputs to show, and how many of each role are left out: a data set has a part a source file."""
    counts = Counter(item.role for item in manifest.inputs)
    hidden = {} if is_whole else {role: count - 2 for role, count in counts.items() if count > MANY}
    seen: Counter[str] = Counter()
    shown = []
    for item in manifest.inputs:
        seen[item.role] += 1
        if item.role not in hidden or seen[item.role] <= 2:
            shown.append(item)
    return shown, hidden


def objects(manifests: Mapping[str, Manifest]) -> dict[str, FileEntry]:
    """Return every stored object that the manifests name, by its stored digest, each once, in the order of digests."""
    named = {entry.stored_sha256: entry for manifest in manifests.values() for entry in manifest.files}
    return dict(sorted(named.items()))
