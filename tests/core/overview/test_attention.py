"""What needs a person, and how soon."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path

import pytest

from operators.core.deployment.client import Serving
from operators.core.overview.attention import (
    Severity,
    of_backup,
    of_live,
    of_night,
    of_pipeline,
    of_platform_backup,
    of_safety,
)
from operators.core.overview.live import Live, Proof, ServerState, read_live, traffic
from operators.core.overview.night import Night
from operators.core.overview.runs import Approval
from operators.core.overview.safety import read_backup, read_safety
from operators.core.recovery.drill import record_drill
from operators.core.recovery.spec import DrillSpec
from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.scrubbing import ScrubSpec, scrub_storage
from tests.core.erasure.nights import settings_of
from tests.core.overview.nights import NOON, RECIPE, back_up, back_up_whole, pipeline_of, run_of, task

# Great Expectations, which makes the night's data set, imports a module that Python has given up.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

PROOF = Proof(evaluation="e" * 64, measure="accuracy", score=0.98, baseline_score=0.9)
LIVE = Live(
    recipe=RECIPE, release="a" * 64, model="b" * 64, version="2002-09-26-bbbb", day="2002-09-26", since=NOON,
    proof=PROOF,
)  # fmt: skip
UP = ServerState(name="one:1", serving=Serving(current=LIVE.version), counted={})
DOWN = ServerState(name="two:2", serving=None, counted={}, reason="away")


def test_a_failed_task_is_named_with_the_page_of_its_first_failed_instance() -> None:
    """What failed for want of it is not: one cause, one need."""
    run = run_of(
        task("ingest", state="failed", tries=3, failed_index=2), task("gate", state="upstream_failed"), state="failed"
    )

    [need] = of_pipeline(pipeline_of(run), NOON)

    assert (need.severity, need.what) == (Severity.ACT, "Retrain tiny: ingest failed after 3 tries.")
    assert need.target is not None
    assert need.target.task is not None
    assert need.target.task.failed_index == 2


def test_an_approval_is_asked_for() -> None:
    """A task that waits for a person's word is a need of the day."""
    waiting = pipeline_of(approvals=(Approval(run_id="r", task_id="approve", subject="Release it?"),))

    assert [(need.severity, need.what) for need in of_pipeline(waiting, NOON)] == [
        (Severity.LOOK, "Retrain tiny: Release it?")
    ]


def test_a_schedule_that_stopped_is_noticed() -> None:
    """Two days without a run of a DAG that has a schedule; a paused one is meant to rest."""
    later = NOON + datetime.timedelta(days=3)
    awake = pipeline_of(run_of(task("discover")), next_at=NOON)

    assert ["no run since" in need.what for need in of_pipeline(awake, later)] == [True]
    assert list(of_pipeline(dataclasses.replace(awake, is_paused=True), later)) == []


def test_drift_is_looked_at_and_quarantine_noted() -> None:
    """Rows that are held back every night wait for nobody."""
    rows = {"in": 100, "kept": 90, "quarantined": {"label_unknown": 10}}
    drift = {"level": "warn", "drifted": "labels by 0.31 (warn)"}
    night = Night(run=run_of(task("publish_dataset", "d" * 64)), steps=(), rows=rows, drift=drift)

    assert [need.severity for need in of_night("Mail", night)] == [Severity.LOOK, Severity.NOTE]


@pytest.mark.parametrize(
    ("servers", "severities"),
    [((UP, UP), []), ((UP, DOWN), [Severity.LOOK]), ((DOWN, DOWN), [Severity.ACT]), ((), [])],
)
def test_servers_that_do_not_serve_what_is_live_are_a_need(servers: tuple, severities: list) -> None:
    """One of several: today. All of them: now."""
    assert [need.severity for need in of_live("Mail", LIVE, servers)] == severities


def test_a_model_worse_than_its_baseline_is_looked_at() -> None:
    """A cheap probe does better: somebody should ask why."""
    poor = dataclasses.replace(LIVE, proof=dataclasses.replace(PROOF, baseline_score=0.985))

    assert ["baseline" in need.what for need in of_live("Mail", poor, (UP,))] == [True]


def test_traffic_is_the_mean_over_the_servers_that_answer() -> None:
    """A candidate at a fifth on one of two servers has a tenth; a server that is away counts for nothing."""
    split = ServerState(name="s", serving=Serving(current="old", candidate="new", share=0.2), counted={})
    whole = ServerState(name="t", serving=Serving(current="old"), counted={})

    assert traffic([split, whole, DOWN]) == pytest.approx({"old": 0.9, "new": 0.1})


def test_what_is_live_is_read_with_its_proof_and_its_age(first_night: Path) -> None:
    """Version, score and the instant at which it went live, of a store that a real night made."""
    live = read_live(open_store(settings_of(first_night)), RECIPE)

    assert live is not None
    assert live.version == f"{live.day}-{live.model[:8]}"
    assert live.proof is not None
    assert (live.proof.measure, live.proof.score, live.proof.baseline_score) == ("accuracy", 0.99, None)
    assert live.since is not None
    assert abs((datetime.datetime.now(datetime.UTC) - live.since).total_seconds()) < 3600


def test_before_the_first_night_nothing_is_live_and_nothing_backed_up(store: Store) -> None:
    """An empty store is no error."""
    assert read_live(store, RECIPE) is None
    assert read_backup(store, RECIPE) is None
    assert [need.severity for need in of_safety(read_safety(store), NOON)] == [Severity.NOTE]


def test_a_release_without_a_backup_of_its_own_is_looked_at(store: Store) -> None:
    """None at all, or one from before it went live."""
    back_up(store)
    backup = read_backup(store, RECIPE)
    before, after = (dataclasses.replace(LIVE, since=NOON.replace(year=year)) for year in (2020, 2100))

    assert ["never backed up" in need.what for need in of_backup("Mail", before, None)] == [True]
    assert list(of_backup("Mail", before, backup)) == []
    assert ["older than what is live" in need.what for need in of_backup("Mail", after, backup)] == [True]


def test_an_endpoint_away_is_named_and_the_primary_is_urgent(store: Store, storage_settings: StorageSettings) -> None:
    """With any other away the store goes on; without the primary nothing is committed."""
    primary = store.record.primary
    for one in storage_settings.endpoints:
        Path(one.url.removeprefix("file://")).rename(f"{one.url.removeprefix('file://')}.away")
        safety = read_safety(store)
        [need] = [found for found in of_safety(safety, NOON) if found.severity is not Severity.NOTE]

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
    assert list(of_safety(safety, now)) == []
    assert ["last scrubbed" in need.what for need in of_safety(safety, now + datetime.timedelta(days=4))] == [True]


def test_a_drill_that_missed_a_target_is_urgent(store: Store) -> None:
    """What a rehearsal shows is what a loss would."""
    assert read_safety(store).drill is None

    record_drill(store, {"error": "the backup does not read"}, DrillSpec())
    [need] = [found for found in of_safety(read_safety(store), NOON) if found.severity is Severity.ACT]

    assert need.what.startswith("The last drill shows: ")


def test_an_old_drill_is_urgent(store: Store) -> None:
    """However well it went: one a week, and a day's grace."""
    record_drill(store, {"rpo_seconds": 1.0, "rto_seconds": 1.0}, DrillSpec())
    safety, now = read_safety(store), datetime.datetime.now(datetime.UTC)

    def urgent(days: float) -> list[str]:
        needs = of_safety(safety, now + datetime.timedelta(days=days))
        return [need.what for need in needs if need.severity is Severity.ACT]

    assert urgent(7.9) == []
    assert ["9 days old" in what for what in urgent(9.1)] == [True]


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
