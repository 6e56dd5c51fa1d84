"""What probes find: endpoints that are sound, and endpoints with one defect each."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from operators.core.settings import StorageSettings
from operators.core.storage import initialise
from operators.core.storage.checks import Weight
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.endpoint import Listed, open_endpoint
from operators.core.storage.probe import ProbeReport, may_be_member, may_be_primary, probe, read_report


class LastWriterWins(DirectoryEndpoint):
    """Looks whether a key is there, then writes: what a store without conditional puts comes to."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Tell every writer that came before the first was done that it won."""
        if self.get(key) is not None:
            return False
        time.sleep(0.005)
        self.put(key, data)
        return True


class Overwriting(DirectoryEndpoint):
    """Ignores the condition, and says no."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create rightly, then overwrite all the same."""
        won = super().put_if_absent(key, data)
        self.put(key, data)
        return won


class StaleListing(DirectoryEndpoint):
    """Lists a moment ago."""

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
        """Leave out what is younger than a second."""
        found = super().list(prefix, after=after, limit=limit)
        return [item for item in found if item.modified < time.time() - 1]


class Shouting(DirectoryEndpoint):
    """Keeps other bytes than those it was given."""

    def get(self, key: str) -> bytes | None:
        """Return what nobody wrote."""
        data = super().get(key)
        return None if data is None else data.upper()


class Vouching(DirectoryEndpoint):
    """A server that echoes any checksum."""

    def traits(self) -> dict[str, str]:
        """Return what it says of itself."""
        return {"server": "echo", "transport": "plain"}

    def try_wrong_checksum(self, key: str) -> str:
        """Store what is wrong and call it right."""
        self.put(key, b"x")
        return "vouched"


def test_sound_endpoints_may_be_primary(settings: StorageSettings) -> None:
    """Directories and SeaweedFS: nothing speaks against them, and nothing of the probe is left but its report."""
    initialise(settings, rounds=0)
    for item in settings.endpoints:
        endpoint = open_endpoint(item)
        before = [found.key for found in endpoint.list("")]
        report = probe(endpoint, rounds=2)

        assert may_be_primary(report), report.against(*Weight)
        assert {"put_ms", "get_ms", "list_ms", "write_mib_per_second", "clock_offset_seconds"} <= set(report.figures)
        assert read_report(endpoint) == report
        assert sorted([*before, "probe.json"]) == [found.key for found in endpoint.list("")]


@pytest.mark.parametrize(
    ("kind", "weight", "words"),
    [
        (LastWriterWins, Weight.NO_PRIMARY, "were told that they had won"),
        (Overwriting, Weight.NO_PRIMARY, "was overwritten"),
        (StaleListing, Weight.NO_MEMBER, "what was just written"),
        (Shouting, Weight.NO_MEMBER, "reads as something else"),
        (Vouching, Weight.NO_MEMBER, "says that it checked one that is wrong"),
    ],
)
def test_a_defect_is_found_and_named(tmp_path: Path, kind: type[DirectoryEndpoint], weight: Weight, words: str) -> None:
    """Who cannot decide races may be a member, never the primary; who loses or invents may be neither."""
    report = probe(kind("site_a", tmp_path), rounds=2)

    assert words in "; ".join(report.against(weight))
    assert not may_be_primary(report)
    assert may_be_member(report) == (weight is Weight.NO_PRIMARY)


def test_an_endpoint_that_is_away_is_reported(tmp_path: Path) -> None:
    """No folder, no exception: the report says why it may be no member."""
    report = probe(DirectoryEndpoint("site_a", tmp_path / "missing"))

    assert not may_be_member(report)
    assert "is not there" in report.against(Weight.NO_MEMBER)[0]


@pytest.mark.parametrize(("offset", "weight"), [(30, Weight.FINE), (-90, Weight.NOTE), (400, Weight.NO_MEMBER)])
def test_a_clock_that_is_off_is_noted_and_then_refused(tmp_path: Path, offset: float, weight: Weight) -> None:
    """More than a minute is said, more than five are refused, ahead or behind."""
    report = probe(DirectoryEndpoint("site_a", tmp_path), rounds=1, clock=lambda: time.time() - offset)

    assert [item.weight for item in report.findings if item.check == "clock"] == [weight]
    assert report.figures["clock_offset_seconds"] == pytest.approx(offset, abs=5)


def test_plain_http_to_another_machine_is_noted(tmp_path: Path) -> None:
    """It is allowed, and said."""
    assert any("plain HTTP" in words for words in probe(Vouching("site_a", tmp_path), rounds=1).against(Weight.NOTE))


def test_what_a_dead_probe_left_is_removed(tmp_path: Path) -> None:
    """Scratch of an hour ago goes; that of a probe beside this one stays."""
    endpoint = DirectoryEndpoint("site_a", tmp_path)
    endpoint.put("probe/dead/race/0", b"x")
    endpoint.put("probe/alive/race/0", b"x")
    os.utime(tmp_path / "probe/dead/race/0", (time.time() - 7200,) * 2)
    probe(endpoint, rounds=1)

    assert [found.key for found in endpoint.list("probe/")] == ["probe/alive/race/0"]


def test_an_endpoint_that_was_never_probed_has_no_report(tmp_path: Path) -> None:
    """None, not an error."""
    assert read_report(DirectoryEndpoint("site_a", tmp_path)) is None


def test_a_report_reads_back_as_it_was_written(tmp_path: Path) -> None:
    """Encoding and decoding change nothing."""
    report = probe(DirectoryEndpoint("site_a", tmp_path), rounds=1)

    assert ProbeReport.decode(report.encode()) == report
