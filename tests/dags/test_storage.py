"""The DAG file that keeps the store sound."""

from __future__ import annotations

from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "dags" / "storage.py"


def test_the_file_is_wiring_only() -> None:
    """At most 60 lines, with triage notes."""
    text = FILE.read_text()

    assert len(text.splitlines()) <= 60
    assert "**Triage.**" in text
