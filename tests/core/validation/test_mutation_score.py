"""How many kinds of corruption of real data the checks notice: the suite, the quarantine and drift together."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest

from operators.core.errors import DataError
from operators.core.ingestion.spec import IngestionSpec
from operators.core.profiling.profile import Profile
from operators.core.sources.reader import read_columns
from operators.core.sources.spec import Column, Content, SourceSpec
from operators.core.validation.drift import compare, worst
from operators.core.validation.spec import Argument, DriftSpec, Expectation, Levels, ValidationSpec
from operators.core.validation.validate import check_rows
from tests.core.mails import pack
from tests.core.validation.corruptions import CORRUPTIONS, Rows
from tests.core.validation.profiles import profile_of

BANKING = Path(__file__).resolve().parents[4] / "shared" / "datasets" / "banking77" / "train.csv"
DAY = datetime.date(2026, 11, 22)
ACCEPTED, NEW = 8000, 2000
GOAL = 0.96
SOURCE = SourceSpec(
    folder="queries",
    content=Content.PLAIN,
    columns=(Column("id"), Column("text"), Column("label")),
    id_column="id",
    label_column="label",
    text_columns=("text",),
)

pytestmark = [
    pytest.mark.skipif(not BANKING.is_file(), reason="needs shared/datasets/banking77 beside the project"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def _row(column: str, kind: str, reason: str, **arguments: Argument) -> Expectation:
    return Expectation(
        kind=f"expect_column_values_to_{kind}", column=column, arguments=tuple(arguments.items()), reason=reason
    )


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Banking77's questions in seeded order."""
    with BANKING.open(encoding="utf-8", newline="") as handle:
        found = [
            {"id": f"q{number:05d}", "text": row["text"].strip(), "label": row["category"]}
            for number, row in enumerate(csv.DictReader(handle))
        ]
    Random(77).shuffle(found)
    return found


@pytest.fixture(scope="module")
def suite(rows: Rows) -> ValidationSpec:
    """What anybody would write down about these columns; it knows nothing of the corruptions."""
    return ValidationSpec(
        expectations=(
            Expectation(kind="expect_table_row_count_to_be_between", arguments=(("min_value", 1),)),
            Expectation(
                kind="expect_table_columns_to_match_set",
                arguments=(("column_set", SOURCE.column_names), ("exact_match", False)),
            ),
            _row("id", "not_be_null", "id_missing"),
            _row("id", "be_unique", "id_repeated"),
            _row("wrong_type", "be_null", "wrong_type"),
            _row("text", "not_be_null", "text_missing"),
            _row("text_characters", "be_between", "text_empty", min_value=1),
            _row("text", "not_match_regex", "text_damaged", regex="\ufffd"),
            _row("text", "not_match_regex", "markup_left", regex=r"</?[a-z]+[^>]*>"),
            _row("label", "not_be_null", "label_missing"),
            _row("label", "be_in_set", "label_unknown", value_set=tuple(sorted({row["label"] for row in rows}))),
        ),
        # Questions come in steady shares, unlike mail, whose days differ by much.
        drift=DriftSpec(labels=Levels(warn=0.1, block=0.3)),
    )


def _noticed(data: bytes, suite: ValidationSpec, accepted: Profile) -> str:
    """Return what was said of a file's bytes, empty where nothing was."""
    try:
        parts = list(read_columns(data, "queries.jsonl.zst", SOURCE))
        report, selection, missing = check_rows(parts, SOURCE, suite, DAY)
    except DataError as error:
        return f"refused: {error}"
    broken = [item["kind"] for item in report["expectations"] if item["broken"]]
    if broken or missing:
        return f"broken: {broken}, missing: {missing}"
    if selection.quarantined:
        return f"quarantined: {selection.counts}"
    most = IngestionSpec().max_text_characters
    rows = (row for part in parts if isinstance(part, pa.RecordBatch) for row in part.to_pylist())
    kept = [{"text": row["text"][:most], "label": row["label"]} for row in rows]
    findings = compare(profile_of(kept), accepted, suite.drift)
    return ", ".join(f"{one.measure} {one.size:.2f}" for one in findings if one.level != "none")


@pytest.mark.parametrize("seed", [0])
def test_nearly_every_corruption_is_noticed_and_sound_data_is_not(
    rows: Rows, suite: ValidationSpec, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """One kind may escape; the same rows without corruption pass."""
    shuffled = Random(seed).sample(rows, len(rows))
    new, accepted = shuffled[:NEW], profile_of(shuffled[NEW : NEW + ACCEPTED])
    said = {}
    for name, corrupt in CORRUPTIONS.items():
        damaged = corrupt(new, Random(seed))
        said[name] = _noticed(damaged if isinstance(damaged, bytes) else pack(damaged), suite, accepted)
    missed = [name for name, words in said.items() if not words]
    with capsys.disabled():
        print(f"\nmutation score {1 - len(missed) / len(said):.3f} of {len(said)} corruptions; missed: {missed}")

    assert _noticed(pack(new), suite, accepted) == ""
    assert len(said) >= 30
    assert 1 - len(missed) / len(said) >= GOAL


def test_random_samples_of_one_source_do_not_drift(rows: Rows) -> None:
    """Of small and of large samples: no level, no measure, in two hundred draws."""
    draw, levels = Random(5), set()
    for size in (40, 60, 200, 1000):
        for _ in range(50 if size < 1000 else 10):
            shuffled = draw.sample(rows, size + 3000)
            levels.add(worst(compare(profile_of(shuffled[:size]), profile_of(shuffled[size:]), DriftSpec())))

    assert levels == {"none"}
