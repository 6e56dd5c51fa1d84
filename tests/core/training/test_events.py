"""Event files are what TensorBoard writes itself."""

from __future__ import annotations

from pathlib import Path

from operators.core.training.events import Events

EXPECTED = bytes.fromhex(
    "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a322a28646c100000000000000095fbfe18090000"
    "00000000f83f10ac023a020801713b788a2800000000000000ff70164a09000000000000004010ad022a1a0a0b0a046c6f737315000080"
    "3e0a0b0a04726174651517b7d13850523c63"
)
"""By `RecordWriter`, `Event` and `Summary` of the package tensorboard 2.21.0."""


def test_an_event_file_has_the_bytes_that_tensorboard_writes(tmp_path: Path) -> None:
    """Its version, the session's start at step 300, and two scalars of step 301."""
    path = tmp_path / "events" / "events.out.tfevents.1"
    events = Events(path, 300, 1.5)
    events.add(301, 2.0, {"loss": 0.25, "rate": 1e-4})
    events.close()

    assert path.read_bytes() == EXPECTED
