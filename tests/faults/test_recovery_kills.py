"""25 kills of backups, restores and drills: each ends right the next time, and nothing half restored is live."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from operators.core.recovery.back_up_platform import Surroundings, back_up_platform
from operators.core.recovery.backups import moments
from operators.core.recovery.drill import STREAM, record_drill, rehearse
from operators.core.recovery.kit import RecoveryKit
from operators.core.recovery.restore_platform import restore_platform
from operators.core.recovery.spec import DrillSpec
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.graph import closure
from operators.core.storage.listing import stream_names
from tests.core.recovery.conftest import ONE, SIGNER, make_release, new_store
from tests.core.recovery.test_platform_restore import state_of

pytestmark = pytest.mark.faults

KILLS = {"backup": 5, "incremental": 5, "restore": 8, "drill": 7}
SEED = 7
TRIES = 20
"""A moment that came after the work's end is drawn again so often at most."""


class Killed:
    """Runs work in children of its own and kills them, each somewhere between its first moment and its last."""

    def __init__(self, prepare: Callable[[], object], work: Callable[[], object]) -> None:
        self._prepare, self._work, self._random = prepare, work, random.Random(SEED)
        self._prepare()
        started = time.monotonic()
        assert not self._run(None)
        self._seconds = time.monotonic() - started

    def once(self) -> None:
        """Have the work begun anew and killed before its end."""
        for _ in range(TRIES):
            self._prepare()
            if self._run(self._random.uniform(0, self._seconds)):
                return
        raise AssertionError(f"none of {TRIES} kills came before the end of {self._seconds:.2f} s of work")

    def _run(self, seconds: float | None) -> bool:
        """Return whether the work was killed; what was not has ended well."""
        child = os.fork()
        if child == 0:
            status = 1
            try:
                self._work()
                status = 0
            finally:
                os._exit(status)
        if seconds is not None:
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
        _, how = os.waitpid(child, 0)
        if os.WIFSIGNALED(how):
            return True
        assert os.WEXITSTATUS(how) == 0
        return False


def where(folder: Path, count: int, acknowledge: int) -> StorageSettings:
    """Return the settings of a store in directories below a folder."""
    endpoints = tuple(EndpointSettings(name=f"e{n}", url=(folder / f"e{n}").as_uri()) for n in range(count))
    return StorageSettings(endpoints=endpoints, acknowledge=acknowledge)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with two releases, and an empty backup store; nobody has them open."""
    store = new_store(tmp_path / "store", 1, 1)
    for number in (1, 2):
        make_release(store, f"2002-09-0{number}", b"day %d" % number * 2000)
    store.close()
    new_store(tmp_path / "backup", 1, 1).close()
    return tmp_path


def save(folder: Path, recipients: Mapping[str, str] | None = None) -> None:
    """Back up the store of the folder."""
    store, backup = open_store(where(folder / "store", 1, 1)), open_store(where(folder / "backup", 1, 1))
    back_up_platform(store, backup, Surroundings(store=ONE, recipients=recipients or {}), signer=SIGNER)
    backup.close()
    store.close()


def opened(folder: Path, name: str, count: int = 1, acknowledge: int = 1) -> Store:
    """Open one of the stores of the folder."""
    return open_store(where(folder / name, count, acknowledge))


def state(folder: Path, name: str, count: int = 1, acknowledge: int = 1) -> dict[str, Any]:
    """Return what one of the stores keeps; it is closed again, so that no thread lives on into a child."""
    store = opened(folder, name, count, acknowledge)
    found = without_record(state_of(store))
    store.close()
    return found


def without_record(found: dict[str, Any]) -> dict[str, Any]:
    """Return a state without the records of backups and drills, which their makers append to the store."""
    records = ("backup_record", "recovery_drill")
    streams = {name: entries for name, entries in found["streams"].items() if name not in ("backup", STREAM)}
    manifests = {digest: one for digest, one in found["manifests"].items() if one.stage not in records}
    return {**found, "streams": streams, "manifests": manifests}


def remake(folder: Path, name: str, count: int = 1, acknowledge: int = 1) -> None:
    """Have one of the stores of the folder empty."""
    shutil.rmtree(folder / name, ignore_errors=True)
    new_store(folder / name, count, acknowledge).close()


@pytest.mark.parametrize("there", ["nothing", "an older backup"])
def test_a_killed_backup_is_whole_or_not_announced(folder: Path, there: str) -> None:
    """Whatever the stream names after each kill restores whole; the next backup ends, and restores to the store."""
    states = [state(folder, "store")]
    if there != "nothing":
        save(folder)
        shutil.copytree(folder / "backup", folder / "older")
        store = opened(folder, "store")
        make_release(store, "2002-09-03", b"day 3" * 2000)
        store.close()
        states.append(state(folder, "store"))

    def prepare() -> None:
        if there == "nothing":
            remake(folder, "backup")
        else:
            shutil.rmtree(folder / "backup")
            shutil.copytree(folder / "older", folder / "backup")

    def restored() -> list[dict[str, Any]]:
        backup = opened(folder, "backup")
        found = []
        for one in moments(backup):
            remake(folder, "target")
            target = opened(folder, "target")
            restore_platform(backup, target, one.backup)
            found.append(without_record(state_of(target)))
            target.close()
        backup.close()
        return found

    killed = Killed(prepare, lambda: save(folder))
    for _ in range(KILLS["backup"] if there == "nothing" else KILLS["incremental"]):
        killed.once()
        assert all(found in states for found in restored())
        save(folder)
        assert state(folder, "store") == restored()[-1] == states[-1]


def test_a_killed_restore_leaves_nothing_live_that_is_not_whole(folder: Path) -> None:
    """After each kill the place has the whole release stream with all it reaches, or a part of the rest; then all."""
    expected = state(folder, "store")
    save(folder)
    backup = opened(folder, "backup")
    digest = moments(backup)[-1].backup
    backup.close()

    def restore() -> None:
        backup, target = opened(folder, "backup"), opened(folder, "target", 3, 2)
        restore_platform(backup, target, digest)
        target.close()
        backup.close()

    killed = Killed(lambda: remake(folder, "target", 3, 2), restore)
    for _ in range(KILLS["restore"]):
        killed.once()
        target = opened(folder, "target", 3, 2)
        if "release-mail" in stream_names(target):
            live = [entry.manifest for entry in target.stream("release-mail").entries()]
            for manifest in closure(target, live).values():
                assert all(target.read(entry) for entry in manifest.files)
                assert target.find(manifest.run_key) is not None
        target.close()
        restore()
        assert state(folder, "target", 3, 2) == expected


def test_a_killed_drill_leaves_no_record_and_touches_nothing(folder: Path) -> None:
    """The store and the backup are as before but for whole records; the next drill meets its targets."""
    kit = RecoveryKit.new(where(folder / "backup", 1, 1), [SIGNER.public_key])
    save(folder, {"keeper": kit.public_key})
    expected = state(folder, "store")

    def drill() -> None:
        store = opened(folder, "store")
        shutil.rmtree(folder / "place", ignore_errors=True)
        with rehearse(kit, folder / "place", store.membership.clock()) as rehearsal:
            facts = {**rehearsal.facts, "rto_seconds": 1.0}
        record_drill(store, facts, DrillSpec())
        store.close()

    killed = Killed(lambda: None, drill)
    for _ in range(KILLS["drill"]):
        killed.once()
        store = opened(folder, "store")
        assert without_record(state_of(store)) == expected
        assert all(store.manifest(entry.manifest).facts["targets_met"] for entry in store.stream(STREAM).entries())
        store.close()
    drill()

    assert len(moments(opened(folder, "backup"))) == 1
