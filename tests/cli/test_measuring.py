"""`nightshift metrics`: printed once, or served to Prometheus."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from operators.cli import main
from operators.core.settings import StorageSettings
from operators.core.storage import initialise

EXPECTED = 'nightshift_endpoint_counts{endpoint="site_a",store="store"} 1.0'


@pytest.fixture
def storage_file(storage_settings: StorageSettings, tmp_path: Path) -> Path:
    """Settings of an initialised store."""
    initialise(storage_settings, rounds=0)
    path = tmp_path / "store.json"
    path.write_text(storage_settings.to_json())
    return path


def test_the_exposition_is_printed(
    storage_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Prometheus reads it, of the store and of the backup store that is named."""
    monkeypatch.setenv("NIGHTSHIFT_HOME", "/nowhere")

    assert main(["metrics", "--storage-file", str(storage_file), "--backup-file", str(storage_file)]) == 0
    printed = capsys.readouterr().out
    assert EXPECTED in printed
    assert EXPECTED.replace('"store"', '"backup"') in printed


def test_a_wrong_address_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With what is expected instead."""
    with pytest.raises(SystemExit):
        main(["metrics", "--listen", "9108"])
    assert "HOST:PORT" in capsys.readouterr().err


@pytest.mark.integration
def test_prometheus_is_answered_until_sigterm(storage_file: Path) -> None:
    """A real process on a real port ends well when it is told to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "operators.cli", "metrics", "--storage-file", str(storage_file)]
    with subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"]) as server:
        deadline = time.monotonic() + 60
        text = ""
        while not text and time.monotonic() < deadline:
            try:
                text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
            except httpx.HTTPError:
                time.sleep(0.2)
        server.send_signal(signal.SIGTERM)

        assert EXPECTED in text
        assert server.wait(timeout=30) == 0
