"""What `nightshift status` says of backups and drills."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.core.recovery.drill import record_drill
from operators.core.recovery.spec import DrillSpec
from operators.core.storage import Store
from operators.local.layout import Layout
from operators.local.safety import safety
from tests.core.recovery.conftest import Save
from tests.core.recovery.conftest import backup as backup
from tests.core.recovery.conftest import save as save

DRILL = {"rpo_seconds": 10.0, "rto_seconds": 20.0, "different_predictions": 0, "dangling": 0}


@pytest.fixture
def layout(short_path: Path) -> Layout:
    """A platform of which somebody has a recovery key."""
    layout = Layout(home=short_path / "h")
    layout.recovery_keys.mkdir(parents=True)
    (layout.recovery_keys / "keeper-1.pub").write_text("00")
    return layout


def test_a_platform_that_was_never_backed_up_says_so(store: Store, layout: Layout) -> None:
    """Each lack with its remedy."""
    (layout.recovery_keys / "keeper-1.pub").unlink()
    (layout.recovery_keys / "drill.pub").write_text("00")
    found = safety(store, layout)

    assert [problem.split(":")[0] for problem in found["problems"]] == [
        "there was no backup yet",
        "there was no drill yet",
        "nobody outside this platform has a recovery key",
    ]


def test_young_ones_are_no_problem_and_old_ones_are(store: Store, save: Save, layout: Layout) -> None:
    """By the store's clock: a backup after a day and two hours, a drill after eight days."""
    save()
    record_drill(store, DRILL, DrillSpec())
    assert safety(store, layout)["problems"] == []
    now = store.membership.clock()
    store.membership.clock = lambda: now + 27 * 3600
    assert [problem[:24] for problem in safety(store, layout)["problems"]] == ["the last backup is 27 ho"]
    store.membership.clock = lambda: now + 9 * 24 * 3600

    found = safety(store, layout)
    assert len(found["problems"]) == 2 and "the last drill is 216 hours old" in found["problems"][1]


def test_a_missed_target_is_told_until_the_next_drill(store: Store, save: Save, layout: Layout) -> None:
    """With the words of the drill."""
    save()
    record_drill(store, DRILL, DrillSpec(rto_target_seconds=5))
    found = safety(store, layout)

    assert (found["targets_met"], found["rto_seconds"]) == (False, 20.0)
    assert found["problems"] == ["the last drill: RTO 20 s, 5 s is the target"]
