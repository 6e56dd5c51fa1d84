"""The search for mail addresses that leaked: every address of the source, in every place where something is kept."""

from __future__ import annotations

import email
import hashlib
import io
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from email.utils import getaddresses
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import zstandard

from operators.core.anonymisation.addresses import ADDRESS_PATTERN
from operators.core.sources.contents import read_content
from operators.core.sources.reader import read_rows
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Store
from operators.core.storage.listing import manifest_digests
from operators.core.storage.members import Membership

PARQUET, ZSTD, SQLITE = b"PAR1", b"\x28\xb5\x2f\xfd", b"SQLite format 3\0"
DECODED = (PARQUET, ZSTD)


class AddressSearch:
    """Finds known addresses in text, whatever their case, in time linear in the text."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self.known = {address.lower() for address in addresses if "@" in address and len(address) > 2}
        # Two characters after the first @ (fewer where the address ends) lead to the few addresses worth comparing.
        self._by_domain: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for address in self.known:
            at = address.index("@")
            self._by_domain[address[at : at + 3]].append((at, address))

    def found_in(self, data: bytes) -> set[str]:
        """Return the known addresses that stand in what some bytes say.

        In weights any three characters stand somewhere by chance: what is no text is searched for eight or more.
        """
        shortest = 8 if b"\0" in data and data[:4] not in DECODED and data[:16] != SQLITE else 0
        hits = set().union(*(self.found(text) for text in texts_of(data)))
        return {address for address in hits if len(address) >= shortest}

    def found(self, text: str) -> set[str]:
        """Return the known addresses that stand in a text."""
        lowered = text.lower()
        hits: set[str] = set()
        at = lowered.find("@")
        while at >= 0:
            for width in (1, 2, 3):
                for before, address in self._by_domain.get(lowered[at : at + width], ()):
                    if before <= at and lowered.startswith(address, at - before):
                        hits.add(address)
            at = lowered.find("@", at + 1)
        return hits


def search_all(search: AddressSearch, kept: Iterable[tuple[str, bytes]]) -> tuple[int, dict[str, set[str]]]:
    """Return how many places were looked at, and what leaked where.

    The same bytes say the same: of the copies of an object each is read, and those that are equal are searched once.
    """
    places, leaks = 0, {}
    found_in: dict[bytes, set[str]] = {}
    for place, data in kept:
        places += 1
        digest = hashlib.sha256(data).digest()
        if digest not in found_in:
            found_in[digest] = search.found_in(data)
        if found_in[digest]:
            leaks[place] = found_in[digest]
    return places, leaks


def addresses_of(row: Mapping[str, Any], source: SourceSpec) -> set[str]:
    """Return every address in a mail's headers, and every match of the pattern in its bodies, raw and decoded."""
    message = email.message_from_string(f"{row['headers']}\n\n{row['body']}")
    headers = [str(value) for value in message.values()]
    found = {address for value in headers for _, address in getaddresses([value])}
    bodies = [row["body"], read_content(row, source).text]
    for part in message.walk():
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            bodies.append(payload.decode("utf-8", "replace"))
    return found | {match for body in bodies for match in ADDRESS_PATTERN.findall(body)}


def corpus_search(landing: Path, source: SourceSpec) -> AddressSearch:
    """Return a search for every address of a landing zone."""
    files = sorted((landing / source.folder).glob(f"{source.partition_key}=*/*.jsonl.zst"))
    rows = (row for path in files for row in read_rows(path.read_bytes(), path.name, source).rows)
    return AddressSearch(address for row in rows for address in addresses_of(row, source))


def texts_of(data: bytes) -> Iterator[str]:
    """Yield what some bytes say: all columns of Parquet, the content of zstd, the rows of SQLite, else the bytes."""
    if data[:4] == PARQUET:
        for column in pq.read_table(io.BytesIO(data)).columns:
            yield from map(str, column.to_pylist())
    elif data[:4] == ZSTD:
        yield from texts_of(zstandard.ZstdDecompressor().stream_reader(data).read())
    elif data[:16] == SQLITE:
        database = sqlite3.connect(":memory:")
        # Bytes 18 and 19 ask for a second file, the write-ahead log, which memory has not; it is searched by itself.
        database.deserialize(data[:18] + b"\x01\x01" + data[20:])
        yield from database.iterdump()
        database.close()
    else:
        yield data.decode("latin-1")


def objects_of(membership: Membership) -> Iterator[tuple[str, bytes]]:
    """Yield every key of every endpoint, with its bytes."""
    for endpoint in membership.endpoints.values():
        for key, _, _ in endpoint.list(""):
            data = endpoint.get(key)
            assert data is not None, f"{key} vanished from {endpoint.name}"
            yield f"{endpoint.name}:{key}", data


def plaintexts_of(store: Store) -> Iterator[tuple[str, bytes]]:
    """Yield every file of every manifest that a store holds, opened: encrypted objects show nothing."""
    seen: set[str] = set()
    for digest in manifest_digests(store):
        manifest = store.manifest(digest)
        for entry in manifest.files:
            # The store knows of backups whose files lie elsewhere.
            if entry.stored_sha256 not in seen and store.copies(entry):
                seen.add(entry.stored_sha256)
                yield f"{manifest.stage} {digest[:12]}:{entry.name}", store.read(entry)


def files_below(*folders: Path) -> Iterator[tuple[str, bytes]]:
    """Yield every file below some folders, with its bytes."""
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield str(path), path.read_bytes()
