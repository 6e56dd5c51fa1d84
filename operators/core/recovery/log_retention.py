"""What kept backups need of base backups and of the archived log of Airflow's PostgreSQL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from operators.core.recovery import wal
from operators.core.recovery.base_backups import BaseBackup, base_of, newest_base
from operators.core.storage import Store

Span = tuple[str, str | None]
"""The first segment, and the last one; None where all that follows is needed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NeededLog:
    """What must stay on the backup store."""

    objects: frozenset[str]
    """Of base backups and of the log, as stored."""
    documents: frozenset[str]
    """Keys of the documents that name files of the log."""


def needed_log(backup: Store, kept: Iterable[str], recent: Iterable[str]) -> NeededLog:
    """Return what backups of the platform need to give their database back.

    Args:
        backup: The backup store.
        kept: Backups that are kept: each needs its base backup, and the log up to its own cut.
        recent: Those of the last days: from the oldest one's base backup on every moment can be had.

    Raises:
        StorageError: A manifest or a document of the archive cannot be read.
    """
    spans: dict[str, list[Span]] = defaultdict(list)
    objects: set[str] = set()

    def keep(base: BaseBackup, last: str | None) -> None:
        spans[base.system].append((base.start, last))
        objects.update(entry.stored_sha256 for entry in base.manifest.files)

    late = set(recent)
    for digest in {*kept, *late}:
        facts = backup.manifest(digest).facts
        if facts.get("base"):
            keep(base_of(backup, str(facts["base"])), None if digest in late else facts["log"] or "")
    if newest := newest_base(backup):
        keep(newest, None)  # its backup of the platform may be under way
    documents: set[str] = set()
    for system, wanted in spans.items():
        names = [name for name in wal.archived_names(backup, system) if _is_wanted(name, wanted)]
        objects.update(one.file.stored_sha256 for one in wal.read_archive(backup, system, names))
        documents.update(wal.log_key(system, name) for name in names)
    return NeededLog(objects=frozenset(objects), documents=frozenset(documents))


def _is_wanted(name: str, spans: Iterable[Span]) -> bool:
    return any(wal.is_within(name, first, last) for first, last in spans)
