"""An endpoint that was wiped is refilled and counts again; the primary moves."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from operators.core.errors import PrimaryAway, QuorumLost
from operators.core.settings import StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.objects import object_key
from operators.core.storage.primary import move_primary, settle_slots
from operators.core.storage.records import IDENTITY_KEY, encode_identity
from operators.core.storage.resync import resync
from operators.core.storage.slots import put_once, read_slot
from tests.core.storage.flaky import Fault, bring_back, cut_off, make_flaky

SLOT = "run/" + "a" * 64


def folder_of(settings: StorageSettings, name: str) -> Path:
    """Return where a directory endpoint lies."""
    return Path(next(item.url for item in settings.endpoints if item.name == name).removeprefix("file://"))


def wipe(settings: StorageSettings, name: str) -> None:
    """Empty a directory endpoint, as a new disk in the old place."""
    shutil.rmtree(folder_of(settings, name))
    folder_of(settings, name).mkdir()


def keys_of(settings: StorageSettings, name: str, incarnation: str) -> dict[str, bytes]:
    """Return all that an endpoint holds under an incarnation."""
    top = folder_of(settings, name) / incarnation
    return {path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def test_a_wiped_endpoint_is_refilled_under_a_new_incarnation(storage_settings: StorageSettings) -> None:
    """After a resync it holds what the others hold, and the store bears the loss of another endpoint."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    entry = store.put_bytes("a.bin", b"content")
    put_once(store.membership, SLOT, b"one")
    store.close()
    store = open_store(storage_settings)
    wipe(storage_settings, "site_b")

    done = resync(store.membership, "site_b")

    line, other = done.record.line("site_b"), done.record.line("site_a")
    assert done.keys == 2
    assert done.lost == ()
    assert keys_of(storage_settings, "site_b", line.incarnation) == keys_of(
        storage_settings, "site_a", other.incarnation
    )
    after = open_store(storage_settings)
    cut_off(after, "site_c")
    assert after.read(entry) == b"content"
    assert put_once(after.membership, SLOT, b"two") == b"one"


def test_a_resync_of_an_endpoint_that_counts_does_nothing(storage_settings: StorageSettings) -> None:
    """Run twice, the second finds nothing to do."""
    record = initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)

    assert resync(store.membership, "site_b").record == record


def test_a_resync_needs_all_that_could_have_acknowledged(storage_settings: StorageSettings) -> None:
    """With one of the others away too, nobody can tell what was acknowledged: it refuses."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    wipe(storage_settings, "site_b")
    cut_off(store, "site_c")

    with pytest.raises(QuorumLost, match="site_b"):
        resync(store.membership, "site_b")


def test_an_endpoint_counts_again_after_its_record_lost_against_a_move(storage_settings: StorageSettings) -> None:
    """Of two records with one number the one that rules decides, though the other has more endpoints' lines right."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    base, endpoints = store.record, store.membership.endpoints
    wipe(storage_settings, "site_b")
    endpoints["site_b"].put(IDENTITY_KEY, encode_identity("refilled", "again"))
    refilled = replace(base.line("site_b"), endpoint="refilled", incarnation="again")
    lines = tuple(refilled if line.name == "site_b" else line for line in base.members)
    lost, won = replace(base, term=2, members=lines), replace(base, term=2, primary="site_b")
    for name, record in {"site_a": won, "site_b": lost, "site_c": won}.items():
        endpoints[name].put_if_absent(record.key, record.encode())

    done = resync(open_store(storage_settings).membership, "site_b")

    assert (done.record.term, done.record.primary) == (3, "site_b")
    assert put_once(open_store(storage_settings).membership, SLOT, b"one") == b"one"


def test_a_damaged_object_does_not_keep_an_endpoint_away(storage_settings: StorageSettings) -> None:
    """What no other endpoint holds a good copy of is named, and the rest is refilled."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    entry = store.put_bytes("a.bin", b"content")
    key = object_key("obj", entry.stored_sha256)
    for name in ("site_a", "site_c"):
        (folder_of(storage_settings, name) / store.record.line(name).incarnation / key).write_bytes(b"rotten!")
    wipe(storage_settings, "site_b")

    assert resync(store.membership, "site_b").lost == (key,)


def test_a_resync_frees_what_the_endpoint_held_before(storage_settings: StorageSettings) -> None:
    """A bucket does not grow by a store with every resync: only evidence of damage stays."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    entry = store.put_bytes("a.bin", b"content")
    former = store.record.line("site_b").incarnation
    evidence = folder_of(storage_settings, "site_b") / former / "quarantine" / "obj" / "damaged"
    evidence.parent.mkdir(parents=True)
    evidence.write_bytes(b"rotten!")

    resync(store.membership, "site_b", anew=True)

    assert keys_of(storage_settings, "site_b", former) == {"quarantine/obj/damaged": b"rotten!"}
    after = open_store(storage_settings)
    cut_off(after, "site_a")
    assert after.read(entry) == b"content"


def test_a_resync_keeps_the_only_copy_there_may_be(storage_settings: StorageSettings) -> None:
    """Where the others hold no good copy, what the endpoint held in its former life is all that is left."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    key = object_key("obj", store.put_bytes("a.bin", b"content").stored_sha256)
    for name in ("site_a", "site_c"):
        (folder_of(storage_settings, name) / store.record.line(name).incarnation / key).write_bytes(b"rotten!")
    former = store.record.line("site_b").incarnation

    assert resync(store.membership, "site_b", anew=True).lost == (key,)
    assert keys_of(storage_settings, "site_b", former)[key] == b"content"


def test_an_endpoint_reborn_while_another_answers_does_not_count(storage_settings: StorageSettings) -> None:
    """Identities are read after all answers: what an endpoint said in its former life is not believed.

    One copy lands on site_b; before site_c has its own, site_b is wiped and refilled. Two copies were then seen, but
    only one would be left, had the first been counted.
    """
    initialise(storage_settings, rounds=0)
    store, elsewhere = open_store(storage_settings), open_store(storage_settings)
    cut_off(store, "site_a")

    def rebirth() -> None:
        landed = folder_of(storage_settings, "site_b") / store.record.line("site_b").incarnation / "obj"
        while not any(path.is_file() for path in landed.rglob("*")):
            time.sleep(0.001)
        wipe(storage_settings, "site_b")
        resync(elsewhere.membership, "site_b")

    make_flaky(store, "site_c", Fault(verb="put", key="obj/", kind="run", action=rebirth))

    entry = store.put_bytes("a.bin", b"content")

    assert elsewhere.membership.read_record().term == 2
    assert open_store(storage_settings).copies(entry) == 2


def test_commits_go_on_after_the_primary_moved(storage_settings: StorageSettings) -> None:
    """With the primary lost, a slot written before keeps its value, and new ones can be written."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    put_once(store.membership, SLOT, b"one")
    cut_off(store, "site_a")
    with pytest.raises(PrimaryAway):
        put_once(store.membership, SLOT.replace("a", "b"), b"new")

    assert move_primary(store.membership, "site_b").primary == "site_b"
    assert settle_slots(store.membership) == []

    assert put_once(store.membership, SLOT, b"two") == b"one"
    assert put_once(store.membership, SLOT.replace("a", "b"), b"new") == b"new"
    bring_back(store, "site_a")
    cut_off(store, "site_c")
    assert read_slot(store.membership, SLOT) == b"one"


def test_the_primary_moves_once(storage_settings: StorageSettings) -> None:
    """Run twice, the second finds nothing to do."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)

    assert move_primary(store.membership, "site_c") == move_primary(store.membership, "site_c")


def test_an_unknown_endpoint_is_refused(storage_settings: StorageSettings) -> None:
    """The message names what there is."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)

    with pytest.raises(ValueError, match="site_a, site_b, site_c"):
        move_primary(store.membership, "site_x")
    assert (folder_of(storage_settings, "site_a") / IDENTITY_KEY).exists()
