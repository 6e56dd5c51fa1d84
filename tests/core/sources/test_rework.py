"""Late, changed and removed files: what is computed again is theirs, and what depends on the whole."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from operators.core.errors import DataError, HostileInput
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.manifest import Manifest
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.sources.spec import ReadLimits, SourceSpec
from operators.core.storage import Result, Store
from operators.core.validation.spec import Expectation, ValidationSpec
from operators.core.validation.validate import validate
from tests.core.mails import DAY, KEY, POLICY, SOURCE, SUITE, at, land, mail

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
GROUPS = 2


class Night:
    """The main job's stages over a landing zone, up to the data set, and what of it was found or made."""

    def __init__(self, store: Store, zone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.zone = zone
        self._seen: list[tuple[str, str]] = []
        find, commit = store.find, store.commit

        def finding(run_key: str) -> Result | None:
            result = find(run_key)
            if result is not None:
                self._seen.append(("found", result.manifest.stage))
            return result

        def committing(manifest: Manifest) -> Result:
            self._seen.append(("made", manifest.stage))
            return commit(manifest)

        monkeypatch.setattr(store, "find", finding)
        monkeypatch.setattr(store, "commit", committing)

    @property
    def made(self) -> Counter[str]:
        """Results of the last run that were computed, by stage."""
        return Counter(stage for how, stage in self._seen if how == "made")

    @property
    def found(self) -> Counter[str]:
        """Results of the last run that were there, by stage."""
        return Counter(stage for how, stage in self._seen if how == "found")

    def run(self, source: SourceSpec = SOURCE, suite: ValidationSpec = SUITE) -> Result:
        """Run the stages; return the data set."""
        self._seen.clear()
        parts = [self.part(listing.digest, source, suite) for listing in self.listings(source)]
        return publish_dataset(
            self.store,
            parts=parts,
            recipe="tiny",
            day=DAY,
            spec=DatasetSpec(test_share=0.3),
            key=KEY,
            progress=no_progress,
        )

    def listings(self, source: SourceSpec) -> list[Result]:
        """List the window."""
        return discover(
            self.store,
            landing=at(self.zone),
            spec=source,
            first_day=DAY - datetime.timedelta(days=9),
            last_day=DAY,
            progress=no_progress,
            groups=GROUPS,
        )

    def part(self, listing: str, source: SourceSpec, suite: ValidationSpec = SUITE) -> str:
        """Validate and ingest a group."""
        common: dict[str, Any] = {"landing": at(self.zone), "source": source, "progress": no_progress}
        validation = validate(self.store, listing=listing, spec=suite, **common).digest
        return ingest(
            self.store, validation=validation, anonymisation=POLICY, spec=IngestionSpec(), key=KEY, **common
        ).digest


@pytest.fixture
def night(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A first night over four days of files, done."""
    for n in range(4):
        land(tmp_path, DAY - datetime.timedelta(days=n), [mail(10 * n + k) for k in range(3)])
    night = Night(store, tmp_path, monkeypatch)
    night.run()
    assert (night.made["validate_file"], night.made["ingest_file"]) == (4, 4)
    return night


def test_a_second_night_makes_nothing(night: Night) -> None:
    """The same files: every result is found."""
    night.run()

    assert night.made == Counter()
    assert night.found["validate_file"] == night.found["ingest_file"] == 4


def test_a_late_file_is_the_only_one_read(night: Night) -> None:
    """A file for an old day: its own validation and ingestion, the sums of the groups, and the data set."""
    land(night.zone, DAY - datetime.timedelta(days=3), [mail(99)], name="late")
    result = night.run()

    assert (night.made["validate_file"], night.made["ingest_file"]) == (1, 1)
    assert (night.found["validate_file"], night.found["ingest_file"]) == (4, 4)
    assert set(night.made) <= {"discover", "validate_file", "validate", "ingest_file", "ingest", "publish_dataset"}
    assert result.manifest.facts["rows"]["in"] == 13


def test_a_changed_file_is_the_only_one_read(night: Night) -> None:
    """Other content under an old name is another file; the others are found."""
    land(night.zone, DAY - datetime.timedelta(days=2), [mail(98), mail(99)])
    result = night.run()

    assert (night.made["validate_file"], night.made["ingest_file"]) == (1, 1)
    assert (night.found["validate_file"], night.found["ingest_file"]) == (3, 3)
    assert result.manifest.facts["rows"]["in"] == 11


def test_a_removed_file_costs_no_reading(night: Night) -> None:
    """What is left was read before: sums and the data set alone are made, without a row of the file."""
    (night.zone / "mail" / f"dt={DAY - datetime.timedelta(days=1)}" / "mails.jsonl.zst").unlink()
    result = night.run()

    assert (night.made["validate_file"], night.made["ingest_file"]) == (0, 0)
    assert result.manifest.facts["rows"]["in"] == 9


def test_a_file_that_comes_back_makes_nothing(night: Night) -> None:
    """The day before yesterday's results are still the results."""
    path = night.zone / "mail" / f"dt={DAY}" / "mails.jsonl.zst"
    land(night.zone, DAY, [mail(98)], name="more")
    night.run()
    path.with_name("more.jsonl.zst").unlink()
    night.run()

    assert night.made == Counter()


def test_other_limits_make_nothing(night: Night) -> None:
    """A limit that is raised for one file redoes no other: it changes no row."""
    night.run(replace(SOURCE, limits=ReadLimits(max_seconds=5000, max_ratio=1000)))

    assert night.made == Counter()


@pytest.mark.parametrize("place", ["mails", "mended"])
def test_a_mended_row_comes_back(night: Night, place: str) -> None:
    """In its own file, or delivered in another of that day: that file alone is read, and the row counts as kept."""
    sound = [mail(50), mail(51)]
    land(night.zone, DAY, [mail(50), mail(51, label="eggs")], name="mails")
    before = night.run().manifest.facts["rows"]
    land(night.zone, DAY, sound if place == "mails" else sound[1:], name=place)
    after = night.run().manifest.facts["rows"]

    assert (before["quarantined"], after["kept"]) == ({"label_unknown": 1}, before["kept"] + 1)
    assert (night.made["validate_file"], night.made["ingest_file"]) == (1, 1)


def test_a_row_comes_back_when_the_suite_is_mended(night: Night) -> None:
    """All are validated anew; nothing is ingested whose rows go on as they did before."""
    odd = Expectation.of_rows("id", "not_be_in_set", "odd", value_set=("ham/00011",))
    before = night.run(suite=replace(SUITE, expectations=(*SUITE.expectations, odd))).manifest.facts["rows"]
    other = Expectation.of_rows("id", "not_be_in_set", "odd", value_set=("ham/77777",))
    after = night.run(suite=replace(SUITE, expectations=(*SUITE.expectations, other))).manifest.facts["rows"]

    assert (before["quarantined"], after["kept"]) == ({"odd": 1}, before["kept"] + 1)
    assert (night.made["validate_file"], night.made["ingest_file"]) == (4, 0)


def test_files_that_hold_the_same_are_parts_of_their_own(night: Night) -> None:
    """Their rows are duplicates, each counted."""
    land(night.zone, DAY, [mail(k) for k in range(3)], name="twin")

    assert night.run().manifest.facts["rows"]["duplicates"] == 3


def test_broken_files_are_named_together_and_the_others_are_done(night: Night) -> None:
    """A group refuses with every file that is broken; the others' results are kept, and found when those are mended."""
    broken = {
        "bomb.jsonl.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
        "noise.jsonl": b"\xff\xfe",
        "deep.jsonl": b"[" * 100_000,
    }
    for name, data in broken.items():
        (night.zone / "mail" / f"dt={DAY}" / name).write_bytes(data)
    for n in range(3):
        land(night.zone, DAY, [mail(70 + n)], name=f"good{n}")
    refused = []
    for listing in night.listings(SOURCE):
        try:
            night.part(listing.digest, SOURCE)
        except DataError as error:
            refused.append(str(error))
    for name in broken:
        assert sum(f"dt={DAY}/{name}: " in text for text in refused) == 1
    assert "nested too deeply" in " ".join(refused)
    for name in broken:
        (night.zone / "mail" / f"dt={DAY}" / name).unlink()
    night.run()

    assert night.made["validate_file"] == 0


def test_files_of_one_fault_are_refused_by_its_class(night: Night) -> None:
    """Two bombs are hostile input, not merely wrong data."""
    for name in ("a", "b"):
        (night.zone / "mail" / f"dt={DAY}" / f"{name}.jsonl").write_bytes(b"[" * 100_000)
    listings = discover(
        night.store,
        landing=at(night.zone),
        spec=SOURCE,
        first_day=DAY,
        last_day=DAY,
        progress=no_progress,
        groups=1,
    )
    with pytest.raises(HostileInput, match=r"2 files are refused: .*a\.jsonl: .*; .*b\.jsonl: "):
        night.part(listings[0].digest, SOURCE)
