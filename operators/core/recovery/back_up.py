"""The backup controller: copies what a release reaches to a store of its own, reads all of it back, then says so.

Each backup is whole: its inventory lists everything, and what earlier backups brought is checked and left where it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from operators.core.errors import DataError
from operators.core.manifest import FileEntry, Input, Made, Manifest, StageCall, canonical, sha256_hex
from operators.core.progress import Progress, no_progress
from operators.core.recovery.copying import Piece, copy_all, object_pieces
from operators.core.recovery.database import copy_database
from operators.core.recovery.inventory import DATABASE_FILE, INVENTORY_FILE, Inventory, StreamEntry
from operators.core.recovery.spec import BackUpSpec
from operators.core.storage import Entry, Result, Store
from operators.core.storage.erasures import copy_rows, gone, still_kept
from operators.core.storage.graph import closure, objects

REVISION = 12


def back_up(
    store: Store,
    backup: Store,
    *,
    release: str,
    spec: BackUpSpec,
    database: Path | None = None,
    progress: Progress = no_progress,
) -> Result:
    """Have everything that a release and its recipe's streams reach on the backup store, read back and verified there.

    Args:
        store: The store that holds the release.
        backup: The backup store; its credentials are its own.
        release: Digest of the release.
        spec: What goes with it.
        database: Airflow's SQLite database; None where Airflow keeps it elsewhere.
        progress: Told of every object, in bytes.

    Returns:
        The backup's manifest: newest entry of stream `backup-<recipe>` on the backup store, and readable in the store.

    Raises:
        DataError: `release` is no release of this recipe.
        AllCopiesDamaged: Something that the release reaches is lost in the store; nothing is announced then.
    """
    released = _read_release(store, release, spec)
    # First the database, then the streams: the store then holds all that the database names, and perhaps more.
    copy = None if database is None else copy_database(database)
    entries = {name: store.stream(name).entries() for name in spec.streams}
    roots = [release, *(entry.manifest for history in entries.values() for entry in history)]
    manifests = closure(store, roots, progress)
    before = _newest(backup, spec)
    emptied = gone(store) & set(manifests)
    inventory = _inventory(
        store, release, manifests, entries, emptied, known=before.results if before else {}, progress=progress
    )
    copy_rows(store, backup)
    copied = copy_all(store, backup, pieces_of(inventory, manifests), progress)

    call = _call(store, release, spec, entries, copy, emptied)
    facts = {
        "recipe": spec.recipe,
        "day": released.facts.get("day"),
        "manifests": len(manifests),
        "objects": len(inventory.objects),
        "bytes": copied.size_bytes,
        "copied_objects": copied.new_pieces,
        "copied_bytes": copied.new_bytes,
        "verified": copied.pieces,
    }
    result = backup.commit(Manifest.of(call, Made(files=_put_files(backup, inventory, copy), facts=facts)))
    _announce(backup, spec, result.digest)
    # The store knows of the backup, so that a run's results can all be read in one place.
    store.put_manifest(result.manifest)
    return result


def pieces_of(inventory: Inventory, manifests: Mapping[str, Manifest]) -> dict[Piece, int]:
    """Return everything an inventory lists, with its size in bytes; objects first."""
    listed = {Piece("man", digest): len(manifests[digest].encode()) for digest in inventory.manifests}
    return object_pieces(still_kept(manifests, frozenset(inventory.forgotten))) | listed


def _read_release(store: Store, digest: str, spec: BackUpSpec) -> Manifest:
    manifest = store.manifest(digest)
    if manifest.stage != "release" or manifest.facts.get("recipe") != spec.recipe:
        raise DataError(
            f"{digest[:12]} is a {manifest.stage} of recipe {manifest.facts.get('recipe')!r}, "
            f"not a release of {spec.recipe!r}"
        )
    return manifest


def _call(
    store: Store,
    release: str,
    spec: BackUpSpec,
    entries: Mapping[str, list[Entry]],
    copy: bytes | None,
    emptied: frozenset[str],
) -> StageCall:
    """Return what decides a backup: the release, how far the streams were, the database, and what was forgotten."""
    heads = {name: history[-1].sha256 if history else None for name, history in entries.items()}
    inputs = [store.as_input("release", release)]
    if copy is not None:
        inputs.append(Input(role="airflow_database", identity=sha256_hex(copy)))
    return StageCall(
        stage="back_up",
        revision=REVISION,
        inputs=tuple(inputs),
        spec={"recipe": spec.recipe, "streams": heads, "forgotten": sha256_hex(canonical(sorted(emptied)))},
    )


def _put_files(backup: Store, inventory: Inventory, copy: bytes | None) -> tuple[FileEntry, ...]:
    """Hold the backup's own files and read them back."""
    files = [backup.put_bytes(INVENTORY_FILE, inventory.encode())]
    if copy is not None:
        files.append(backup.put_bytes(DATABASE_FILE, copy))
    for entry in files:
        backup.read(entry)
    return tuple(files)


def _newest(backup: Store, spec: BackUpSpec) -> Inventory | None:
    head = backup.stream(spec.stream).head()
    if head is None:
        return None
    return Inventory.decode(backup.read(backup.manifest(head.manifest).file(INVENTORY_FILE)))


def _inventory(
    store: Store,
    release: str,
    manifests: Mapping[str, Manifest],
    entries: Mapping[str, list[Entry]],
    emptied: frozenset[str],
    known: Mapping[str, str],
    progress: Progress,
) -> Inventory:
    """Return the inventory; results that an earlier backup knows are not looked up again, for they never change."""
    results = {key: known[key] for key in (manifest.run_key for manifest in manifests.values()) if key in known}
    unknown = [manifest.run_key for manifest in manifests.values() if manifest.run_key not in known]
    for done, (run_key, found) in enumerate(zip(unknown, store.find_all(unknown), strict=True), start=1):
        if found is not None:
            results[run_key] = found.digest
        progress(done, len(unknown), "results looked up")
    return Inventory(
        release=release,
        manifests=tuple(manifests),
        objects={digest: entry.stored_bytes for digest, entry in objects(still_kept(manifests, emptied)).items()},
        # Of two manifests with one run key the other is nobody's result.
        results={key: digest for key, digest in sorted(results.items()) if digest in manifests},
        streams={
            name: tuple(StreamEntry(manifest=entry.manifest, previous=entry.previous) for entry in history)
            for name, history in entries.items()
        },
        forgotten=tuple(sorted(emptied)),
    )


def _announce(backup: Store, spec: BackUpSpec, digest: str) -> None:
    """Make the backup the newest entry of its stream; a second try of the same one adds nothing."""
    stream = backup.stream(spec.stream)
    head = stream.head()
    while head is None or head.manifest != digest:
        head = stream.append(digest, head)
