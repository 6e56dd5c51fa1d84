"""Airflow's PostgreSQL restored by a command, beside a store that is there."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from operators.cli.files import storage_in
from operators.cli.places import opened, store_settings
from operators.core.recovery.backups import choose, unlock
from operators.core.recovery.database_restore import quarantine
from operators.core.settings import EncryptionSettings

if TYPE_CHECKING:
    from operators.core.recovery.reconcile import Reconciled
    from operators.local.rebuild import Wish


def restore_alone(options: argparse.Namespace, wish: Wish) -> tuple[str, Reconciled]:
    """Have the database in its folder; of the backup nothing else is read. Return which one, and what did not agree."""
    assert wish.postgresql is not None
    place = storage_in(options.target_file) if options.target_file else store_settings(options)
    digest, keys = unlocked(wish)
    keyed = dataclasses.replace(place, encryption=place.encryption or keys)
    with opened(dataclasses.replace(wish.kit.backup, encryption=keys)) as backup, opened(keyed) as store:
        return digest, quarantine(backup, digest, wish.postgresql, wish.at).switch(store, backup)


def unlocked(wish: Wish) -> tuple[str, EncryptionSettings | None]:
    """Return the backup that is meant, once its signature was checked, and the keys of its files."""
    with opened(wish.kit.backup) as plain:
        digest = choose(plain, wish.at).backup
        return digest, unlock(plain, digest, wish.kit).store.encryption


def started_on(wish: Wish) -> str:
    """Return what is to be done with a database that is back."""
    return (
        f"{wish.postgresql} is the data folder of Airflow's PostgreSQL: give it its configuration, and start it on it"
    )
