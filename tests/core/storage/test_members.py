"""Who belongs to a store: first making, and endpoints that do not count."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from operators.core.errors import QuorumLost, StorageError
from operators.core.manifest import canonical
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.members import open_members
from operators.core.storage.records import IDENTITY_KEY, Record, read_identity
from operators.core.storage.slots import put_once, read_slot
from operators.core.storage.sums import with_sum, without_sum
from tests.core.storage.flaky import cut_off

SLOT = "run/" + "a" * 64


def wipe(settings: StorageSettings, name: str) -> None:
    """Empty a directory endpoint, as a new disk in the old place."""
    folder = folder_of(settings, name)
    shutil.rmtree(folder)
    folder.mkdir()


def folder_of(settings: StorageSettings, name: str) -> Path:
    """Return where a directory endpoint lies."""
    return next(Path(item.url.removeprefix("file://")) for item in settings.endpoints if item.name == name)


def test_a_store_that_was_never_made_says_so(settings: StorageSettings) -> None:
    """Opening empty endpoints is refused with the command that makes a store."""
    with pytest.raises(StorageError, match=r"init|has no bucket|bring"):
        open_store(settings)


def test_initialise_again_changes_nothing(settings: StorageSettings) -> None:
    """A second call finds the store and leaves it alone."""
    first = initialise(settings, rounds=0)

    assert first == initialise(settings, rounds=0)
    assert first.term == 1


def test_a_record_reads_back_as_it_was_written(settings: StorageSettings) -> None:
    """Encoding and decoding a member record changes nothing."""
    record = initialise(settings, rounds=0)

    assert record == Record.decode(record.key, record.encode())


def test_a_new_store_needs_all_its_endpoints(storage_settings: StorageSettings) -> None:
    """One folder is missing: nothing is made, and the message names it."""
    folder_of(storage_settings, "site_b").rmdir()

    with pytest.raises(StorageError, match="site_b"):
        initialise(storage_settings, rounds=0)
    assert list(folder_of(storage_settings, "site_a").iterdir()) == []


@pytest.mark.parametrize(("identities", "records"), [(1, 0), (2, 0), (3, 0), (3, 1), (3, 2)])
def test_making_a_store_goes_on_after_a_crash(storage_settings: StorageSettings, identities: int, records: int) -> None:
    """Whatever of identities, then of the first record, was written before a crash: a second call completes it."""
    record = initialise(storage_settings, rounds=0)
    names = [member.name for member in record.members]
    for name in names[records:]:
        (folder_of(storage_settings, name) / f"member/{1:012d}").unlink()
    for name in names[identities:]:
        (folder_of(storage_settings, name) / IDENTITY_KEY).unlink()

    again = initialise(storage_settings, rounds=0)

    assert again.members[:identities] == record.members[:identities]
    store = open_store(storage_settings)
    assert put_once(store.membership, SLOT, b"one") == b"one"
    assert all(read_identity(endpoint) for endpoint in store.membership.endpoints.values())


def test_a_wiped_endpoint_does_not_count(storage_settings: StorageSettings) -> None:
    """With one endpoint wiped and another away no quorum is left, although two answer."""
    initialise(storage_settings, rounds=0)
    put_once(open_store(storage_settings).membership, SLOT, b"one")
    wipe(storage_settings, "site_b")

    store = open_store(storage_settings)
    assert read_slot(store.membership, SLOT) == b"one"
    cut_off(store, "site_c")
    with pytest.raises(QuorumLost):
        read_slot(store.membership, SLOT)


def test_a_writer_never_gives_a_wiped_endpoint_an_identity(storage_settings: StorageSettings) -> None:
    """Only init and resync make identities: a wiped endpoint stays out until one of them lets it in."""
    initialise(storage_settings, rounds=0)
    wipe(storage_settings, "site_b")
    store = open_store(storage_settings)
    store.put_bytes("a.bin", b"content")
    put_once(store.membership, SLOT, b"one")

    assert read_identity(store.membership.endpoints["site_b"]) is None


def test_initialise_does_not_take_a_wiped_endpoint_back(storage_settings: StorageSettings) -> None:
    """A store that exists is left as it is by init: the wiped endpoint needs a resync."""
    initialise(storage_settings, rounds=0)
    wipe(storage_settings, "site_b")
    initialise(storage_settings, rounds=0)

    assert not (folder_of(storage_settings, "site_b") / IDENTITY_KEY).exists()


def test_an_endpoint_of_another_store_does_not_count(storage_settings: StorageSettings) -> None:
    """A folder swapped for another store's has an identity, but not the one in the record."""
    initialise(storage_settings, rounds=0)
    foreign = {"format": 1, "endpoint": "0" * 32, "incarnation": "0" * 12}
    (folder_of(storage_settings, "site_b") / IDENTITY_KEY).write_bytes(canonical(foreign))
    store = open_store(storage_settings)
    cut_off(store, "site_c")

    with pytest.raises(QuorumLost):
        put_once(store.membership, SLOT, b"one")


def test_a_missing_place_is_away_not_empty(settings: StorageSettings) -> None:
    """A bucket or folder that is not there answers nothing: it never looks like an endpoint without the key."""
    nowhere = tuple(
        EndpointSettings(
            name=item.name,
            url=item.url + "-missing",
            endpoint_url=item.endpoint_url,
            access_key=item.access_key,
            secret_key=item.secret_key,
        )
        for item in settings.endpoints
    )
    membership = open_members(StorageSettings(endpoints=nowhere, acknowledge=2))
    endpoint = membership.endpoints["site_a"]

    for ask in (lambda: endpoint.get("member/1"), lambda: endpoint.size("member/1"), lambda: endpoint.list("member/")):
        with pytest.raises(StorageError):
            ask()


def test_a_member_record_of_a_newer_format_is_refused(storage_settings: StorageSettings) -> None:
    """An old Nightshift does not guess what a newer one wrote."""
    record = initialise(storage_settings, rounds=0)
    document = json.loads(without_sum(record.key, record.encode()) or b"") | {"format": 2}

    with pytest.raises(StorageError, match="format"):
        Record.decode(record.key, with_sum(record.key, canonical(document)))


def test_stores_are_opened_by_settings_with_credentials_hidden() -> None:
    """A settings value shown in a log shows no secret."""
    endpoint = EndpointSettings(name="a", url="s3://bucket", access_key="AKIA", secret_key="hush")
    settings = StorageSettings(endpoints=(endpoint,), acknowledge=1)

    assert "hush" not in repr(settings)
    assert "AKIA" not in repr(settings)
    assert settings == StorageSettings.from_json(settings.to_json())


def test_the_second_opening_sees_what_the_first_wrote(stores: list[Store]) -> None:
    """Nothing that matters is kept in a process."""
    first, second = stores
    entry = first.put_bytes("a.bin", b"content")

    assert second.read(entry) == b"content"
