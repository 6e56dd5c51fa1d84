"""The drawing of a manifest's ancestry."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from operators.core.errors import DataError
from operators.core.overview import looking
from operators.core.overview.lineage import NODE_HEIGHT, NODE_WIDTH, Drawing, _rows, draw
from operators.core.storage import Store, open_store
from operators.core.storage.graph import closure
from tests.core.erasure.nights import settings_of
from tests.core.overview.nights import RECIPE, first_run, stage

# Great Expectations, which makes the night's data set, imports a module that Python has given up.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


@pytest.fixture(scope="module")
def night(first_night: Path) -> Store:
    return open_store(settings_of(first_night))


@pytest.fixture(scope="module")
def release(night: Store) -> str:
    head = night.stream(f"release-{RECIPE}").head()
    assert head is not None
    return head.manifest


@pytest.fixture(scope="module")
def drawing(night: Store, release: str) -> Drawing:
    return draw(night, release)


def test_every_line_goes_down(drawing: Drawing) -> None:
    """What something was made of stands below it, however it was reached."""
    assert drawing.edges
    assert all(edge.made.y < edge.source.y for edge in drawing.edges)


def test_no_two_boxes_touch(drawing: Drawing) -> None:
    """Each has its place, inside the drawing."""
    for one, other in combinations(drawing.nodes, 2):
        assert abs(one.x - other.x) >= NODE_WIDTH or abs(one.y - other.y) >= NODE_HEIGHT
    assert all(0 <= node.x <= drawing.width - NODE_WIDTH for node in drawing.nodes)
    assert all(0 <= node.y <= drawing.height - NODE_HEIGHT for node in drawing.nodes)


def test_no_line_passes_through_a_box() -> None:
    """One that spans rows goes past what stands in them, or it would seem to end there."""
    lines = [("a", "b", "r"), ("b", "c", "r"), ("c", "d", "r"), ("a", "d", "r"), ("b", "d", "r")]
    rows, routes = _rows("a", lines)

    assert [[key for key, bend in row if bend is None] for row in rows] == [["a"], ["b"], ["c"], ["d"]]
    for (made, source), route in routes.items():
        assert [next(level for level, row in enumerate(rows) if place in row) for place in route] == list(
            range(ord(made) - ord("a"), ord(source) - ord("a") + 1)
        )
        assert all(bend is not None for _, bend in route[1:-1])


def test_every_stage_of_the_ancestry_is_drawn(night: Store, release: str, drawing: Drawing) -> None:
    """Inputs may be too many to draw, stages never."""
    drawn = {node.title for node in drawing.nodes}

    assert {manifest.stage for manifest in closure(night, [release]).values()} <= drawn
    assert not drawing.is_cut


def test_a_manifest_of_nothing_is_one_box(store: Store) -> None:
    """There is a drawing of everything."""
    _, digest = stage(store, "adopt_model", {"day": "2002-09-26"})

    assert [(node.digest, node.note) for node in draw(store, digest).nodes] == [(digest, "2002-09-26")]


def test_rows_held_back_are_listed_for_what_was_made_of_them(night: Store, release: str) -> None:
    """A release's page leads to the rows that its data set does without."""
    held = looking.held_back(night, release)

    assert held.total == sum(held.counts.values()) == len(held.rows)
    assert night.manifest(held.dataset).stage == "publish_dataset"


def test_a_validation_is_shown_as_a_group_and_file_by_file(night: Store) -> None:
    """The group lists its files; each file has its expectations with counts."""
    files = looking.validation(night, [first_run(night).digest("validate") or ""]).files

    report = looking.validation(night, [files[0][0]]).report

    assert report is not None
    assert report["path"] == files[0][1].spec["path"]
    assert report["expectations"]


def test_what_is_asked_of_the_wrong_manifest_is_refused(store: Store) -> None:
    """The message says what it is instead."""
    _, digest = stage(store, "adopt_model", {})

    with pytest.raises(DataError, match="no data set"):
        looking.held_back(store, digest)
    with pytest.raises(DataError, match="of stage adopt_model, no validation"):
        looking.validation(store, [digest])
