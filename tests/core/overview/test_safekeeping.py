"""What needs a person for the data to be safe, and how soon."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest

from operators.core.overview.attention import Severity
from operators.core.overview.live import Live
from operators.core.overview.safekeeping import of_backup, of_platform_backup, of_safety
from operators.core.overview.safety import read_backup, read_safety
from operators.core.recovery.drill import record_drill
from operators.core.recovery.spec import DrillSpec
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from operators.core.storage.scrubbing import ScrubSpec, scrub_storage
from tests.core.overview.nights import NOON, RECIPE, back_up, back_up_whole

LIVE = Live(
    recipe=RECIPE, release="a" * 64, model="b" * 64, version="2002-09-26-bbbb", day="2002-09-26", since=NOON, proof=None
)  # fmt: skip


def test_a_release_without_a_backup_of_its_own_is_looked_at(store: Store) -> None:
    """None at all, one from before it went live, or one that nobody read back."""
    back_up(store)
    backup = read_backup(store, RECIPE)
    before, after = (dataclasses.replace(LIVE, since=NOON.replace(year=year)) for year in (2020, 2100))

    assert backup is not None
    manifest = dataclasses.replace(backup.manifest, facts={**backup.facts, "verified": 0})
    unread = dataclasses.replace(backup, manifest=manifest)

    assert ["never backed up" in need.what for need in of_backup("Mail", before, None)] == [True]
    assert ["not read back" in need.what for need in of_backup("Mail", before, unread)] == [True]
    assert list(of_backup("Mail", before, backup)) == []
    assert ["older than what is live" in need.what for need in of_backup("Mail", after, backup)] == [True]


def test_an_endpoint_away_is_named_and_the_primary_is_urgent(store: Store, storage_settings: StorageSettings) -> None:
    """With any other away the store goes on; without the primary nothing is committed."""
    primary = store.record.primary
    for one in storage_settings.endpoints:
        Path(one.url.removeprefix("file://")).rename(f"{one.url.removeprefix('file://')}.away")
        safety = read_safety(store)
        [need] = [found for found in of_safety(safety, [], NOON) if found.severity is not Severity.NOTE]

        assert [state.name for state in safety.away] == [one.name]
        assert one.name in need.what
        assert need.severity == (Severity.ACT if one.name == primary else Severity.LOOK)
        Path(f"{one.url.removeprefix('file://')}.away").rename(one.url.removeprefix("file://"))


def test_a_scrub_is_dated_and_an_old_one_is_looked_at(store: Store) -> None:
    """The report holds no time; the endpoints say when its entry was written."""
    scrub_storage(store, ScrubSpec(deep_parts=0))
    now = datetime.datetime.now(datetime.UTC)
    safety = read_safety(store)

    assert safety.scrub is not None
    assert safety.scrub.at is not None
    assert abs((now - safety.scrub.at).total_seconds()) < 3600
    assert list(of_safety(safety, [], now)) == []
    assert ["last scrubbed" in need.what for need in of_safety(safety, [], now + datetime.timedelta(days=4))] == [True]


def test_a_drill_that_missed_a_target_is_urgent(store: Store) -> None:
    """What a rehearsal shows is what a loss would."""
    assert read_safety(store).drill is None

    record_drill(store, {"error": "the backup does not read"}, DrillSpec())
    [need] = [found for found in of_safety(read_safety(store), [], NOON) if found.severity is Severity.ACT]

    assert need.what.startswith("The last drill shows: ")


@pytest.mark.parametrize(
    ("hours", "keys", "keepers", "expected"),
    [
        (3, ("drill", "ada"), frozenset({"ada"}), []),
        (3, ("drill", "ada"), None, []),
        (3, ("drill",), frozenset({"ada"}), ["Nobody outside this platform can open its newest backup."]),
        (3, ("drill",), frozenset(), ["Nobody outside this platform can open its newest backup."]),
        (30, ("ada",), frozenset({"ada"}), ["The newest backup of the platform is old: 30 hours."]),
    ],
)
def test_a_platform_s_backup_must_be_young_and_a_keeper_s(
    store: Store, hours: int, keys: tuple[str, ...], keepers: frozenset[str] | None, expected: list[str]
) -> None:
    """Its age is that of its cut; a key made since does not open it; of keys that are not known nothing is said."""
    back_up_whole(store, NOON - datetime.timedelta(hours=hours), *keys)

    assert [need.what for need in of_platform_backup(read_safety(store).backup, [LIVE], keepers, NOON)] == expected


@pytest.mark.parametrize(
    ("lag", "expected"), [(0.0, []), (61.5, []), (3600.0, ["stood still for 60 minutes"]), (None, ["never archived"])]
)
def test_a_log_that_is_not_archived_is_urgent(store: Store, lag: float | None, expected: list[str]) -> None:
    """Of a platform on PostgreSQL: its backups go on, and each minute since the last segment would be lost."""
    back_up_whole(store, NOON, "ada", base="b" * 64, log_lag_seconds=lag)
    needs = list(of_platform_backup(read_safety(store).backup, [LIVE], frozenset({"ada"}), NOON))

    assert [need.severity for need in needs] == [Severity.ACT] * len(expected)
    assert all(words in need.what for words, need in zip(expected, needs, strict=True))


def test_a_platform_that_was_never_backed_up_is_given_a_night(store: Store) -> None:
    """Nothing is asked before a release has lived for longer than that, nor where nothing is live."""
    day = datetime.timedelta(days=2)
    backup = read_safety(store).backup

    assert list(of_platform_backup(backup, [LIVE], frozenset(), NOON)) == []
    assert list(of_platform_backup(backup, [], frozenset(), NOON + day)) == []
    [need] = of_platform_backup(backup, [LIVE], frozenset(), NOON + day)
    assert need.what == "The platform was never backed up: 48 hours."


@pytest.mark.parametrize(("days", "severities"), [(0, [0, 0]), (4, [1, 0]), (10, [1, 1])])
def test_what_was_never_done_is_noted_and_then_looked_at(store: Store, days: int, severities: list[int]) -> None:
    """A scrub and a drill are given until their schedule should have brought them, from the first release on."""
    needs = list(of_safety(read_safety(store), [LIVE], NOON + datetime.timedelta(days=days)))

    assert [need.about for need in needs] == [("scrub",), ("drill",)]
    assert [need.severity for need in needs] == severities


def test_an_old_drill_is_urgent(store: Store) -> None:
    """However well it went: its RPO and RTO are those of another store by then. One a week, and a day's grace."""
    record_drill(store, {"rpo_seconds": 1.0, "rto_seconds": 1.0}, DrillSpec())
    safety, now = read_safety(store), datetime.datetime.now(datetime.UTC)

    assert list(of_safety(safety, [], now + datetime.timedelta(days=7.9))) == []
    [need] = of_safety(safety, [], now + datetime.timedelta(days=8.1))
    assert need.what.startswith("A recovery was last rehearsed on ") and need.severity is Severity.ACT
