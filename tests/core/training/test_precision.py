"""Half precision is chosen where it was measured to be worth its rounding, and the choice stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from operators.core.training.precision import choose, remembered


@pytest.mark.parametrize(("half_seconds", "expected"), [(0.2, "bf16"), (0.8, "bf16"), (0.9, "fp32"), (300.0, "fp32")])
def test_half_precision_has_to_be_faster(half_seconds: float, expected: str) -> None:
    """By a fifth of the time at least; the reason names the ratio."""
    precision, why = choose({"fp32": 1.0, "bf16": half_seconds}, "bf16")

    assert precision == expected
    assert f"{half_seconds:.2f}" in why


def test_a_device_is_measured_once(tmp_path: Path) -> None:
    """What lies in the record is believed, so that a retry makes the same run key."""
    record = tmp_path / "precision.json"
    record.write_text(json.dumps({"a device": {"fp32": 7.0, "fp16": 3.0}}))

    assert remembered(record, "a device", "cuda", "fp16") == {"fp32": 7.0, "fp16": 3.0}


@pytest.mark.integration
def test_this_cpu_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Both precisions take time, and the second question is answered from the record."""
    pytest.importorskip("torch")
    record = tmp_path / "scratch" / "precision.json"
    first = remembered(record, "this one", "cpu", "bf16")

    assert set(first) == {"fp32", "bf16"} and min(first.values()) > 0
    assert remembered(record, "this one", "cpu", "bf16") == first
