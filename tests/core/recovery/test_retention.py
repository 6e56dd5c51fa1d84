"""What retention takes from the backup store is nothing that a kept backup needs."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.manifest import Made, Manifest, StageCall
from operators.core.recovery.back_up_platform import Surroundings, back_up_platform
from operators.core.recovery.backups import moments
from operators.core.recovery.restore_platform import restore_platform
from operators.core.recovery.retention import kept_backups, needed
from operators.core.recovery.spec import RetentionSpec
from operators.core.storage import Store
from operators.core.storage.collect import Collector
from operators.core.storage.collection import CollectSpec
from operators.core.storage.holds import Hold, lift_hold, place_hold
from tests.core.recovery.conftest import ONE, SIGNER, new_store
from tests.core.recovery.test_platform_restore import state_of
from tests.core.recovery.test_recovery import files_of

AT_ONCE = CollectSpec(grace_seconds=0.01, skew_seconds=0.0, max_share=1.0)
DAY = 86400.0
PERIODS = ("daily", "weekly", "monthly", "yearly")


def hold_a_file(store: Store, content: bytes) -> str:
    """Have a file in the store that only a hold keeps; return its manifest."""
    files = (store.put_bytes("file", content), store.put_bytes("shared", b"in each of them"))
    held = store.put_manifest(Manifest.of(StageCall(stage="lone", revision=1), Made(files=files)))
    place_hold(store.membership, store.record, Hold(manifest=held, reason="for some days"))
    return held


def prune(backup: Store, spec: RetentionSpec) -> None:
    """Take both steps of a collection."""
    backup.end_lease()
    for path in files_of(backup):
        os.utime(path, (0, 0))
    collector = Collector(backup, AT_ONCE, needs=lambda held, progress: needed(held, spec, progress))
    collector.mark()
    time.sleep(0.02)
    collector.sweep()


def check_kept(backup: Store, kept: list[str], states: dict[str, dict[str, Any]], folder: Path) -> None:
    """Each kept backup is offered, and gives back the store of its night."""
    assert {one.backup for one in moments(backup) if one.is_kept} >= set(kept)
    for number, digest in enumerate(kept):
        target = new_store(folder / f"target-{number}", 1, 1)
        restore_platform(Store(backup.membership), target, digest)
        assert state_of(target) == states[digest]


@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_every_kept_backup_restores_whole_after_a_pruning(data: st.DataObject) -> None:
    """Over histories of files that come and go, by any retention; so do those that are made afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        store, backup = new_store(Path(folder) / "store", 1, 1), new_store(Path(folder) / "backup", 1, 1)
        now = 1_800_000_000.0
        store.membership.clock = lambda: now
        spec = RetentionSpec(**{name: data.draw(st.sampled_from([2, 1, 3, 0]), name) for name in PERIODS})
        nights = data.draw(st.sampled_from([4, 3, 2]), "nights")
        pruned_after = data.draw(st.sampled_from([nights, nights - 1]), "pruned after")
        held: list[str] = []
        states: dict[str, dict[str, Any]] = {}
        for night in range(1, nights + 1):
            store.end_lease()  # a writer of yesterday commits nothing
            now += data.draw(st.sampled_from([1.0, 0.1, 8.0, 40.0]), "days") * DAY
            if held and not data.draw(st.booleans(), "held on"):
                lift_hold(store.membership, store.record, held.pop())
            held.append(hold_a_file(store, b"file %d" % night))
            expected = state_of(store)
            states[back_up_platform(store, backup, Surroundings(store=ONE), signer=SIGNER).digest] = expected
            if night == pruned_after:
                prune(backup, spec)
                dropped = set(states) - set(kept_backups(backup, spec))

        check_kept(backup, [digest for digest in states if digest not in dropped], states, Path(folder))
