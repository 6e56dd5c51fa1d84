"""The command that opens what stands behind a pseudonym: reveal."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from operators.cli.answer import Answer, WrongUse
from operators.cli.auditing import note_change
from operators.cli.commands import Commands
from operators.cli.files import bytes_of
from operators.cli.places import opened, store_settings
from operators.core.errors import KeyMissing

if TYPE_CHECKING:
    from operators.core.anonymisation.originals import SealedOriginal
    from operators.core.storage import Store


def add_commands(commands: Commands) -> None:
    """Add this module's command to the parser."""
    words = "Open what stands behind a pseudonym, of a recipe that allows it. The audit trail has it before you do."
    parser = commands.add(
        "reveal",
        reveal,
        words,
        examples=('reveal address_qhwkzlmvtb --reason "request 4711" --vault-key vault.pem',),
    )
    parser.add_argument("pseudonym", help="as it stands in the data set")
    parser.add_argument(
        "--reason", required=True, metavar="TEXT", help="why, for the audit trail, in words that do not name the person"
    )
    parser.add_argument("--vault-key", required=True, metavar="FILE", help="the vault's private key, in PEM")


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
