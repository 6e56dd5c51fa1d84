"""The split, its state on disk, and what a watch makes of counters: pure functions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.deployment.client import Sample
from operators.core.deployment.server.traffic import Traffic, read_traffic, write_traffic
from operators.core.deployment.spec import DeploymentSpec
from operators.core.deployment.watch import judge, quantile
from operators.core.errors import HealthCheckFailed

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
    [{"share": 1.5}, {"candidate": None}, {"current": None}, {"current": "c"}, {"former": "c"}],
)
def test_traffic_refuses_what_cannot_be(wrong: dict[str, object]) -> None:
    """A share without a candidate, a candidate alone, or a version that is not loaded is refused."""
    with pytest.raises(ValueError, match=r"share|candidate|load"):
        replace(SPLIT, **wrong)  # type: ignore[arg-type]


def test_quantile_is_linear_within_its_bucket() -> None:
    """As Prometheus' histogram_quantile: 0.95 of 100 answers, 90 of them below 0.1 s and all below 0.2 s, is 0.15 s."""
    sample = Sample(answered=100, buckets=((0.1, 90.0), (0.2, 100.0), (float("inf"), 100.0)))

    assert quantile([sample], 0.95) == pytest.approx(0.15)
    assert quantile([Sample()], 0.95) == 0.0


def test_absent_figures_are_no_good_figures() -> None:
    """A candidate that was never asked is not passed."""
    with pytest.raises(HealthCheckFailed, match="asked nothing"):
        judge("v", [Sample()], DeploymentSpec())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shares": ()}, "shares"),
        ({"shares": (0.5, 0.1, 1.0)}, "rise"),
        ({"shares": (0.1, 0.5)}, r"1\.0"),
        ({"watch_seconds": -1}, "watch_seconds"),
        ({"golden_requests": 0}, "golden_requests"),
        ({"max_error_rate": 1.0}, "max_error_rate"),
        ({"max_p99_seconds": 0}, "max_p99_seconds"),
    ],
)
def test_specs_refuse_what_cannot_be(wrong: dict[str, object], message: str) -> None:
    """A value out of range is refused by name when the spec is made."""
    with pytest.raises(ValueError, match=message):
        DeploymentSpec(**wrong)  # type: ignore[arg-type]
