"""The store as stages see it: files, manifests, results of run keys, streams, accounts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from operators.core.errors import StorageError
from operators.core.manifest import (
    FORMAT,
    FileEntry,
    Input,
    Made,
    Manifest,
    StageCall,
    canonical,
    check_digest,
    sha256_of_file,
    spec_json,
)
from operators.core.settings import EncryptionSettings, StorageSettings
from operators.core.storage.cache import Cache, fetched
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.members import Membership, open_members
from operators.core.storage.objects import NewObject, fetch_object, get_object, object_key, put_objects, write_file
from operators.core.storage.pins import PIN_SECONDS, Lease
from operators.core.storage.records import Member, Record
from operators.core.storage.slots import put_once, read_slot
from operators.core.storage.streams import Stream
from operators.core.storage.sums import with_sum, without_sum
from operators.core.storage.vault import Stored, Vault

BATCH_FILES, BATCH_BYTES = 64, 4 * 1024**2
"""Of small files that go to the endpoints one after the other, their identities read once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The acknowledged result of a run key."""

    digest: str
    manifest: Manifest
    found: bool
    """Whether it was there already: nothing was computed for it."""


def open_store(settings: StorageSettings) -> Store:
    """Return the store that the settings describe.

    Raises:
        QuorumLost: Too few endpoints answer, or the store was never initialised.
    """
    cache = None if settings.cache is None else Cache(settings.cache)
    return Store(open_members(settings), settings.encryption, cache)


class Store:
    """N endpoints seen as one. Safe to use from several threads; open it anew in a child process."""

    def __init__(
        self,
        membership: Membership,
        encryption: EncryptionSettings | None = None,
        cache: Cache | None = None,
        *,
        pin_seconds: float = PIN_SECONDS,
    ) -> None:
        self.membership = membership
        self.vault = Vault(membership, encryption)
        self._cache = cache
        self._lease = Lease(membership, pin_seconds)
        self._record: Record = membership.read_record()
        # Named by their bytes, so what was read once is right for ever; a night names some hundreds.
        self._manifests: dict[str, Manifest] = {}

    @property
    def record(self) -> Record:
        """The member record that this store read last."""
        return self._record

    # Files -------------------------------------------------------------------------------------------------------

    def put_bytes(self, name: str, data: bytes, rows: int | None = None) -> FileEntry:
        """Hold bytes at W endpoints, verified, and return the entry that names them."""
        return self._put([self.vault.close_bytes(name, data, rows)])[0]

    def put_file(self, name: str, path: Path, rows: int | None = None) -> FileEntry:
        """Hold a local file at W endpoints, verified, and return the entry that names it."""
        with self.vault.close_file(name, path, rows) as stored:
            return self._put([stored])[0]

    def put_files(self, files: Iterable[tuple[str, Path]]) -> tuple[FileEntry, ...]:
        """Hold local files, given with their names, at W endpoints, verified; return their entries in that order.

        Several go at once, and many small ones cost little more than their bytes.
        """
        return tuple(chain.from_iterable(self.membership.round.map(self._put_batch, _batches(files))))

    def _put_batch(self, batch: Iterable[tuple[str, Path]]) -> list[FileEntry]:
        with ExitStack() as stack:
            return self._put([stack.enter_context(self.vault.close_file(name, path, None)) for name, path in batch])

    def read(self, entry: FileEntry) -> bytes:
        """Return a file's verified bytes."""
        with self._opened(entry) as stored:
            return b"".join(self.vault.open(self._record, entry, stored))

    def fetch(self, entry: FileEntry, path: Path) -> None:
        """Put a file's verified bytes at a local path, whole or not at all; memory is bounded."""
        with self._opened(entry) as stored:
            write_file(path, self.vault.open(self._record, entry, stored))

    def fetch_all(self, manifest: Manifest, folder: Path) -> None:
        """Put every file of a manifest below a folder, under its name in the manifest."""
        for entry in manifest.files:
            target = folder / entry.name
            if not (target.is_file() and sha256_of_file(target) == entry.sha256):
                self.fetch(entry, target)

    def copies(self, entry: FileEntry) -> int:
        """Return how many endpoints that count list a copy of the file's object, of the right size."""

        def holds(endpoint: Endpoint, line: Member) -> bool:
            key = f"{line.incarnation}/obj/{entry.stored_sha256[:2]}/{entry.stored_sha256}"
            return endpoint.size(key) == entry.stored_bytes

        return sum(self.membership.ask_counted(self._record, holds).values())

    # Manifests and results ---------------------------------------------------------------------------------------

    def put_manifest(self, manifest: Manifest) -> str:
        """Hold a manifest at W endpoints and return its digest."""
        digest, data = manifest.digest, manifest.encode()

        def put() -> None:
            self.keep([object_key("man", digest)])
            put_objects(self.membership, self._record, [NewObject(kind="man", digest=digest, data=data)])

        self._under_the_record(put)
        return digest

    def manifest(self, digest: str) -> Manifest:
        """Return the manifest of that digest."""
        if digest not in self._manifests:
            data = get_object(self.membership, self._record, "man", check_digest(digest))
            self._manifests[digest] = Manifest.decode(data)
        return self._manifests[digest]

    def as_input(self, role: str, digest: str) -> Input:
        """Return a manifest of the store as an input of another."""
        return Input(role=role, identity=self.manifest(digest).identity, manifest=digest)

    def find(self, run_key: str) -> Result | None:
        """Return the acknowledged result of a run key, None where it has none."""
        data = read_slot(self.membership, f"run/{check_digest(run_key)}")
        return None if data is None else self._result(data, found=True)

    def find_all(self, run_keys: Iterable[str]) -> Iterator[Result | None]:
        """Yield what `find` returns for each run key, in their order; several are looked up at once."""
        return self.membership.round.map(self.find, run_keys)

    def commit(self, manifest: Manifest) -> Result:
        """Make a manifest the result of its run key, and return the result: this one, or the one that was first.

        Every file it names must have been put before; it is the commit point of a stage.
        """
        digest = self.put_manifest(manifest)
        document = canonical({"format": FORMAT, "manifest": digest})
        self._lease.check()
        winner = put_once(self.membership, f"run/{manifest.run_key}", document)
        return self._result(winner, found=winner != document)

    def once(self, call: StageCall, make: Callable[[], Made]) -> Result:
        """Return the result of a call: found where it was computed before, else made now and committed."""
        return self.find(call.run_key) or self.commit(Manifest.of(call, make()))

    def _result(self, data: bytes, *, found: bool) -> Result:
        document = json.loads(data)
        if document["format"] != FORMAT:
            raise StorageError(f"a result of another format than {FORMAT}: use the Nightshift release that wrote it")
        return Result(digest=document["manifest"], manifest=self.manifest(document["manifest"]), found=found)

    # Streams and accounts ----------------------------------------------------------------------------------------

    def stream(self, name: str) -> Stream:
        """Return the stream of that name; it need not have entries."""
        return Stream(self.membership, name, before_append=self._lease.check)

    def add_account(self, run_key: str, try_id: str, account: Mapping[str, Any]) -> None:
        """Note what a try cost: seconds, joules, outcome. Seen by no key and no identity.

        Args:
            run_key: The run key that was tried.
            try_id: `[a-z0-9._-]{1,128}`, unique per try.
            account: Plain JSON.
        """
        key = f"account/{check_digest(run_key)}/{try_id}"
        document = with_sum(key, canonical({"format": FORMAT, **spec_json(account)}))
        self.membership.ask_counted(
            self._record, lambda endpoint, line: endpoint.put_if_absent(f"{line.incarnation}/{key}", document)
        )

    def accounts(self, run_key: str) -> list[dict[str, Any]]:
        """Return every account of a run key that is whole somewhere, in the order of their try ids."""

        def read(endpoint: Endpoint, line: Member) -> dict[str, bytes | None]:
            prefix = f"{line.incarnation}/"
            keys = [found.key for found in endpoint.list(f"{prefix}account/{check_digest(run_key)}/")]
            return {key.removeprefix(prefix): endpoint.get(key) for key in keys}

        views = self.membership.ask_counted(self._record, read).values()
        stored = {(key, data) for view in views for key, data in view.items() if data is not None}
        whole = {key: document for key, data in stored if (document := without_sum(key, data)) is not None}
        return [json.loads(document) for _, document in sorted(whole.items())]

    # -------------------------------------------------------------------------------------------------------------

    def _opened(self, entry: FileEntry) -> AbstractContextManager[BinaryIO]:
        """Give a file's verified bytes as they are stored, from the cache or an endpoint."""

        def fetch(path: Path) -> None:
            fetch_object(self.membership, self._record, "obj", entry.stored_sha256, entry.stored_bytes, path)

        return fetched(fetch) if self._cache is None else self._cache.open(entry.stored_sha256, fetch)

    def _put(self, files: Sequence[Stored]) -> list[FileEntry]:
        new = [NewObject(kind="obj", digest=one.entry.stored_sha256, data=one.data, before=one.keys) for one in files]
        keys = [key for one in new for key in (object_key("obj", one.digest), *one.before)]

        def put() -> None:
            self.vault.prove(self._record)
            self.keep(keys)
            put_objects(self.membership, self._record, new)

        self._under_the_record(put)
        return [one.entry for one in files]

    def keep(self, keys: Iterable[str]) -> None:
        """Have the collector leave these keys alone until this store is closed."""
        self._lease.take(self._record)
        self._lease.spare(self._record, keys)

    def _under_the_record(self, write: Callable[[], object]) -> None:
        try:
            write()
        except StorageError:
            # The members may have changed since the record was read: once more, under the one that rules now.
            self._record = self.membership.read_record()
            write()

    def end_lease(self) -> None:
        """Keep the collector from nothing any more: what was put so far is committed, or will never be."""
        self._lease.end(self._record)

    def close(self) -> None:
        """End the store's lease and its threads."""
        self.end_lease()
        self.membership.round.close()


def _batches(files: Iterable[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    """Yield files in lists that are not too long and not too large; a large file is a list of its own."""
    batch: list[tuple[str, Path]] = []
    size = 0
    for name, path in files:
        own = path.stat().st_size
        if batch and (len(batch) == BATCH_FILES or size + own > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((name, path))
        size += own
    if batch:
        yield batch
