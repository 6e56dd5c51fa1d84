"""An erasure that is killed anywhere goes on when it is run again."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.erasure.erase import Found, forget_files, put_rows_on_record
from operators.core.erasure.holders import Lineage
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.storage import Store
from operators.core.storage.audit import trail, verify
from operators.core.storage.erasures import ErasedRow, erased_rows, erasures, forgotten
from tests.core.recovery.conftest import new_store
from tests.core.storage.flaky import Fault, make_flaky

CALLS = 260
"""Of one endpoint that a whole erasure makes, and some more: a kill that comes too late is none."""


class Killed(BaseException):
    """What SIGKILL looks like from inside: nothing catches it."""


def kill_at(number: int, *stores: Store) -> None:
    """Have whatever uses these stores die at its n-th call of an endpoint, after the call took effect."""
    calls = iter(range(number))

    def die() -> None:
        if next(calls, None) is None:
            raise Killed

    for store in stores:
        make_flaky(store, "e0", Fault(verb="*", key="", kind="run", times=-1, action=die))


def spare(*stores: Store) -> None:
    """Let them live."""
    for store in stores:
        make_flaky(store, "e0").faults.clear()


@settings(max_examples=12, deadline=None)
@given(number=st.integers(0, CALLS))
def test_the_next_try_ends_as_if_nothing_had_happened(number: int) -> None:
    """One entry for the rows on both stores, one for what was forgotten, one of each on a trail that is whole."""
    row = ErasedRow(source="mail", day="2002-09-26", id="ham/00001", key="0" * 16)
    with tempfile.TemporaryDirectory() as folder:
        store, backup = new_store(Path(folder) / "store", 3, 2), new_store(Path(folder) / "backup", 1, 1)
        made = store.commit(Manifest.of(StageCall(stage="ingest_file", revision=1), Made())).digest
        lineage = Lineage(made=frozenset({made}), objects=frozenset(), holders=(), live={})
        found = Found(
            rows=frozenset({row}),
            unrecorded=frozenset({row}),
            files=(),
            landing=(),
            unread=(),
            other_keys=0,
            lineage=lineage,
        )

        def erase() -> None:
            put_rows_on_record(store, backup, found, reason="request 7", by="tester")
            forget_files(store, found, reason="request 7", by="tester")

        kill_at(number, store, backup)
        try:
            erase()
        except Killed:
            assert erased_rows_of_backup_first(store, backup)
        spare(store, backup)
        erase()
        erase()

        assert [len(erasures(place)) for place in (store, backup)] == [2, 1]
        assert erased_rows(store) == erased_rows(backup) == {row}
        assert forgotten(store) == {made}
        assert [entry.change.action for entry in trail(store)] == ["erase", "forget"]
        assert verify(store).broken is None


def erased_rows_of_backup_first(store: Store, backup: Store) -> bool:
    """Say whether the backup store knows every row that the store knows."""
    spare(store, backup)
    return erased_rows(store) <= erased_rows(backup)
