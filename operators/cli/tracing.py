"""Commands that follow a manifest to all it reaches: lineage, verify, quarantine."""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import asdict

from rich.text import Text
from rich.tree import Tree

from operators.cli.answer import Answer, WrongUse
from operators.cli.commands import Commands
from operators.cli.names import NAME_HELP, resolve
from operators.cli.places import opened, shown_progress, store_settings
from operators.core.errors import AllCopiesDamaged
from operators.core.ingestion.quarantine import quarantined_rows
from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.storage.erasures import gone, still_kept
from operators.core.storage.graph import MANY, closure, find_ancestor, shown_inputs


def add_commands(commands: Commands) -> None:
    """Add this module's commands to the parser."""
    newest = "latest:release-mail_triage"
    words = "Print what a manifest was made from, as a tree."
    tree = commands.add("lineage", lineage, words, examples=(f"lineage {newest}",))
    tree.add_argument("name", help=NAME_HELP)
    tree.add_argument("--all", action="store_true", help=f"show every input, also of a role that has more than {MANY}")
    words = "Read and hash everything that a manifest reaches."
    status = "1 when a piece has no good copy."
    commands.add("verify", verify, words, status=status, examples=(f"verify {newest}",)).add_argument(
        "name", help=NAME_HELP
    )
    words = "List the rows that a data set does without, and why. Of a model it is the data set that it was made of."
    held = commands.add("quarantine", quarantine, words, examples=("quarantine latest:dataset-mail_triage",))
    held.add_argument("name", help=NAME_HELP)


def lineage(options: argparse.Namespace) -> Answer:
    """Return what a manifest was made from; a manifest met again is named, not unfolded."""
    with opened(store_settings(options)) as store:
        root = resolve(store, options.name)
        manifests = closure(store, [root])
    tree = Tree(Text(_label(root, manifests[root])))
    _grow(tree, manifests[root], manifests, {root}, options.all)
    edges = {
        digest: {"stage": manifest.stage, "inputs": [[item.role, item.manifest] for item in manifest.inputs]}
        for digest, manifest in manifests.items()
    }
    return Answer(document={"root": root, "manifests": edges}, lines=(tree,))


def quarantine(options: argparse.Namespace) -> Answer:
    """Return which rows of which landing files are held back; no value of theirs is stored, or shown."""
    with opened(store_settings(options)) as store:
        dataset = find_ancestor(store, resolve(store, options.name), "publish_dataset")
        if dataset is None:
            raise WrongUse(f"{options.name} is no data set, and none was made into it")
        rows = list(quarantined_rows(store, dataset))
    lines = [f"{row.path}  row {row.row}  {row.reason}" for row in rows]
    counts = ", ".join(f"{count} {reason}" for reason, count in Counter(row.reason for row in rows).most_common())
    return Answer(
        document={"rows": [asdict(row) for row in rows]},
        lines=(*lines, f"{len(rows)} of {dataset.facts['rows']['in']} rows are held back{counts and ': ' + counts}"),
    )


def _grow(tree: Tree, manifest: Manifest, manifests: dict[str, Manifest], met: set[str], is_whole: bool) -> None:
    shown, hidden = shown_inputs(manifest, is_whole=is_whole)
    for item in shown:
        if item.manifest is None:
            tree.add(Text(f"{item.role}: file {item.identity[:12]}, outside the store"))
            continue
        again = item.manifest in met
        met.add(item.manifest)
        label = f"{item.role}: {_label(item.manifest, manifests[item.manifest])}{' (above)' if again else ''}"
        branch = tree.add(Text(label))
        if not again:
            _grow(branch, manifests[item.manifest], manifests, met, is_whole)
    for role, count in hidden.items():
        tree.add(Text(f"{role}: {count} more, shown by --all"))


def _label(digest: str, manifest: Manifest) -> str:
    return f"{manifest.stage} {digest[:12]}"


def verify(options: argparse.Namespace) -> Answer:
    """Return whether every piece that a manifest reaches has a good copy."""
    from operators.core.recovery.copying import object_pieces, verify_all

    with opened(store_settings(options)) as store, shown_progress("verify") as progress:
        root = resolve(store, options.name)
        manifests, emptied = _reached(store, root, is_named=options.backup_store or bool(options.storage_file))
        pieces = object_pieces(still_kept(manifests, emptied))
        damaged = verify_all(store, pieces, progress)
    document = {
        "root": root,
        "manifests": len(manifests),
        "objects": len(pieces),
        "bytes": sum(pieces.values()),
        "damaged": damaged,
        "forgotten": len(emptied),
    }
    lines = tuple(Text(f"no good copy of {piece}", style="red") for piece in damaged)
    summary = f"{len(manifests)} manifests and {len(pieces)} objects, {document['bytes']:,} bytes, read and hashed"
    if emptied:
        summary += f"; the files of {len(emptied)} were erased"
    return Answer(document=document, lines=(*lines, f"{summary}; {len(damaged)} damaged"), is_good=not damaged)


def _reached(store: Store, root: str, is_named: bool) -> tuple[dict[str, Manifest], frozenset[str]]:
    """Return what a manifest reaches, and whose files of it an erasure forgot.

    A backup reaches all that its inventory lists, which lies beside it.
    """
    from operators.core.recovery.inventory import INVENTORY_FILE, Inventory

    manifests = closure(store, [root])
    if manifests[root].stage != "back_up":
        return manifests, gone(store) & set(manifests)
    try:
        inventory = Inventory.decode(store.read(manifests[root].file(INVENTORY_FILE)))
    except AllCopiesDamaged as error:
        if is_named:
            raise
        raise WrongUse(
            f"{root[:12]} is a backup, and what it holds lies on the backup store: add --backup-store"
        ) from error
    return closure(store, [root, *inventory.manifests]), frozenset(inventory.forgotten)
