"""The store as stages see it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from operators.core.errors import AllCopiesDamaged, DataError, QuorumLost, StorageError
from operators.core.manifest import FileEntry, Made, StageCall, sha256_hex
from operators.core.storage import Store
from operators.core.storage import store as store_module
from operators.core.storage.objects import fetch_object
from tests.core.storage.flaky import Fault, bring_back, cut_off, make_flaky

CALL = StageCall(stage="ingest", revision=1, spec={"x": 1})


def damage(store: Store, entry: FileEntry, *names: str) -> None:
    """Put wrong bytes under an object's name."""
    for name in names:
        line = store.record.line(name)
        key = f"{line.incarnation}/obj/{entry.stored_sha256[:2]}/{entry.stored_sha256}"
        store.membership.endpoints[name].put(key, b"rotten")


def test_a_file_reads_back_as_it_was_put(stores: list[Store], tmp_path: Path) -> None:
    """Bytes and files come back whole, through memory and through a local file."""
    (tmp_path / "in").write_bytes(b"x" * 100_000)
    from_file = stores[0].put_file("data/x.bin", tmp_path / "in", rows=7)
    from_bytes = stores[0].put_bytes("data/x.bin", b"x" * 100_000, rows=7)
    stores[1].fetch(from_file, tmp_path / "deep" / "out")

    assert from_file == from_bytes
    assert stores[1].read(from_file) == b"x" * 100_000
    assert (tmp_path / "deep" / "out").read_bytes() == b"x" * 100_000
    assert stores[0].copies(from_file) == 3


def test_an_empty_file_is_a_file(stores: list[Store]) -> None:
    """No bytes is content too."""
    assert stores[1].read(stores[0].put_bytes("empty", b"")) == b""


def test_a_damaged_copy_is_read_from_another(stores: list[Store]) -> None:
    """Wrong bytes on two endpoints: the third speaks."""
    entry = stores[0].put_bytes("a.bin", b"content")
    damage(stores[0], entry, "site_a", "site_b")

    assert stores[1].read(entry) == b"content"


def test_damaged_everywhere_is_said_not_returned(stores: list[Store]) -> None:
    """No good copy anywhere is an error that no retry helps."""
    entry = stores[0].put_bytes("a.bin", b"content")
    damage(stores[0], entry, "site_a", "site_b", "site_c")

    with pytest.raises(AllCopiesDamaged):
        stores[1].read(entry)


def test_damaged_here_and_away_there_may_be_tried_again(stores: list[Store]) -> None:
    """While an endpoint is away nobody knows that all copies are lost."""
    entry = stores[0].put_bytes("a.bin", b"content")
    damage(stores[0], entry, "site_a", "site_b")
    cut_off(stores[0], "site_c")

    with pytest.raises(QuorumLost):
        stores[0].read(entry)


def test_putting_again_mends_a_damaged_copy(stores: list[Store]) -> None:
    """A copy counts only when it hashes to its name: a rotten one is written anew."""
    entry = stores[0].put_bytes("a.bin", b"content")
    damage(stores[0], entry, "site_a", "site_b")
    stores[0].put_bytes("a.bin", b"content")
    cut_off(stores[0], "site_b", "site_c")

    assert stores[0].read(entry) == b"content"


@pytest.mark.parametrize("kind", ["lose_reply", "lose_call", "refuse"])
def test_a_put_that_fails_at_one_endpoint_is_held_by_the_others(stores: list[Store], kind: str) -> None:
    """Two verified copies acknowledge; whatever befell the third."""
    flaky = make_flaky(stores[0], "site_b", Fault(verb="put", key="obj/", kind=kind))
    entry = stores[0].put_bytes("a.bin", b"content")
    cut_off(stores[1], "site_b")

    assert stores[1].read(entry) == b"content"
    assert flaky.faults[0].fired == 1


def test_a_put_at_one_endpoint_only_is_not_acknowledged(stores: list[Store]) -> None:
    """One copy is not enough, and the same put succeeds when the others are back."""
    cut_off(stores[0], "site_a", "site_b")
    with pytest.raises(QuorumLost):
        stores[0].put_bytes("a.bin", b"content")
    bring_back(stores[0], "site_a", "site_b")

    assert stores[0].copies(stores[0].put_bytes("a.bin", b"content")) == 3


def test_a_manifest_of_the_store_becomes_an_input(stores: list[Store]) -> None:
    """An input carries the manifest's identity and digest."""
    result = stores[0].once(CALL, lambda: Made(files=(stores[0].put_bytes("a.bin", b"a"),)))
    item = stores[1].as_input("part", result.digest)

    assert (result.manifest.identity, result.digest) == (item.identity, item.manifest)


def test_work_done_before_is_found(stores: list[Store]) -> None:
    """The second call makes nothing and gets the first one's manifest."""
    first = stores[0].once(CALL, lambda: Made(facts={"rows": 1}))
    second = stores[1].once(CALL, lambda: pytest.fail("computed twice"))

    assert not first.found
    assert second.found
    assert (first.digest, first.manifest) == (second.digest, second.manifest)


def test_two_tries_of_one_run_key_give_one_value(stores: list[Store]) -> None:
    """Two tries that overlap and compute different bytes: both return the one that won."""
    barrier = threading.Barrier(2)

    def attempt(number: int):
        def make() -> Made:
            barrier.wait()
            return Made(files=(stores[number].put_bytes("a.bin", b"result %d" % number),))

        return stores[number].once(CALL, make)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(attempt, range(2)))

    assert results[0].digest == results[1].digest
    assert sorted(result.found for result in results) == [False, True]
    found = stores[0].find(CALL.run_key)
    assert found is not None
    assert found.digest == results[0].digest


def test_a_run_key_without_result_is_not_found(stores: list[Store]) -> None:
    """Nothing committed, nothing found."""
    assert stores[0].find(CALL.run_key) is None


def test_work_that_failed_left_no_result(stores: list[Store]) -> None:
    """An error in the work commits nothing, and the next try computes."""

    def fail() -> Made:
        stores[0].put_bytes("a.bin", b"half")
        raise DataError("bad row")

    with pytest.raises(DataError):
        stores[0].once(CALL, fail)
    assert stores[0].find(CALL.run_key) is None
    assert not stores[0].once(CALL, Made).found


def test_what_is_no_digest_never_becomes_a_key(stores: list[Store]) -> None:
    """A path in the place of a digest is refused before any endpoint is asked."""
    for wrong in ("../../identity.json", "A" * 64, "", sha256_hex(b"")[:63]):
        with pytest.raises(DataError):
            stores[0].manifest(wrong)
        with pytest.raises(DataError):
            stores[0].find(wrong)


def test_accounts_of_every_try_are_kept_apart_from_the_result(stores: list[Store]) -> None:
    """What tries cost is readable by run key, and no manifest knows it."""
    result = stores[0].once(CALL, Made)
    stores[0].add_account(CALL.run_key, "try-1", {"seconds": 1.5})
    stores[1].add_account(CALL.run_key, "try-2", {"seconds": 0.5})

    assert [account["seconds"] for account in stores[0].accounts(CALL.run_key)] == [1.5, 0.5]
    assert stores[1].manifest(result.digest) == result.manifest


def test_every_file_of_a_manifest_is_fetched_under_its_name(stores: list[Store], tmp_path: Path) -> None:
    """A manifest becomes a folder; a file that is there and wrong is replaced."""
    made = Made(files=(stores[0].put_bytes("train/0.bin", b"train"), stores[0].put_bytes("top.bin", b"top")))
    result = stores[0].once(CALL, lambda: made)
    (tmp_path / "top.bin").write_bytes(b"cut")
    stores[1].fetch_all(result.manifest, tmp_path)

    assert (tmp_path / "train" / "0.bin").read_bytes() == b"train"
    assert (tmp_path / "top.bin").read_bytes() == b"top"


def test_a_commit_whose_spread_failed_is_finished_by_the_next_try(stores: list[Store]) -> None:
    """A try that got no acknowledgement is safe to repeat: the result is the same."""
    flaky = [
        make_flaky(stores[0], name, Fault(verb="put_if_absent", key="run/", kind="lose_call"))
        for name in ("site_b", "site_c")
    ]
    with pytest.raises(StorageError):
        stores[0].once(CALL, Made)

    assert stores[0].once(CALL, Made).manifest.stage == "ingest"
    assert all(fault.fired == 1 for endpoint in flaky for fault in endpoint.faults)


def test_many_files_are_put_as_one_is(stores: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In batches by number and by size, in the order given, each where one alone would lie."""
    monkeypatch.setattr(store_module, "BATCH_FILES", 3)
    monkeypatch.setattr(store_module, "BATCH_BYTES", 1000)
    contents = {f"{index}": bytes([index]) * (1500 if index == 4 else 100) for index in range(10)}
    for name, data in contents.items():
        (tmp_path / f"in-{name}").write_bytes(data)

    entries = stores[0].put_files((f"files/{name}", tmp_path / f"in-{name}") for name in contents)

    assert [entry.name for entry in entries] == [f"files/{name}" for name in contents]
    assert [stores[1].read(entry) for entry in entries] == list(contents.values())
    assert entries[0] == stores[1].put_file("files/0", tmp_path / "in-0")
    assert stores[0].put_files([]) == ()


def test_a_batch_counts_where_all_of_it_lies(stores: list[Store], tmp_path: Path) -> None:
    """An endpoint that took half of a batch does not count: with another one away nothing is acknowledged."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    second = stores[0].put_file("b", tmp_path / "b")
    cut_off(stores[0], "site_a")
    make_flaky(stores[0], "site_c", Fault(verb="put", key=second.stored_sha256, kind="refuse", times=-1))

    with pytest.raises(QuorumLost, match="site_b"):
        stores[0].put_files((name, tmp_path / name) for name in ("a", "b"))


def test_a_full_local_disk_is_not_an_endpoint_that_is_away(stores: list[Store], tmp_path: Path) -> None:
    """The message says what is full; no other endpoint is asked for the same."""
    entry = stores[0].put_bytes("a", b"content")
    for name in ("site_a", "site_b", "site_c"):
        (tmp_path / f"out.{name}").symlink_to("/dev/full")

    with pytest.raises(StorageError, match=r"cannot write .*out\.site_a: No space left on device; make room"):
        fetch_object(
            stores[0].membership, stores[0].record, "obj", entry.stored_sha256, entry.stored_bytes, tmp_path / "out"
        )


def test_a_rotten_account_is_passed_over(store: Store) -> None:
    """A whole copy elsewhere speaks; one that is rotten everywhere is no account."""
    store.add_account(CALL.run_key, "first.1", {"seconds": 1.5})
    store.add_account(CALL.run_key, "second.1", {"seconds": 2.5})
    for line in store.record.members:
        top = f"{line.incarnation}/account/{CALL.run_key}"
        store.membership.endpoints[line.name].put(f"{top}/first.1", b"rotten")
        if line.name != "site_c":
            store.membership.endpoints[line.name].put(f"{top}/second.1", b"rotten")

    assert [account["seconds"] for account in store.accounts(CALL.run_key)] == [2.5]
