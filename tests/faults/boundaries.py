"""Dies at every boundary of an operation, in turn: the program that `test_crash` runs.

`python -m tests.faults.boundaries OPERATION FOLDER` makes a store in three directories below FOLDER and counts the
effects that OPERATION has on disk: files opened for writing, links, renames, folders made, files removed. Python's own
audit events tell of each one before it happens. Then, for each k, a child works on a copy of that store and ends with
`os._exit(137)` right before effect k, which is right after effect k-1; a reader looks at a copy of what that left; a
second child tries again and dies at another boundary; a third one tries again to the end. What it leaves must be what
an undisturbed one leaves.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

from operators.core.manifest import Made, StageCall, sha256_hex
from operators.core.storage import Store
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.founding import found_store
from operators.core.storage.members import Membership
from operators.core.storage.primary import move_primary, settle_slots
from operators.core.storage.records import read_identity
from operators.core.storage.resync import resync
from tests.faults.rounds import OneByOne

NAMES = ("site_a", "site_b", "site_c")
CALL = StageCall(stage="ingest", revision=1, spec={"x": 1})
EARLIER = StageCall(stage="ingest", revision=1, spec={"x": 0})
KILLED = 137


def members(folder: Path, seed: int) -> Membership:
    """Return the members of the store below a folder."""
    endpoints = [DirectoryEndpoint(name, folder / name) for name in NAMES]
    return Membership(endpoints, 2, around=OneByOne(), random=Random(seed))


def put_file(folder: Path, seed: int) -> None:
    """Hold a file at all endpoints."""
    Store(members(folder, seed)).put_bytes("a.bin", b"content" * 1000)


def commit(folder: Path, seed: int) -> None:
    """Put a file and make it the result of a run key."""
    store = Store(members(folder, seed))
    store.once(CALL, lambda: Made(files=(store.put_bytes("a.bin", b"content"),)))


def append(folder: Path, seed: int) -> None:
    """Add the second entry of a stream."""
    stream = Store(members(folder, seed)).stream("release-x")
    first = stream.entries()[0]
    stream.append(sha256_hex(b"second"), first)


def resync_wiped(folder: Path, seed: int) -> None:
    """Refill an endpoint that was wiped."""
    resync(members(folder, seed), "site_b")


def move(folder: Path, seed: int) -> None:
    """Make another endpoint the primary, and read every slot once."""
    membership = members(folder, seed)
    move_primary(membership, "site_c")
    assert settle_slots(membership) == []


OPERATIONS = {"put_file": put_file, "commit": commit, "append": append, "resync": resync_wiped, "move": move}


def template(folder: Path, operation: str) -> None:
    """Make the store that an operation starts from."""
    for name in NAMES:
        (folder / name).mkdir(parents=True)
    membership = members(folder, 1)
    found_store(membership)
    store = Store(membership)
    store.once(EARLIER, lambda: Made(files=(store.put_bytes("earlier.bin", b"earlier"),)))
    store.stream("release-x").append(sha256_hex(b"first"), None)
    if operation == "resync":
        shutil.rmtree(folder / "site_b")
        (folder / "site_b").mkdir()


def contents(folder: Path) -> dict[str, object]:
    """Return what the store says and holds: the record without its numbers, and every key with its digest."""
    membership = members(folder, 9)
    record = membership.read_record()
    held = {}
    for name, endpoint in membership.endpoints.items():
        line = record.line(name)
        assert line.is_line_of(read_identity(endpoint)), f"{name} does not count"
        prefix = f"{line.incarnation}/"
        for found in endpoint.list(prefix):
            key = found.key.removeprefix(prefix)
            if key.startswith("pin/"):
                continue  # a lease: what a dead process took ends by itself
            # The term of a slot's entry depends on how many moves were begun.
            slot = key.rsplit("/", 1)[0] if key.startswith(("run/", "log/")) else key
            held[f"{name} {slot}"] = sha256_hex(endpoint.get(found.key) or b"")
    return {"primary": record.primary, "members": sorted(record.names), "held": held}


def read_earlier(folder: Path) -> None:
    """Read all that was there before the operation, as somebody does who comes right after a crash."""
    store = Store(members(folder, 8))
    found = store.find(EARLIER.run_key)
    assert found is not None, "the earlier result is not found"
    assert store.read(found.manifest.file("earlier.bin")) == b"earlier"
    assert store.stream("release-x").entries()[0].manifest == sha256_hex(b"first")
    later = store.find(CALL.run_key)
    assert later is None or store.read(later.manifest.file("a.bin")) == b"content"


def at_effect(boundary: int, folder: Path, act: Callable[[], object]) -> None:
    """Arrange that this process acts right before its effect number `boundary` below a folder, counted from 1."""
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if is_effect(event, arguments, f"{folder}/site_"):
            count += 1
            if count == boundary:
                act()

    sys.addaudithook(hook)


def die_at(boundary: int, folder: Path) -> None:
    """Arrange that this process ends there."""
    at_effect(boundary, folder, lambda: os._exit(KILLED))


def is_effect(event: str, arguments: tuple[object, ...], below: str) -> bool:
    """Say whether an audit event is of a change on disk below a folder."""
    if event == "open":
        path, _mode, flags = arguments
        return str(path).startswith(below) and bool(int(str(flags)) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if event in ("os.link", "os.rename", "os.mkdir", "os.remove"):
        return str(arguments[0]).startswith(below)
    return False


def in_child(work: Callable[[], None]) -> int:
    """Run work in a fork and return its exit status; an exception is 1, and printed."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(operation: str, place: Path) -> dict[str, object]:
    """Try every boundary; return how many there are and what went wrong."""
    work = OPERATIONS[operation]
    template(place / "start", operation)
    shutil.copytree(place / "start", place / "whole")
    assert in_child(lambda: work(place / "whole", 2)) == 0
    expected = contents(place / "whole")
    wrong: list[str] = []
    boundary, crashes = 0, 0
    while True:
        boundary += 1
        folder = place / f"k{boundary}"
        shutil.copytree(place / "start", folder)
        status = in_child(lambda: (die_at(boundary, folder), work(folder, 100 + boundary)))  # noqa: B023
        shutil.copytree(folder, place / "look")
        if in_child(lambda: read_earlier(place / "look")) != 0:
            wrong.append(f"boundary {boundary}: a reader after the crash does not find what was there")
        shutil.rmtree(place / "look")
        again = in_child(lambda: (die_at(1 + boundary * 7 % 23, folder), work(folder, 1000 + boundary)))  # noqa: B023
        last = in_child(lambda: work(folder, 10_000 + boundary))  # noqa: B023
        crashes += (status == KILLED) + (again == KILLED)
        if status not in (0, KILLED) or again not in (0, KILLED) or last != 0:
            wrong.append(f"boundary {boundary}: ended with {status}, then {again}, then {last}")
        elif contents(folder) != expected:
            wrong.append(f"boundary {boundary}: leaves something else than an undisturbed run")
        shutil.rmtree(folder)
        if status == 0:
            return {"boundaries": boundary - 1, "crashes": crashes, "wrong": wrong}


if __name__ == "__main__":
    print(json.dumps(run(sys.argv[1], Path(sys.argv[2]))))
