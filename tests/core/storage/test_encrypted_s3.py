"""Encryption at rest on real S3 servers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from operators.core.settings import EncryptionSettings, MasterKey, StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.keyring import all_versions
from operators.core.storage.rotation import rotate
from operators.core.storage.sealing import CHUNK_BYTES
from tests.encryption import ENCRYPTION, FIRST, SECOND
from tests.seaweed import Seaweed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
TENTH = MasterKey(version=10, secret="aa" * 32)


def test_files_are_sealed_rotated_and_read_on_s3(seaweed: list[Seaweed], tmp_path: Path) -> None:
    """Large and small files, three versions of the master key whose names do not sort as numbers, old ones dropped."""
    for server in seaweed:
        server.empty()
    settings = StorageSettings(endpoints=tuple(server.settings() for server in seaweed), acknowledge=2)
    initialise(settings, rounds=0)
    content = Random(5).randbytes(20 * CHUNK_BYTES + 3)
    (tmp_path / "in").write_bytes(content)
    entries = []
    for masters in ((FIRST,), (FIRST, TENTH), (FIRST, TENTH, SECOND)):
        keys = EncryptionSettings(masters=masters, current=masters[-1].version, store_secret=ENCRYPTION.store_secret)
        store = open_store(replace(settings, encryption=keys))
        entries.append(store.put_bytes(f"small-{len(masters)}", b"content %d" % len(masters)))
    entries.append(store.put_file("large", tmp_path / "in"))
    assert all_versions(store.membership, store.record) == [1, 2, 10]

    done = rotate(store, drop_old=True)
    only = open_store(replace(settings, encryption=replace(keys, masters=(SECOND,), store_secret=None)))
    only.fetch(entries[-1], tmp_path / "out")

    assert (done.keys, done.behind, done.lost) == (3, (), ())
    assert all_versions(store.membership, store.record) == [2]
    assert [only.read(entry) for entry in entries[:3]] == [b"content 1", b"content 2", b"content 3"]
    assert (tmp_path / "out").read_bytes() == content
    assert only.copies(entries[-1]) == 3
