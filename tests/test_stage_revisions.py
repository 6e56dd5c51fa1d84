"""A stage's revision is raised with its code."""

from __future__ import annotations

import json

from tests import stage_revisions


def test_no_stage_changed_its_code_under_an_unchanged_revision() -> None:
    """Whoever changes what a stage computes raises its revision, else old results would answer for new code."""
    recorded = json.loads(stage_revisions.RECORD.read_text())
    now = stage_revisions.stages()

    assert stage_revisions.stale(recorded, now) == []
    assert recorded == now, "run `python tests/stage_revisions.py` and commit tests/stage_revisions.json"


def test_changed_code_is_noticed() -> None:
    """A changed hash under the same revision is stale; under a raised one it is not."""
    before = {"stage": {"revisions": {"REVISION": 1}, "code": "a"}}

    assert stage_revisions.stale(before, {"stage": {"revisions": {"REVISION": 1}, "code": "b"}}) == ["stage"]
    assert stage_revisions.stale(before, {"stage": {"revisions": {"REVISION": 2}, "code": "b"}}) == []
