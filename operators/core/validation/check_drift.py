"""Stage `check_drift`: whether a window's new files come from where the rows of the live release came from.

Reading what is live is not pure; the verdict is. It is a stage whose inputs are the files and the data set compared.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Any

from operators.core.errors import ExpectationFailed
from operators.core.manifest import Input, Made, Manifest, StageCall, canonical, spec_json
from operators.core.profiling.profile import PROFILE_NAME, Profile
from operators.core.progress import Progress
from operators.core.storage import Result, Store
from operators.core.storage.graph import find_ancestor
from operators.core.validation.spec import DriftSpec

REVISION = 13
REPORT_NAME = "drift.json"


class Comparison(enum.Enum):
    """Against what new files are held."""

    NOTHING_LIVE = "nothing_live"
    NOTHING_NEW = "nothing_new"
    """The live release was made from the same files."""
    LATER_DAY_LIVE = "later_day_live"
    """What is live saw later data: an older day is not held against it."""
    LIVE_DATA = "live_data"


def check_drift(
    store: Store, *, parts: list[str], recipe: str, day: str, spec: DriftSpec, progress: Progress
) -> Result:
    """Return the verdict on the files of a window that the live release has not seen.

    Its report, `drift.json`, and its facts have `rows`, `accepted_rows`, `level` and a finding for each measure.

    Args:
        store: Where parts and releases are.
        parts: Digests of `ingest` results.
        recipe: The recipe's name; its release stream says what is live.
        day: The last day of the window, `YYYY-MM-DD`.
        spec: How far is too far.
        progress: Told of every profile read.

    Raises:
        ExpectationFailed: A measure drifted so far that nobody should train on it unseen.
    """
    files = {item.identity: item for digest in parts for item in store.manifest(digest).inputs_of("file")}
    live = _live_dataset(store, recipe)
    accepted = {item.identity: item for item in live.inputs_of("part")} if live else {}
    new = {identity: item for identity, item in files.items() if identity not in accepted}
    comparison = _comparison(live, day, new)
    if comparison is not Comparison.LIVE_DATA:
        new, accepted = {}, {}
    call = StageCall(
        stage="check_drift",
        revision=REVISION,
        inputs=tuple(
            Input(role=role, identity=identity, manifest=item.manifest)
            for role, side in (("new", new), ("accepted", accepted))
            for identity, item in sorted(side.items())
        ),
        spec={**spec_json(spec), "recipe": recipe, "comparison": comparison.value},
    )
    verdict = store.once(call, lambda: _make(store, new.values(), accepted.values(), spec, comparison, progress))
    facts = verdict.manifest.facts
    if facts["level"] == "block" and spec.blocks:
        raise ExpectationFailed(
            f"{facts['rows']} new rows are not like the {facts['accepted_rows']} of the live release: "
            f"{facts['drifted']}. The report is {REPORT_NAME} of {verdict.digest}. If the change is meant, run the day "
            "again with accept_drift; else ask the source's owner for a sound file"
        )
    return verdict


def _live_dataset(store: Store, recipe: str) -> Manifest | None:
    head = store.stream(f"release-{recipe}").head()
    return None if head is None else find_ancestor(store, head.manifest, "publish_dataset")


def _comparison(live: Manifest | None, day: str, new: dict[str, Input]) -> Comparison:
    if live is None:
        return Comparison.NOTHING_LIVE
    if str(live.facts["day"]) > day:
        return Comparison.LATER_DAY_LIVE
    return Comparison.LIVE_DATA if new else Comparison.NOTHING_NEW


def _make(
    store: Store,
    new: Iterable[Input],
    accepted: Iterable[Input],
    spec: DriftSpec,
    comparison: Comparison,
    progress: Progress,
) -> Made:
    from operators.core.validation.drift import compare, described, worst

    ours, theirs = (_profile(store, side, progress) for side in (new, accepted))
    findings = compare(ours, theirs, spec)
    facts: dict[str, Any] = {
        "comparison": comparison.value,
        "rows": ours.rows,
        "accepted_rows": theirs.rows,
        "level": worst(findings),
        "drifted": ", ".join(described(findings)),
    }
    report = {**facts, "findings": [finding.document() for finding in findings]}
    return Made(files=(store.put_bytes(REPORT_NAME, canonical(report)),), facts=facts)


def _profile(store: Store, files: Iterable[Input], progress: Progress) -> Profile:
    """Return the sum of the files' profiles; one is held at a time."""
    digests = [item.manifest for item in files if item.manifest is not None]
    total = Profile()

    def read(digest: str) -> list[bytes]:
        # What an older revision ingested has none.
        return [store.read(entry) for entry in store.manifest(digest).files if entry.name == PROFILE_NAME]

    for done, found in enumerate(store.membership.round.map(read, digests), start=1):
        for data in found:
            total.add(Profile.decode(data))
        progress(done, len(digests), "profiles")
    return total
