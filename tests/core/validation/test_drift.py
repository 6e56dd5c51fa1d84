"""Profiles add up; what is new is held against what is live, and against nothing else."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from operators.core.errors import DataError, ExpectationFailed
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.manifest import Made, StageCall
from operators.core.profiling.profile import Profile
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.storage import Result, Store
from operators.core.validation.check_drift import REPORT_NAME, check_drift
from operators.core.validation.drift import compare
from operators.core.validation.spec import DriftSpec, Levels
from operators.core.validation.validate import validate
from tests.core.mails import DAY, KEY, POLICY, SOURCE, SUITE, at, land, mail
from tests.core.validation.profiles import profile_of

WORDS = [
    "the", "list", "patch", "build", "kernel", "mail", "server", "thanks", "please", "click", "free", "offer", "money",
    "window", "sequence", "folder",
]  # fmt: skip
Judge = Callable[..., Result]


def _rows(number: int, seed: int, label: Callable[[int], str], words: list[str] = WORDS) -> list[dict[str, Any]]:
    draw = Random(seed)
    return [
        {"text": " ".join(draw.choices(words, k=draw.randint(5, 40))), "label": label(index)} for index in range(number)
    ]


def _ham(index: int) -> str:
    return "spam" if index % 5 == 0 else "ham"


@given(
    some.lists(some.tuples(some.text(min_size=1), some.sampled_from(["ham", "spam"])), max_size=8), some.integers(0, 8)
)
def test_two_files_profiles_add_up_and_read_back(rows: list[tuple[str, str]], cut: int) -> None:
    """The sum is the profile of both but for texts that the two share, and any text has one."""
    dicts = [{"text": text, "label": label} for text, label in rows]
    total = profile_of(dicts[:cut])
    total.add(profile_of(dicts[cut:]))
    whole = profile_of(dicts)

    assert total.repeated <= whole.repeated
    total.repeated = whole.repeated
    assert total == whole
    assert Profile.decode(whole.encode()) == whole


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"rows": 1}', b'{"measures": {"characters": []}}'])
def test_what_is_no_profile_is_refused(data: bytes) -> None:
    """Rot and other formats are errors with a name."""
    with pytest.raises(DataError, match="profile"):
        Profile.decode(data)


def test_a_profile_holds_no_word() -> None:
    """Nothing of a text can be read in it."""
    assert not {word for word in WORDS if word in profile_of(_rows(50, 1, _ham)).encode().decode()}


@pytest.mark.parametrize(
    ("new", "measure"),
    [
        (_rows(300, 2, lambda index: "spam"), "labels"),
        (_rows(300, 2, _ham, [word.upper() for word in WORDS]), "capitals"),
        (_rows(300, 2, _ham, [f"{word}x" for word in WORDS]), "vocabulary"),
        (_rows(10, 2, _ham) * 30, "repeated"),
    ],
)
def test_what_changed_is_what_is_named(new: list[dict[str, Any]], measure: str) -> None:
    """The largest finding that stops the run is the one that was made."""
    found = compare(profile_of(new), profile_of(_rows(1000, 1, _ham)), DriftSpec())
    largest = max(found, key=lambda finding: finding.size if finding.level == "block" else 0)

    assert (largest.measure, largest.level) == (measure, "block")


def test_labels_dealt_out_at_random_show_by_the_words_that_go_with_them() -> None:
    """The shares of labels and words are what they were; what goes with what is not."""
    accepted, sound = (
        [*_rows(400, seed, lambda index: "ham", WORDS[:8]), *_rows(400, seed, lambda index: "spam", WORDS[8:])]
        for seed in (1, 2)
    )
    labels = [row["label"] for row in sound]
    Random(3).shuffle(labels)
    dealt = [{**row, "label": label} for row, label in zip(sound, labels, strict=True)]
    levels = [
        {finding.measure: finding.level for finding in compare(profile_of(new), profile_of(accepted), DriftSpec())}
        for new in (sound, dealt)
    ]

    assert set(levels[0].values()) == {"none"}
    assert {measure for measure, level in levels[1].items() if level != "none"} == {"label_words"}


@pytest.mark.parametrize(("without", "level"), [(7, "warn"), (None, "none")])
def test_one_of_many_labels_that_is_gone_is_told_of(without: int | None, level: str) -> None:
    """With a share of a thirtieth: too little for the shares as a whole to show it; without a loss nothing is said."""
    new = _rows(900, 2, lambda index: f"label {index % 30}")
    kept = [row for index, row in enumerate(new) if index % 30 != without]
    accepted = profile_of(_rows(3000, 1, lambda index: f"label {index % 30}"))
    found = {one.measure: one for one in compare(profile_of(kept), accepted, DriftSpec())}

    assert found["labels"].level == "none"
    assert found["lost_label"].level == level


def test_a_recipe_may_have_a_lost_label_stop_the_run() -> None:
    """By default it is told of: a day of mail may well bring no spam."""
    new, accepted = profile_of(_rows(300, 2, lambda index: "ham")), profile_of(_rows(1000, 1, _ham))
    spec = DriftSpec(lost_label=Levels(warn=0.5, block=1.0))
    levels = [{f.measure: f.level for f in compare(new, accepted, one)}["lost_label"] for one in (DriftSpec(), spec)]

    assert levels == ["warn", "block"]


def test_a_profile_whose_words_were_counted_otherwise_is_not_judged_by_them() -> None:
    """What is live may have been ingested by an older release."""
    document = json.loads(profile_of(_rows(300, 1, _ham)).encode())
    document["words"] = document.pop("word_buckets")
    del document["label_word_buckets"]
    old = Profile.decode(json.dumps(document).encode())
    found = {one.measure: one for one in compare(profile_of(_rows(300, 2, _ham)), old, DriftSpec())}

    assert [(found[name].size, found[name].level) for name in ("vocabulary", "label_words")] == [(0.0, "none")] * 2


def test_with_few_rows_nothing_is_judged() -> None:
    """Twenty rows of another kind may be chance."""
    assert compare(profile_of(_rows(20, 2, lambda index: "spam")), profile_of(_rows(999, 1, _ham)), DriftSpec()) == []


@pytest.fixture
def judge(store: Store, tmp_path: Path) -> Judge:
    """Land a day's mails, take the window to where drift is judged, and have it judged."""
    landing = tmp_path / "landing"

    def take(day: datetime.date, rows: list[dict[str, Any]], spec: DriftSpec | None = None) -> Result:
        mails = [
            mail(number + day.toordinal() % 1000 * 1000, body=row["text"], label=row["label"])
            for number, row in enumerate(rows)
        ]
        land(landing, day, mails)
        zone = at(landing)
        (listing,) = discover(
            store, landing=zone, spec=SOURCE, first_day=DAY - datetime.timedelta(days=9), last_day=day,
            progress=no_progress, groups=1,
        )  # fmt: skip
        valid = validate(store, listing=listing.digest, landing=zone, source=SOURCE, spec=SUITE, progress=no_progress)
        part = ingest(
            store, validation=valid.digest, landing=zone, source=SOURCE, anonymisation=POLICY, spec=IngestionSpec(),
            key=KEY, progress=no_progress,
        )  # fmt: skip
        verdict = check_drift(
            store, parts=[part.digest], recipe="tiny", day=day.isoformat(), spec=spec or DriftSpec(),
            progress=no_progress,
        )  # fmt: skip
        data = publish_dataset(
            store, parts=[part.digest], recipe="tiny", day=day, spec=DatasetSpec(test_share=0.3), key=KEY,
            progress=no_progress,
        )  # fmt: skip
        _release(store, data.digest)
        return verdict

    return take


def _release(store: Store, dataset: str) -> None:
    """Have a model of the data set be what is live."""
    digest = dataset
    for stage, role in (("fine_tune", "dataset"), ("release", "model")):
        call = StageCall(stage=stage, revision=1, inputs=(store.as_input(role, digest),))
        digest = store.once(call, Made).digest
    stream = store.stream("release-tiny")
    stream.append(digest, after=stream.head())


@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
def test_a_new_day_is_held_against_what_is_live(store: Store, judge: Judge) -> None:
    """Nothing live, then the same, then like days, then another kind of mail: it stops, unless a person wants it."""
    first = judge(DAY - datetime.timedelta(days=3), _rows(200, 1, _ham))
    again = judge(DAY - datetime.timedelta(days=3), _rows(200, 1, _ham))
    alike = judge(DAY - datetime.timedelta(days=2), _rows(200, 2, _ham))

    assert first.manifest.facts["comparison"] == "nothing_live"
    assert again.manifest.facts["comparison"] == "nothing_new"
    assert (alike.manifest.facts["comparison"], alike.manifest.facts["level"]) == ("live_data", "none")
    assert (alike.manifest.facts["rows"], alike.manifest.facts["accepted_rows"]) == (200, 200)

    other = _rows(200, 3, lambda index: "spam", [f"{word}x" for word in WORDS])
    with pytest.raises(ExpectationFailed, match=r"200 new rows .* 400 of the live release: .*labels by .*accept_drift"):
        judge(DAY - datetime.timedelta(days=1), other)
    wanted = judge(DAY - datetime.timedelta(days=1), other, replace(DriftSpec(), blocks=False))
    report = json.loads(store.read(wanted.manifest.file(REPORT_NAME)))

    assert wanted.manifest.facts["level"] == "block"
    assert {finding["measure"] for finding in report["findings"] if finding["level"] == "block"} >= {"labels"}


@pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
def test_an_older_day_is_not_held_against_a_later_one(judge: Judge) -> None:
    """A backfill of old days goes on whatever they look like."""
    judge(DAY, _rows(100, 1, _ham))

    assert judge(DAY - datetime.timedelta(days=5), _rows(100, 2, lambda index: "spam")).manifest.facts[
        "comparison"
    ] == ("later_day_live")
