"""A landing zone of hostile files: each is refused by name and reason, what is sound goes on, memory and time hold."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from operators.core.errors import DataError
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.sources.spec import Format, ReadLimits
from operators.core.storage import Result, Store
from operators.core.validation.spec import Expectation, ValidationSpec
from operators.core.validation.validate import validate
from tests.core.mails import DAY, at
from tests.core.sources.files import SPEC
from tests.core.sources.hostile import CORPUS, SOUND, growth

SUITE = ValidationSpec(
    expectations=(Expectation(kind="expect_column_values_to_not_be_null", column="id", reason="id_missing"),)
)
LIMITS = ReadLimits(max_decoded_bytes=64 * 1024**2)
MOST_BYTES, MOST_SECONDS = 2 * LIMITS.max_decoded_bytes, 120.0
"""What this process may grow by (it holds the rows of one file), and how long all files may take together."""


@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
def test_every_hostile_file_is_refused_and_the_others_go_on(store: Store, tmp_path: Path) -> None:
    """25 files of three formats, one sound one of each beside them: 25 reasons, 3 results, bounded memory."""
    folder = tmp_path / "landing" / "notes" / f"dt={DAY}"
    folder.mkdir(parents=True)
    for name, make in {**{name: make for name, (make, _) in CORPUS.items()}, **SOUND}.items():
        (folder / name).write_bytes(make())
    import operators.core.validation.suite  # noqa: F401  (what an import takes is no growth)

    grown, started = growth(), time.monotonic()
    told, results = "", []
    for form in (Format.JSON_LINES, Format.CSV, Format.PARQUET):
        refusal, found = _validated(store, tmp_path / "landing", form)
        told, results = f"{told}; {refusal}", [*results, *found]

    for name, (_, words) in CORPUS.items():
        reason = told.split(f"{name}: ")[1].split("; notes/")[0]
        assert any(word in reason for word in words.split("|")), f"{name}: {reason}"
    assert len(CORPUS) == 25
    assert [result.manifest.facts["rows_in"] for result in results] == [3, 3, 3]
    assert grown() < MOST_BYTES
    assert time.monotonic() - started < MOST_SECONDS


def _validated(store: Store, landing: Path, form: Format) -> tuple[str, list[Result]]:
    """Return what was said of one format's files, and the results of those that were read."""
    source = replace(SPEC, format=form, limits=LIMITS)
    (listing,) = discover(
        store, landing=at(landing), spec=source, first_day=DAY, last_day=DAY, progress=no_progress, groups=1
    )
    results: list[Result] = []
    with pytest.raises(DataError) as caught:
        validate(
            store,
            listing=listing.digest,
            landing=at(landing),
            source=source,
            spec=SUITE,
            progress=no_progress,
            each_file=results.append,
        )
    return str(caught.value), results
