"""Backups, restores and drills that are killed: each ends right the next time, and nothing half restored is live."""

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
from operators.core.recovery.inventory import PLATFORM
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

KILLS = {"backup": 9, "restore": 9, "drill": 7}
SEED = 7


class Killed:
    """Runs work in children of its own and kills them, each somewhere between its first moment and its last."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work, self._random, self.fired = work, random.Random(SEED), 0
        started = time.monotonic()
        self._run(None)
        self._seconds = time.monotonic() - started

    def once(self) -> None:
        """Run the work and kill it, unless it was faster."""
        self._run(self._random.uniform(0, self._seconds))

    def _run(self, seconds: float | None) -> None:
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
            self.fired += 1
        else:
            assert os.WEXITSTATUS(how) == 0


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


def test_a_killed_backup_is_whole_or_not_announced(folder: Path) -> None:
    """Whatever the stream names after each kill restores to the whole store; the store itself is as it was."""
    expected = state(folder, "store")
    killed = Killed(lambda: save(folder))
    for number in range(KILLS["backup"]):
        shutil.rmtree(folder / "backup")
        new_store(folder / "backup", 1, 1).close()
        killed.once()
        backup = opened(folder, "backup")
        for found in moments(backup):
            target = new_store(folder / f"target-{number}", 1, 1)
            restore_platform(backup, target, found.backup)
            assert without_record(state_of(target)) == expected
            target.close()
        backup.close()
    save(folder)

    assert state(folder, "store") == expected
    assert opened(folder, "backup").stream(PLATFORM).head() is not None
    assert killed.fired > 0


def test_a_killed_restore_leaves_nothing_live_that_is_not_whole(folder: Path) -> None:
    """After each kill the place has the whole release stream with all it reaches, or a part of the rest; then all."""
    expected = state(folder, "store")
    save(folder)
    backup = opened(folder, "backup")
    digest = moments(backup)[-1].backup
    backup.close()

    def restore() -> None:
        if not (folder / "target").exists():
            new_store(folder / "target", 3, 2).close()
        backup, target = opened(folder, "backup"), opened(folder, "target", 3, 2)
        restore_platform(backup, target, digest)
        target.close()
        backup.close()

    new_store(folder / "target", 3, 2).close()
    killed = Killed(restore)
    for _ in range(KILLS["restore"]):
        shutil.rmtree(folder / "target")
        new_store(folder / "target", 3, 2).close()
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
    assert killed.fired > 0


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

    killed = Killed(drill)
    for _ in range(KILLS["drill"]):
        killed.once()
        store = opened(folder, "store")
        assert without_record(state_of(store)) == expected
        assert all(store.manifest(entry.manifest).facts["targets_met"] for entry in store.stream(STREAM).entries())
        store.close()
    drill()

    assert len(moments(opened(folder, "backup"))) == 1
    assert killed.fired > 0
