"""The collector takes what nothing reaches, in its own time, and refuses whatever looks wrong."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from operators.core.errors import CollectionRefused, QuorumLost, StorageError
from operators.core.manifest import FileEntry, Made, Manifest, StageCall
from operators.core.settings import EncryptionSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.collect import Collector
from operators.core.storage.collection import CollectSpec
from operators.core.storage.erasures import Erasure, put_on_record
from operators.core.storage.objects import object_key
from operators.core.storage.pins import read_pins, read_tombs
from operators.core.storage.roots import CHECKPOINTS, CHECKPOINTS_KEPT
from operators.core.storage.sums import with_sum
from tests.core.storage.flaky import Fault, cut_off, make_flaky
from tests.core.storage.test_resync import folder_of
from tests.encryption import ENCRYPTION

SPEC = CollectSpec(grace_seconds=0.2, skew_seconds=0.0, max_share=0.9)
DAYS = 10 * 24 * 3600


def aged(settings: StorageSettings) -> None:
    """Make every file ten days old, as their endpoints see it."""
    for item in settings.endpoints:
        for path in folder_of(settings, item.name).rglob("*"):
            if path.is_file():
                os.utime(path, (time.time() - DAYS, time.time() - DAYS))


@pytest.fixture
def used(storage_settings: StorageSettings) -> tuple[FileEntry, FileEntry]:
    """A store of old files: one that a result names, one that nothing names."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    needed, orphan = store.put_bytes("needed.bin", b"needed" * 100), store.put_bytes("orphan.bin", b"orphan")
    store.commit(Manifest.of(StageCall(stage="test", revision=1), Made(files=(needed,))))
    store.close()
    aged(storage_settings)
    return needed, orphan


def collected(store: Store, spec: CollectSpec = SPEC) -> tuple[str, ...]:
    """Mark, wait the grace out, sweep; return what was deleted."""
    Collector(store, spec).mark()
    time.sleep(spec.grace_seconds + 0.1)
    return Collector(store, spec).sweep().keys


def copies(settings: StorageSettings, entry: FileEntry) -> list[Path]:
    """Return every copy of a file's object."""
    return [path for item in settings.endpoints for path in folder_of(settings, item.name).rglob(entry.stored_sha256)]


def test_what_nothing_reaches_goes_and_what_is_reached_stays(
    storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]
) -> None:
    """The orphan leaves every endpoint, the named file none; the second collection finds nothing."""
    needed, orphan = used
    store = open_store(storage_settings)

    assert collected(store) == (object_key("obj", orphan.stored_sha256),)

    assert copies(storage_settings, orphan) == []
    assert len(copies(storage_settings, needed)) == 3
    assert read_tombs(store.membership, store.record) == ()
    assert Collector(store, SPEC).plan().keys == ()


def test_a_plan_writes_nothing(storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]) -> None:
    """Looking is free: it names the orphan and its bytes."""
    store = open_store(storage_settings)
    before = {path for item in storage_settings.endpoints for path in folder_of(storage_settings, item.name).rglob("*")}

    plan = Collector(store, SPEC).plan()

    assert plan.by_kind() == {"obj": 1}
    assert plan.bytes == len(b"orphan")
    after = {path for item in storage_settings.endpoints for path in folder_of(storage_settings, item.name).rglob("*")}
    assert after == before


def test_checkpoints_go_once_their_run_key_has_its_result(storage_settings: StorageSettings) -> None:
    """Before, they are what a retry resumes from; after, they are bytes."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    call = StageCall(stage="fine_tune", revision=1)
    part = store.put_bytes("part.bin", b"state" * 100)
    saved = store.put_manifest(Manifest.of(StageCall(stage="checkpoint", revision=1), Made(files=(part,))))
    store.stream(f"checkpoint-{call.run_key}").append(saved, None)
    store.close()
    aged(storage_settings)
    store = open_store(storage_settings)
    assert Collector(store, SPEC).plan().keys == ()

    model = store.put_bytes("model.bin", b"weights" * 200)
    store.commit(Manifest.of(call, Made(files=(model,))))
    store.close()
    aged(storage_settings)

    assert set(collected(open_store(storage_settings))) == {
        object_key("obj", part.stored_sha256),
        object_key("man", saved),
    }


def test_a_training_that_is_not_done_keeps_its_newest_checkpoints(storage_settings: StorageSettings) -> None:
    """Of five the two oldest go: a training may be long, and its space is bounded."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    parts = [store.put_bytes("part.bin", bytes([step]) * 100) for step in range(5)]
    entry = None
    for part in parts:
        saved = store.put_manifest(Manifest.of(StageCall(stage="checkpoint", revision=1), Made(files=(part,))))
        entry = store.stream(f"{CHECKPOINTS}{'0' * 64}").append(saved, entry)
    store.close()
    aged(storage_settings)

    gone = {key for key in collected(open_store(storage_settings)) if key.startswith("obj/")}

    assert gone == {object_key("obj", part.stored_sha256) for part in parts[:-CHECKPOINTS_KEPT]}


def test_nothing_young_is_listed(storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]) -> None:
    """What was written within the grace may be on its way into a commit."""
    store = open_store(storage_settings)
    store.put_bytes("young.bin", b"young")
    store.close()

    keys = Collector(open_store(storage_settings), replace(SPEC, grace_seconds=3600)).plan().keys

    assert keys == (object_key("obj", used[1].stored_sha256),)


def test_a_sweep_waits_for_the_grace_and_for_writers_that_began_before(
    storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]
) -> None:
    """Nothing is deleted while somebody may rely on it without knowing the list."""
    writer, store = open_store(storage_settings), open_store(storage_settings)
    writer.put_bytes("first.bin", b"first")
    assert len(read_pins(store.membership, store.record)) == 1
    Collector(store, SPEC).mark()
    assert "grace" in Collector(store, SPEC).sweep().waits_for
    time.sleep(0.3)

    assert "1 writers" in Collector(store, SPEC).sweep().waits_for
    assert len(copies(storage_settings, used[1])) == 3
    writer.close()

    assert len(Collector(store, SPEC).sweep().keys) == 1


def test_what_a_writer_needs_of_a_list_is_spared(
    storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]
) -> None:
    """The same bytes are written again after they were listed: they stay, although no commit names them yet."""
    store, writer = open_store(storage_settings), open_store(storage_settings)
    Collector(store, SPEC).mark()
    entry = writer.put_bytes("orphan.bin", b"orphan")
    time.sleep(0.3)

    assert Collector(store, SPEC).sweep().keys == ()
    writer.commit(Manifest.of(StageCall(stage="later", revision=1), Made(files=(entry,))))
    assert open_store(storage_settings).read(entry) == b"orphan"


def test_what_is_being_deleted_cannot_be_relied_on(
    storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]
) -> None:
    """Once the list is sealed a writer that needs a key of it is told to come back."""
    store, writer = open_store(storage_settings), open_store(storage_settings)
    Collector(store, SPEC).mark()
    (tomb,) = read_tombs(store.membership, store.record)
    for line in store.record.members:
        store.membership.endpoints[line.name].put(
            f"{line.incarnation}/{tomb.seal_key}", with_sum(tomb.seal_key, b"sealed")
        )

    with pytest.raises(StorageError, match="being deleted"):
        writer.put_bytes("orphan.bin", b"orphan")


def test_a_writer_that_could_not_read_the_lists_reads_them_at_its_next_try(
    storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]
) -> None:
    """It is pinned by then, which keeps no older list from being swept."""
    store, writer = open_store(storage_settings), open_store(storage_settings)
    Collector(store, SPEC).mark()
    flaky = make_flaky(writer, "site_b"), make_flaky(writer, "site_c")
    for endpoint in flaky:
        endpoint.faults.append(Fault(verb="list", key="/tomb/", kind="refuse", times=2))
    with pytest.raises(QuorumLost):
        writer.put_bytes("orphan.bin", b"orphan")
    entry = writer.put_bytes("orphan.bin", b"orphan")
    time.sleep(0.3)

    assert Collector(store, SPEC).sweep().keys == ()
    assert open_store(storage_settings).read(entry) == b"orphan"


def test_a_pin_that_rots_on_one_endpoint_still_protects_its_writer(storage_settings: StorageSettings) -> None:
    """A digit changed in its end would let the collector take its writer for dead."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    store.put_bytes("a.bin", b"content")
    (pin,) = read_pins(store.membership, store.record)
    for name in ("site_c", "site_b"):
        endpoint, line = store.membership.endpoints[name], store.record.line(name)
        stored = endpoint.get(f"{line.incarnation}/{pin.key}")
        assert stored is not None
        endpoint.put(f"{line.incarnation}/{pin.key}", stored.replace(b'"expires":1', b'"expires":0', 1))
        assert read_pins(store.membership, store.record) == [pin]


def test_where_no_copy_of_a_pin_is_whole_the_collector_does_not_go_on(storage_settings: StorageSettings) -> None:
    """Nobody can tell any more whose writer lives; a damaged copy of one endpoint alone was never acknowledged."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    key = f"pin/{'0' * 32}"
    for number, line in enumerate(store.record.members):
        store.membership.endpoints[line.name].put(f"{line.incarnation}/{key}", b"rotten")
        if number == 0:
            assert read_pins(store.membership, store.record) == []

    with pytest.raises(QuorumLost, match="resync"):
        read_pins(store.membership, store.record)


def test_a_commit_is_refused_when_the_lease_is_too_old(storage_settings: StorageSettings) -> None:
    """A writer that slept through its lease cannot tell whether its files are still there."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    entry = store.put_bytes("a.bin", b"content")
    awake = store.membership.clock
    store.membership.clock = lambda: awake() + 20 * 3600

    with pytest.raises(StorageError, match="lease"):
        store.commit(Manifest.of(StageCall(stage="test", revision=1), Made(files=(entry,))))


def test_it_refuses_without_all_endpoints(storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]) -> None:
    """An endpoint that is away may hold what shows that a key is needed."""
    store = open_store(storage_settings)
    cut_off(store, "site_c")

    with pytest.raises(CollectionRefused, match="site_c"):
        Collector(store, SPEC).plan()


def test_it_refuses_a_large_share(storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]) -> None:
    """A mistake in what is reached would look like this."""
    store = open_store(storage_settings)

    with pytest.raises(CollectionRefused, match="bytes would go"):
        Collector(store, replace(SPEC, max_share=0.001)).plan()


def test_it_refuses_when_a_manifest_cannot_be_read(
    storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]
) -> None:
    """What an unreadable manifest names cannot be known."""
    for item in storage_settings.endpoints:
        for path in folder_of(storage_settings, item.name).glob("*/man/*/*"):
            path.write_bytes(b"rotten")

    with pytest.raises(CollectionRefused, match="cannot be told"):
        Collector(open_store(storage_settings), SPEC).plan()


def test_it_refuses_an_empty_listing(storage_settings: StorageSettings) -> None:
    """A store without any file is more likely a store that was not listed."""
    initialise(storage_settings, rounds=0)

    with pytest.raises(CollectionRefused, match="never believed"):
        Collector(open_store(storage_settings), SPEC).plan()


def test_it_refuses_a_clock_that_is_off(storage_settings: StorageSettings, used: tuple[FileEntry, FileEntry]) -> None:
    """Ages would be wrong."""
    store = open_store(storage_settings)
    right = store.membership.clock
    store.membership.clock = lambda: right() + 3600

    with pytest.raises(CollectionRefused, match="clocks"):
        Collector(store, replace(SPEC, skew_seconds=60)).plan()


def test_a_writer_at_work_renews_its_lease(storage_settings: StorageSettings) -> None:
    """A training writes for longer than a pin lives: each pin keeps the first one's start, and all end with it."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    awake, hours = store.membership.clock, [0.0]
    store.membership.clock = lambda: awake() + hours[0] * 3600
    for hours[0] in (0.0, 10.0, 13.0, 26.0, 40.0):
        entry = store.put_bytes(f"{hours[0]}.bin", str(hours[0]).encode())
        store.commit(Manifest.of(StageCall(stage="test", revision=1, seed=int(hours[0])), Made(files=(entry,))))

    pins = read_pins(store.membership, store.record)
    assert len(pins) == 4
    assert len({pin.started for pin in pins}) == 1
    store.close()
    assert read_pins(open_store(storage_settings).membership, store.record) == []


@pytest.mark.parametrize("encryption", [None, ENCRYPTION], ids=["plain", "encrypted"])
def test_the_files_of_a_forgotten_manifest_go_and_it_stays(
    storage_settings: StorageSettings, encryption: EncryptionSettings | None
) -> None:
    """Objects and wrapped keys leave every endpoint; the result is still found; what another names too stays."""
    settings = replace(storage_settings, encryption=encryption)
    initialise(settings, rounds=0)
    store = open_store(settings)
    own, shared = store.put_bytes("own.bin", b"own" * 100), store.put_bytes("shared.bin", b"shared" * 100)
    doomed, other = StageCall(stage="doomed", revision=1), StageCall(stage="other", revision=1)
    made = store.commit(Manifest.of(doomed, Made(files=(own, shared))))
    store.commit(Manifest.of(other, Made(files=(shared,))))
    put_on_record(store, Erasure(reason="request 7", by="tester", forgotten=(made.digest,)))
    store.close()
    aged(settings)
    keys = collected(open_store(settings))
    store = open_store(settings)

    assert object_key("obj", own.stored_sha256) in keys
    assert {key.split("/")[0] for key in keys} == ({"obj", "key"} if encryption else {"obj"})
    assert copies(settings, own) == []
    assert store.read(shared) == b"shared" * 100
    assert store.find(doomed.run_key) is not None
