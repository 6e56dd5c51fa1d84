"""The split, its state on disk, and what a watch makes of counters: pure functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.deployment.scrape import Sample, quantile
from operators.core.deployment.server.traffic import Traffic, read_traffic, write_traffic
from operators.core.deployment.spec import DeploymentSpec

SPLIT = Traffic(current="a", candidate="b", share=0.5, releases={"a": "1" * 64, "b": "2" * 64})


@given(request_id=st.text(), low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_growing_share_never_takes_a_request_back(request_id: str, low: float, high: float) -> None:
    """Who was answered by the candidate at a share is answered by it at every larger one."""
    low, high = sorted((low, high))
    if replace(SPLIT, share=low).version_for(request_id) == "b":
        assert replace(SPLIT, share=high).version_for(request_id) == "b"


@given(share=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_the_share_is_kept(share: float) -> None:
    """Over many ids the candidate answers its share: none at 0, all at 1."""
    answered = sum(replace(SPLIT, share=share).version_for(f"id-{n}") == "b" for n in range(2000))

    assert answered == pytest.approx(2000 * share, abs=0 if share in (0.0, 1.0) else 80)


def test_traffic_survives_a_restart(tmp_path: Path) -> None:
    """What was written is what is read, and a leftover of a killed writer changes nothing."""
    write_traffic(tmp_path / "state.json", SPLIT)
    (tmp_path / "state.json.new").write_text("{half")

    assert read_traffic(tmp_path / "state.json") == SPLIT
    assert read_traffic(tmp_path / "none.json") == Traffic()


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 1.5},
        {"candidate": None},
        {"candidate": None, "share": 0.0, "is_shadow": True},
        {"current": None},
        {"current": "c"},
        {"former": "c"},
    ],
)
def test_traffic_refuses_what_cannot_be(wrong: dict[str, object]) -> None:
    """A share without a candidate, a candidate alone, or a version that is not loaded is refused."""
    with pytest.raises(ValueError, match=r"share|candidate|load"):
        replace(SPLIT, **wrong)  # type: ignore[arg-type]


def test_an_earlier_step_does_not_follow() -> None:
    """Of two steps the later one stays, in whichever order they come; a step may be repeated."""
    replace(SPLIT, order=7).check_follows(replace(SPLIT, order=7))

    with pytest.raises(ValueError, match="step 6 comes after step 7"):
        replace(SPLIT, order=6).check_follows(replace(SPLIT, order=7))


def test_nothing_follows_a_rollback_by_hand_but_who_knows_of_it() -> None:
    """Until it is noted, a later step must name its request; noted, any later step follows."""
    by_hand = {"request": "wish", "by": "Ada", "at": "noon", "to_version": "a", "is_noted": False}
    back = replace(SPLIT, by_hand=by_hand)
    replace(SPLIT, order=1, by_hand={**by_hand, "is_noted": True}).check_follows(back)
    replace(SPLIT, order=1).check_follows(replace(SPLIT, by_hand={**by_hand, "is_noted": True}))

    with pytest.raises(ValueError, match="Ada rolled back to a at noon"):
        replace(SPLIT, order=99).check_follows(back)


def test_quantile_is_linear_within_its_bucket() -> None:
    """As Prometheus' histogram_quantile: 0.95 of 100 answers, 90 of them below 0.1 s and all below 0.2 s, is 0.15 s."""
    sample = Sample(buckets=((0.1, 90.0), (0.2, 100.0), (float("inf"), 100.0)))

    assert quantile(sample, 0.95) == pytest.approx(0.15)
    assert quantile(Sample(), 0.95) == 0.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shares": ()}, "shares"),
        ({"shares": (0.5, 0.1, 1.0)}, "rise"),
        ({"shares": (0.1, 0.5)}, r"1\.0"),
        ({"watch_seconds": -1}, "watch_seconds"),
        ({"watch_seconds": 10, "step_seconds": 5}, "step_seconds"),
        ({"min_sample": 0}, "min_sample"),
        ({"golden_rows": 0}, "golden_rows"),
        ({"shadow_sample": -1}, "shadow_sample"),
        ({"tolerated_errors": 0.0}, "tolerated_errors"),
        ({"max_shift": 1.0}, "max_shift"),
        ({"max_slowdown": 0.9}, "max_slowdown"),
        ({"rehearses_rollback": True, "shares": (1.0,)}, "rehearsal"),
        ({"max_p99_seconds": 0}, "max_p99_seconds"),
    ],
)
def test_specs_refuse_what_cannot_be(wrong: dict[str, object], message: str) -> None:
    """A value out of range is refused by name when the spec is made."""
    with pytest.raises(ValueError, match=message):
        DeploymentSpec(**wrong)  # type: ignore[arg-type]
