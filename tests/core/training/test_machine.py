"""bf16 is used only where the processor has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from operators.core.training.machine import cpu_has_bf16, this_machine


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx512f avx512_bf16", True), ("fpu amx_bf16 amx_tile", True), ("fpu avx2", False)],
)
def test_bf16_follows_from_the_processor_flags(tmp_path: Path, flags: str, expected: bool) -> None:
    """Either instruction set counts; without them bf16 would be emulated, slower than fp32."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\nprocessor : 1\nflags : {flags}\n")

    assert cpu_has_bf16(cpuinfo) is expected


def test_an_unreadable_description_means_no_bf16(tmp_path: Path) -> None:
    """A system that does not describe its processor is taken to have none."""
    assert cpu_has_bf16(tmp_path / "missing") is False


@pytest.mark.integration
def test_this_machine_has_a_core(tmp_path: Path) -> None:
    """The process that asks runs somewhere, and precision is chosen for a reason that names it."""
    machine = this_machine(tmp_path)

    assert machine.cores >= 1
    assert machine.why.startswith(machine.precision)
