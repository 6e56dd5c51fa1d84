"""Every document of a store says its format, and one of another format is refused, never half read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.core.errors import DataError, StorageError
from operators.core.manifest import FORMAT, Made, Manifest, StageCall, canonical, sha256_hex
from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.documents import put_small
from operators.core.storage.holds import Hold, held, place_hold
from operators.core.storage.listing import result_digests
from operators.core.storage.pins import Tomb, read_pins, read_tombs
from operators.core.storage.sums import with_sum

CALL = StageCall(stage="test", revision=1)
OTHER = FORMAT + 1


def folders(settings: StorageSettings) -> list[Path]:
    """Return where the endpoints lie."""
    return [Path(endpoint.url.removeprefix("file://")) for endpoint in settings.endpoints]


def make_other(settings: StorageSettings, pattern: str) -> None:
    """Have every document whose key matches be of another format, and whole."""
    found = 0
    for folder in folders(settings):
        for path in folder.glob(pattern):
            place = path.relative_to(folder).as_posix()
            key = place if place.startswith("member/") else place.partition("/")[2]
            document, _, total = path.read_bytes().rpartition(b"\n")
            changed = canonical({**json.loads(document if total and document else total), "format": OTHER})
            path.chmod(0o644)
            path.write_bytes(with_sum(key, changed) if document else changed)
            found += 1
    assert found, f"nothing matches {pattern}"


def fill(store: Store) -> str:
    """Have one of each document in a store, and return a result's digest."""
    result = store.commit(Manifest.of(CALL, Made(files=(store.put_bytes("a", b"content"),))))
    store.stream("history").append(result.digest, None)
    place_hold(store.membership, store.record, Hold(manifest=result.digest, reason="a test"))
    tomb = Tomb(number=1, created=1.0, keys=frozenset())
    put_small(store.membership, store.record, tomb.list_key, tomb.encode())
    return result.digest


READS: dict[str, tuple[str, Callable[[Store, str], object]]] = {
    "identity": ("identity.json", lambda store, digest: store.manifest(digest)),
    "member record": ("member/*", lambda store, digest: store.record),
    "result": ("*/run/*/*", lambda store, digest: store.find(CALL.run_key)),
    "listed result": ("*/run/*/*", lambda store, digest: result_digests(store, [CALL.run_key])),
    "stream": ("*/log/history/*/*", lambda store, digest: store.stream("history").head()),
    "hold": ("*/hold/*", lambda store, digest: held(store.membership, store.record)),
    "pin": ("*/pin/*", lambda store, digest: read_pins(store.membership, store.record)),
    "list": ("*/tomb/*/list", lambda store, digest: read_tombs(store.membership, store.record)),
}


@pytest.mark.parametrize("kind", READS)
def test_a_document_of_another_format_is_refused_by_name(
    store: Store, storage_settings: StorageSettings, kind: str
) -> None:
    """A release that knows other formats has written here: nothing of it is guessed, and nothing written over it."""
    digest = fill(store)
    pattern, read = READS[kind]
    make_other(storage_settings, pattern)

    with pytest.raises(StorageError, match="another format"):
        read(open_store(storage_settings), digest)


def test_a_manifest_of_another_format_is_refused(store: Store) -> None:
    """It is named by its bytes: a newer release's has another digest, and is refused when it is decoded."""
    document = {**json.loads(Manifest.of(CALL, Made()).encode()), "format": OTHER}
    data = canonical(document)

    assert sha256_hex(data)
    with pytest.raises(DataError, match="another format"):
        Manifest.decode(data)
