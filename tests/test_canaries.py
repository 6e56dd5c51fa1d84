"""No planted personal data is in anything that the stages leave behind: objects, reports, pages, logs, messages."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy
from operators.core.errors import DataError
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.sources.spec import Column
from operators.core.storage import Store
from operators.core.validation.docs import write_index, write_page
from operators.core.validation.validate import validate
from tests.canaries import Canary, CanarySearch, Planted
from tests.core.mails import DAY, KEY, POLICY, SOURCE, SUITE, at, land
from tests.core.vault import PUBLIC
from tests.leaks import files_below, objects_of, plaintexts_of, search_all

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

WIDE = replace(
    SOURCE, columns=(*SOURCE.columns, *(Column(name) for name in ("customer", "account", "secret", "unnamed")))
)
HIDING = replace(
    POLICY,
    reversible=True,
    columns=(
        *POLICY.columns,
        ColumnPolicy(column="customer", action=Action.PSEUDONYM),
        ColumnPolicy(column="account", action=Action.MASK, visible=4),
        ColumnPolicy(column="secret", action=Action.DROP),
    ),
)


def _run(store: Store, folder: Path, docs: Path, policy: AnonymisationSpec = HIDING) -> None:
    landing = at(folder)
    listing = discover(store, landing=landing, spec=WIDE, first_day=DAY, last_day=DAY, progress=no_progress, groups=1)[
        0
    ].digest
    common = {"landing": landing, "source": WIDE, "progress": no_progress}
    try:
        validation = validate(
            store, listing=listing, spec=SUITE, each_file=lambda result: write_page(store, result, docs), **common
        ).digest
    finally:
        write_index(docs)
    vault = {"vault_key": PUBLIC} if policy.reversible else {}
    part = ingest(
        store, validation=validation, anonymisation=policy, spec=IngestionSpec(), key=KEY, **vault, **common
    ).digest
    publish_dataset(store, parts=[part], recipe="t", day=DAY, spec=DatasetSpec(), key=KEY, progress=no_progress)


def test_the_canaries_are_many() -> None:
    """At least 300, each of its own, in three scripts, in text and in columns."""
    canaries = Planted(7).canaries

    assert len({canary.value for canary in canaries}) == len(canaries) >= 300
    assert sum(canary.place.startswith("column") for canary in canaries) >= 100


@pytest.mark.integration
def test_the_search_finds_what_is_left_when_nothing_is_looked_for(store: Store, tmp_path: Path) -> None:
    """It is no formality: with recognition off it finds every canary that stands in a text."""
    planted = Planted(7)
    land(tmp_path / "landing", DAY, planted.rows)
    _run(store, tmp_path / "landing", tmp_path / "docs", replace(POLICY, recognisers=()))
    _, leaks = search_all(CanarySearch(planted.canaries), plaintexts_of(store))
    found = set().union(*leaks.values())

    assert {canary for canary in planted.canaries if canary.in_text and canary.value not in found} == set()


@pytest.mark.integration
def test_nothing_planted_is_left_anywhere(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """All objects, all files opened (of sealed originals too), all pages, all that was logged or printed."""
    planted = Planted(7)
    docs, logs = tmp_path / "docs", tmp_path / "logs"
    land(tmp_path / "landing", DAY, planted.rows)
    with caplog.at_level(logging.DEBUG):
        _run(store, tmp_path / "landing", docs)
    logs.mkdir()
    printed = capfd.readouterr()
    (logs / "log").write_text(caplog.text + printed.out + printed.err)
    kept = [*objects_of(store.membership), *plaintexts_of(store), *files_below(docs, logs)]
    places, leaks = search_all(CanarySearch(planted.canaries), kept)

    assert places > 20
    assert _told(leaks, planted.canaries) == []


def test_no_message_of_a_refusal_repeats_what_was_planted(store: Store, tmp_path: Path) -> None:
    """Rows that stop a run: a label that the policy does not list, a file that breaks off."""
    planted = Planted(8)
    rows = [{**row, "label": "ham" if row["label"] == "ham" else "spam"} for row in planted.rows]
    land(tmp_path / "landing", DAY, rows)
    narrow = replace(
        HIDING,
        columns=(
            *(policy for policy in HIDING.columns if policy.column != "label"),
            ColumnPolicy(column="label", action=Action.CATEGORY, values=("eggs",)),
        ),
    )
    with pytest.raises(DataError) as of_ingest:
        _run(store, tmp_path / "landing", tmp_path / "docs", narrow)
    path = land(tmp_path / "broken", DAY, rows)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError) as of_validate:
        _run(store, tmp_path / "broken", tmp_path / "docs")
    search = CanarySearch(planted.canaries)

    assert search.found_in(f"{of_ingest.value!r} {of_validate.value!r}".encode()) == set()


def _told(leaks: dict[str, set[str]], canaries: list[Canary]) -> list[tuple[str, str, str]]:
    """Return what leaked, planted where, found where."""
    places = {canary.value: canary.place for canary in canaries}
    return sorted((places[value], value, where) for where, values in leaks.items() for value in values)
