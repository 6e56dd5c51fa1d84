"""An endpoint is lost with its disk, as a person meets it: by the commands of the runbook, on real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from operators.cli import main
from operators.core.errors import StorageError
from operators.core.manifest import Made, StageCall
from operators.core.settings import StorageSettings
from operators.core.storage import open_store
from operators.local.ports import is_free
from tests.seaweed import Seaweed

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def settings(seaweed: list[Seaweed]) -> Iterator[StorageSettings]:
    """A store on three servers; all of them are up again, and empty, afterwards."""
    for server in seaweed:
        server.wait()
    yield StorageSettings(endpoints=tuple(server.settings() for server in seaweed), acknowledge=2)
    for server in seaweed:
        server.kill()
        server.start()
    for server in seaweed:
        server.wait()


class Writer:
    """Commits one result after the other, whatever happens, and keeps what was acknowledged."""

    def __init__(self, settings: StorageSettings) -> None:
        self.acknowledged: dict[str, str] = {}
        self.refused: set[str] = set()
        self._settings, self._end = settings, threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        with closing(open_store(self._settings)) as store:
            while not self._end.is_set():
                number += 1
                call = StageCall(stage="ingest", revision=1, spec={"number": number})
                try:
                    data = store.put_bytes("x.bin", b"%08d" % number * 100)
                    result = store.once(call, lambda data=data: Made(files=(data,)))  # type: ignore[misc]
                    self.acknowledged[call.run_key] = result.digest
                except StorageError as error:
                    self.refused.add(type(error).__name__)

    def wait_for(self, more: int) -> None:
        """Return once so many more were acknowledged."""
        goal, deadline = len(self.acknowledged) + more, time.monotonic() + 240
        while len(self.acknowledged) < goal:
            assert time.monotonic() < deadline, self.refused
            time.sleep(0.05)


def test_a_primary_is_lost_and_replaced_and_nothing_acknowledged_is_gone(
    seaweed: list[Seaweed], settings: StorageSettings, tmp_path: Path
) -> None:
    """Moved, refilled, scrubbed; then the endpoint that stood in is lost too, and every commit is there still."""
    (tmp_path / "store.json").write_text(settings.to_json())
    place = ("--storage-file", str(tmp_path / "store.json"))
    assert main(["init", *place]) == 0
    lost, stand_in, _ = seaweed

    with Writer(settings) as writer:
        writer.wait_for(5)
        lost.kill()
        lost.wipe()
        before = len(writer.acknowledged)
        while "PrimaryAway" not in writer.refused:
            time.sleep(0.05)
        assert main(["primary", "move", stand_in.name, *place]) == 0
        writer.wait_for(5)
        lost.start()
        while is_free(lost.ports[0]):
            time.sleep(0.1)
        deadline = time.monotonic() + 60
        while main(["resync", lost.name, *place]) != 0:
            assert time.monotonic() < deadline, "the new endpoint was not refilled"
        writer.wait_for(5)
    assert len(writer.acknowledged) >= before + 10
    assert main(["scrub", "--all", *place]) == 0
    assert main(["primary", "move", lost.name, *place]) == 0
    stand_in.kill()
    with closing(open_store(settings)) as store:
        found = {key: store.find(key) for key in writer.acknowledged}
        assert {key: one.digest for key, one in found.items() if one} == writer.acknowledged
        for one in found.values():
            assert one is not None
            assert store.read(one.manifest.file("x.bin"))
