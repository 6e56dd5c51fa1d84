"""Stages `validate_file` and `validate`: each file against the suite, its rows selected or quarantined."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

from operators.core.errors import DataError, ExpectationFailed, all_of
from operators.core.manifest import Input, Made, Manifest, StageCall, canonical, spec_json
from operators.core.progress import Progress
from operators.core.settings import LandingSettings
from operators.core.sources.each import FileWork, Put, do_each
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import (
    LISTING_NAME,
    SELECTION_NAME,
    Selection,
    SourceFile,
    decode_listing,
    source_key,
)
from operators.core.sources.reader import Part, read_listed
from operators.core.sources.spec import SourceSpec
from operators.core.storage import Result, Store
from operators.core.validation.spec import ValidationSpec

REVISION = 15
REPORT_NAME = "report.json"


def validate(
    store: Store,
    *,
    listing: str,
    landing: LandingSettings,
    source: SourceSpec,
    spec: ValidationSpec,
    progress: Progress,
    each_file: Callable[[Result], None] | None = None,
) -> Result:
    """Have every file of a listing validated, and return the group's result.

    Its inputs are the listing and, with role `file`, one result per file in the listing's order; its facts are
    `rows_in`, `rows_quarantined` by reason, `files` and `success`.

    Args:
        store: Where results go.
        listing: Digest of a `discover` result.
        landing: Where the landing zone is.
        source: What the source looks like.
        spec: The suite.
        progress: Told after each file.
        each_file: Given the result of each file before the group is judged: of the broken ones too.

    Raises:
        ExpectationFailed: Files break an expectation of the table, or too many rows are quarantined.
        SourceChanged: A file is not the one that was listed.
        DataError: Files cannot be read, or an expectation not be evaluated. The message names every such file, and
            the others are validated.
        SourceUnavailable: The landing zone does not answer.
    """
    listed = store.as_input("listing", listing)
    files = decode_listing(store.read(store.manifest(listing).file(LISTING_NAME)))
    zone = LandingZone(landing)
    work = [
        FileWork(
            path=file.path,
            call=_file_call(file, source, spec),
            read=partial(read_listed, zone, file, source),
            make=partial(_check, store, file, source, spec),
        )
        for file in files
    ]
    results, refused = do_each(store, work, progress, each_file)
    refused += [_breach(result.manifest) for result in results if result.manifest.facts["broken"]]
    if refused:
        raise all_of(refused)
    inputs = tuple(Input(role="file", identity=r.manifest.identity, manifest=r.digest) for r in results)
    facts = _sum_up([result.manifest for result in results], spec)
    call = StageCall(
        stage="validate",
        revision=REVISION,
        inputs=(listed, *inputs),
        spec={"max_quarantined_share": spec.max_quarantined_share},
    )
    return store.once(call, lambda: Made(facts=facts))


def _check(store: Store, file: SourceFile, source: SourceSpec, spec: ValidationSpec, parts: Iterator[Part]) -> Put:
    """Return what puts a file's report and selection into the store."""
    report, selection, missing = check_rows(parts, source, spec, file.day)
    broken = [f"column_missing({name})" for name in missing]
    broken += [f"{e['kind']}({e['column'] or 'table'})" for e in report["expectations"] if e["broken"]]
    facts = {"rows_in": selection.rows, "rows_quarantined": selection.counts, "broken": broken}

    def put() -> Made:
        entries = (
            store.put_bytes(REPORT_NAME, canonical({"path": file.path, "day": file.day.isoformat(), **report})),
            store.put_bytes(SELECTION_NAME, selection.encode()),
        )
        return Made(files=entries, facts=facts)

    return put


def _file_call(file: SourceFile, source: SourceSpec, spec: ValidationSpec) -> StageCall:
    return StageCall(
        stage="validate_file",
        revision=REVISION,
        inputs=(Input(role="source", identity=file.sha256),),
        spec={
            "source": source_key(source),
            "expectations": spec_json(spec.expectations),
            "day": file.day.isoformat(),
            "path": file.path,
        },
    )


class Checked(NamedTuple):
    """What a suite says of a file."""

    report: dict[str, Any]
    selection: Selection
    """Which rows go on if the file as a whole is sound."""
    missing: tuple[str, ...]
    """Columns that the file does not have."""


def check_rows(parts: Iterable[Part], source: SourceSpec, spec: ValidationSpec, day: datetime.date) -> Checked:
    """Return what the suite says of a file's rows, of which a block at once is in memory.

    Raises:
        DataError: An expectation cannot be evaluated, or the rows cannot be read.
    """
    # Here, not at the top: a task that finds every file validated needs no Great Expectations, whose import takes 4 s.
    from operators.core.validation.blockwise import BlockwiseSuite, blocks_of
    from operators.core.validation.suite import report_of
    from operators.core.validation.table import build_table

    suite = BlockwiseSuite(spec.expectations)
    missing: tuple[str, ...] = ()
    for block in blocks_of(parts):
        if isinstance(block, tuple):
            missing = block
        else:
            suite.add(build_table(block, source, spec, day))
    outcomes = suite.outcomes(missing)
    quarantined: dict[int, str] = {}
    for outcome in outcomes:
        for row in outcome.failed_rows:
            quarantined.setdefault(row, outcome.expectation.reason or "")
    selection = Selection(rows=suite.rows, quarantined=dict(sorted(quarantined.items())))
    report = {"rows": suite.rows, "quarantined": selection.counts, "expectations": report_of(outcomes)}
    return Checked(report, selection, missing)


def _breach(manifest: Manifest) -> ExpectationFailed:
    return ExpectationFailed(
        f"{manifest.spec['path']}: the file as a whole breaks {', '.join(manifest.facts['broken'])};"
        " ask the source's owner for a sound file, then run the day again"
    )


def _sum_up(manifests: list[Manifest], spec: ValidationSpec) -> dict[str, Any]:
    rows = sum(manifest.facts["rows_in"] for manifest in manifests)
    quarantined: dict[str, int] = {}
    for manifest in manifests:
        for reason, count in manifest.facts["rows_quarantined"].items():
            quarantined[reason] = quarantined.get(reason, 0) + count
    held = sum(quarantined.values())
    if rows == 0:
        raise DataError("no file of the group holds a row")
    if held > rows * spec.max_quarantined_share:
        raise ExpectationFailed(
            f"{held} of {rows} rows are quarantined ({quarantined}), more than the share of"
            f" {spec.max_quarantined_share} that the recipe allows: the source itself is broken"
        )
    return {"rows_in": rows, "rows_quarantined": quarantined, "files": len(manifests), "success": True}
