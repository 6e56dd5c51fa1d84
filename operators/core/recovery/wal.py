"""The archive of PostgreSQL's write-ahead log on the backup store: a file once, and never another one in its place.

A file of the log is an object, compressed and under the store's keys, and one small document that names it:
`wal/<system>/<name>`, in small letters; the system is the number that PostgreSQL gave the database when it was made.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import zstandard

from operators.core.errors import AllCopiesDamaged, DataError
from operators.core.manifest import FORMAT, FileEntry, canonical, sha256_hex
from operators.core.progress import Progress, no_progress
from operators.core.storage import Store
from operators.core.storage.documents import put_small, read_document
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.records import Member
from operators.core.storage.vault import is_sealed

FOLDER = "wal"
SEGMENT = re.compile(r"[0-9A-F]{24}")
_NAME = re.compile(r"[0-9A-F]{8}\.history|[0-9A-F]{24}(\.[0-9A-F]{8}\.backup|\.partial)?")
"""What PostgreSQL archives: segments, the histories of timelines, and notes about base backups."""
_LARGEST_BYTES = 1024**3
"""Of a segment: what `initdb --wal-segsize` allows."""
_BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Archived:
    """One file of the log, as the archive holds it."""

    name: str
    sha256: str
    """Of the file as PostgreSQL wrote it."""
    bytes: int
    """Its size as PostgreSQL wrote it."""
    file: FileEntry
    """Its compressed form."""

    @property
    def place(self) -> int | None:
        """Its place in the log, the same on every timeline; None of what is no segment."""
        if not SEGMENT.fullmatch(self.name):
            return None
        return int(self.name[8:16], 16) * (2**32 // self.bytes) + int(self.name[16:], 16)


def system_of(data: Path) -> str:
    """Return the number of the database in a data folder.

    Raises:
        DataError: It is no data folder.
    """
    control = data / "global" / "pg_control"
    try:
        return system_in(control.read_bytes())
    except OSError as error:
        raise DataError(
            f"{data.absolute()} is no data folder of PostgreSQL, for it has no global/pg_control ({error.strerror}): "
            "name the folder with --data"
        ) from None


def system_in(control: bytes) -> str:
    """Return the number of a database: PostgreSQL's control file begins with it.

    Raises:
        DataError: It is no control file.
    """
    if len(control) < 8:
        raise DataError("a control file of PostgreSQL is expected: this one is too short")
    return str(struct.unpack("=Q", control[:8])[0])


def archive_file(backup: Store, system: str, path: Path) -> Archived:
    """Have a file of the log on the backup store, synced and acknowledged; again: nothing changes.

    Args:
        backup: The backup store, with the keys of what lies there.
        system: Number of the database that it is the log of.
        path: As PostgreSQL names it.

    Raises:
        DataError: The archive holds another content under this name, or PostgreSQL gives no file such a name.
        StorageError: It is not known to be there: PostgreSQL keeps the file and asks again.
    """
    key, content = log_key(system, path.name), path.read_bytes()
    held = read_document(backup.membership, backup.record, key)
    if held is None:
        backup.keep([key])
        entry = backup.put_bytes(f"{path.name}.zst", zstandard.ZstdCompressor(level=3).compress(content))
        new = Archived(name=path.name, sha256=sha256_hex(content), bytes=len(content), file=entry)
        held = _encode(new)
        put_small(backup.membership, backup.record, key, held)
    found = _decode(path.name, held)
    if found.sha256 != sha256_hex(content):
        raise DataError(
            f"the archive holds another {path.name} of database {system}: two servers write the log of one database, "
            "or it was restored twice. Nothing was written over; make a base backup of the one that is right"
        )
    return found


def archived_names(backup: Store, system: str) -> dict[str, float]:
    """Return the names of what the archive holds of a database's log, sorted, and when each was put there.

    Returns:
        Seconds since 1970 by name, by the backup store's clock.

    Raises:
        QuorumLost: Too few endpoints answer for the listing to be whole.
    """

    def listed(endpoint: Endpoint, line: Member) -> dict[str, float]:
        found = endpoint.list(f"{line.incarnation}/{FOLDER}/{system}/")
        return {_name_in(one.key): one.modified for one in found}

    views = backup.membership.ask_quorum(backup.record, listed, f"listing {FOLDER}")
    return dict(sorted(item for view in views.values() for item in view.items()))


def is_within(name: str, first: str, last: str | None) -> bool:
    """Say whether a file of the log lies between two segments, both included, on whatever timeline; histories do."""
    return name.endswith(".history") or (first[8:] <= name[8:24] and (last is None or name[8:24] <= last[8:]))


def is_replayed(name: str, first: str) -> bool:
    """Say whether a server that begins at a segment may ask for a file: segments from there on, and histories."""
    return is_within(name, first, None) and (name.endswith(".history") or SEGMENT.fullmatch(name) is not None)


def read_archive(backup: Store, system: str, names: Iterable[str]) -> list[Archived]:
    """Return what the archive says of files of a log, in the order of the names.

    Raises:
        AllCopiesDamaged: One is not there any more, or no copy of what names it is whole.
    """

    def read(name: str) -> Archived:
        data = read_document(backup.membership, backup.record, log_key(system, name))
        if data is None:
            raise AllCopiesDamaged(f"the archive has no whole document of {name} of database {system}")
        return _decode(name, data)

    return list(backup.membership.round.map(read, names))


def gap_in(files: Iterable[Archived]) -> str | None:
    """Return the segment after which the log breaks off though later ones are there, None where it is whole."""
    places = {place: one.name for one in files if (place := one.place) is not None}
    ends = (places[place] for place in sorted(places)[:-1] if place + 1 not in places)
    return next(ends, None)


def fetch_log(backup: Store, files: Iterable[Archived], folder: Path, progress: Progress = no_progress) -> None:
    """Put files of the log into a folder, as PostgreSQL wrote them, each read and hashed.

    Raises:
        AllCopiesDamaged: One is lost.
        DataError: One is not what was archived, or not under the store's keys.
    """
    wanted = list(files)

    def fetch(one: Archived) -> None:
        check_sealed(backup, one.file)
        content = zstandard.ZstdDecompressor().decompress(backup.read(one.file), max_output_size=_LARGEST_BYTES)
        if sha256_hex(content) != one.sha256:
            raise DataError(f"{one.name} is not what was archived under this name")
        _write_sparse(folder / one.name, content)

    for done, _ in enumerate(backup.membership.round.map(fetch, wanted), start=1):
        progress(done, len(wanted), "files of the log fetched")


def check_sealed(backup: Store, entry: FileEntry) -> None:
    """Return if a file can only be of who has the store's keys, where the store has any.

    Raises:
        DataError: It lies open: whoever may write to the backup store can have put it there.
    """
    if backup.vault.keyring is not None and not is_sealed(entry):
        raise DataError(f"{entry.name} lies open on the backup store: this platform did not put it there")


def _write_sparse(path: Path, content: bytes) -> None:
    """Have a file there that takes no room for its zeros: of a segment that was closed for its age, nearly all."""
    with path.open("wb") as file:
        for start in range(0, len(content), _BLOCK_BYTES):
            block = content[start : start + _BLOCK_BYTES]
            if block.strip(b"\0"):
                file.seek(start)
                file.write(block)
        file.truncate(len(content))


def log_key(system: str, name: str) -> str:
    """Return the key of the document that names a file of the log.

    Raises:
        DataError: PostgreSQL gives no file such a name.
    """
    if not _NAME.fullmatch(name):
        raise DataError(f"{name!r} is no file of PostgreSQL's log: archive_command passes %p")
    return f"{FOLDER}/{system}/{name.lower()}"


def _name_in(key: str) -> str:
    """Return a file's name as PostgreSQL writes it: keys have no capitals."""
    numbers, dot, kind = key.rsplit("/", 1)[1].rpartition(".")
    return f"{numbers.upper()}.{kind}" if dot else kind.upper()


def _encode(one: Archived) -> bytes:
    return canonical({"format": FORMAT, "sha256": one.sha256, "bytes": one.bytes, "file": asdict(one.file)})


def _decode(name: str, data: bytes) -> Archived:
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise DataError(f"{name} is archived in another format than {FORMAT}: use the release that archived it")
        entry = FileEntry(**document["file"])
        return Archived(name=name, sha256=document["sha256"], bytes=document["bytes"], file=entry)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{name}: not a document of the archive: {error}") from None
