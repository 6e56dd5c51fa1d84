"""The command that opens what stands behind a pseudonym: reveal."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from operators.cli.answer import Answer, WrongUse
from operators.cli.auditing import note_change
from operators.cli.files import bytes_of
from operators.cli.places import opened, store_settings
from operators.core.errors import KeyMissing

if TYPE_CHECKING:
    from operators.core.anonymisation.originals import SealedOriginal
    from operators.core.storage import Store

_WORDS = "Open what stands behind a pseudonym of a recipe that is reversible; the audit trail has it before you do."


def add_commands(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add this module's command to the parser."""
    parser = commands.add_parser("reveal", parents=[shared], help=_WORDS, description=_WORDS)
    parser.add_argument("pseudonym", help="as it stands in the data set: address_qhwkzlmvtb")
    parser.add_argument(
        "--reason", required=True, help="why, for the audit trail, in words that do not name the person"
    )
    parser.add_argument("--vault-key", required=True, metavar="FILE", help="the vault's private key, in PEM")
    parser.set_defaults(command=reveal)


def reveal(options: argparse.Namespace) -> Answer:
    """Note who opens which pseudonym and why, then open it."""
    from operators.core.anonymisation.originals import open_original, private_key, vault_key_id

    if not options.reason.strip():
        raise WrongUse("--reason is empty: say why, the audit trail keeps it")
    key = private_key(bytes_of(options.vault_key, "the vault's private key"))
    with opened(store_settings(options)) as store:
        found = _find(store, options.pseudonym)
        if found.key != vault_key_id(key.public_key()):
            raise KeyMissing(f"{found.pseudonym} is sealed for the vault key {found.key}, which this is not")
        note_change(store, "reveal", found.pseudonym, options.reason)
        original = open_original(found, key)
    document = {"pseudonym": found.pseudonym, "original": original, "manifest": found.manifest}
    return Answer(document=document, lines=(original,))


def _find(store: Store, pseudonym: str) -> SealedOriginal:
    from operators.core.anonymisation.originals import find_original

    found = find_original(store, pseudonym)
    if found is None:
        raise WrongUse(f"no part has an original of {pseudonym}: its recipe is not reversible, or it was erased")
    return found
