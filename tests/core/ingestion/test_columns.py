"""Columns beside id, label and text: through the stages into the data set, each as its policy says, all else denied."""

from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN, pseudonym
from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy, Period, Recogniser, RiskSpec
from operators.core.errors import PrivacyRiskTooHigh
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.parquet import schema_with
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.rows import RowAnonymiser
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec, output_columns
from operators.core.manifest import Manifest
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.sources.reader import read_rows
from operators.core.sources.spec import ROW_SHA256, Column, ColumnType, Content, SourceSpec
from operators.core.storage import Store
from operators.core.validation.spec import Expectation, ValidationSpec
from operators.core.validation.validate import validate
from operators.recipes import load_recipe
from tests.core.ingestion.parts import anonymised, decode_rows, encode_rows
from tests.core.mails import DAY, KEY, at
from tests.core.sources.files import json_lines

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

SOURCE = SourceSpec(
    folder="tickets",
    content=Content.PLAIN,
    columns=(
        Column("number", ColumnType.INTEGER),
        Column("team"),
        Column("body"),
        Column("age", ColumnType.INTEGER),
        Column("postcode"),
        Column("customer"),
        Column("name"),
        Column("card"),
        Column("opened", ColumnType.TIMESTAMP),
        Column("urgent", ColumnType.BOOLEAN),
        Column("note"),
        Column("secret"),
        Column("unnamed"),
    ),
    id_column="number",
    label_column="team",
    text_columns=("body",),
)
POLICY = AnonymisationSpec(
    columns=(
        ColumnPolicy(column="id", action=Action.IDENTIFIER),
        ColumnPolicy(column="label", action=Action.CATEGORY, values=("sales", "care")),
        ColumnPolicy(column="text", action=Action.TEXT),
        ColumnPolicy(column="urgent", action=Action.KEEP),
        ColumnPolicy(column="age", action=Action.GENERALISE, width=10),
        ColumnPolicy(column="postcode", action=Action.GENERALISE, prefix=2),
        ColumnPolicy(column="opened", action=Action.GENERALISE, period=Period.MONTH),
        ColumnPolicy(column="customer", action=Action.PSEUDONYM),
        ColumnPolicy(column="name", action=Action.PSEUDONYM, holds=Recogniser.NAME),
        ColumnPolicy(column="card", action=Action.MASK, visible=4),
        ColumnPolicy(column="note", action=Action.TEXT),
        ColumnPolicy(column="secret", action=Action.DROP),
    )
)
SUITE = ValidationSpec(
    expectations=(
        Expectation(kind="expect_column_values_to_not_be_null", column="number", reason="id_missing"),
        Expectation(kind="expect_column_values_to_not_be_null", column="team", reason="label_missing"),
    )
)
FURTHER = ["urgent", "age", "postcode", "opened", "customer", "name", "card", "note"]


def ticket(number: int, **changes: Any) -> dict[str, Any]:
    """Return a row of the source."""
    body = f"Ada Byron (ACME-{number}) asks about 4111111111111111; the word is Xyzzy{number}."
    return {
        "number": number,
        "team": "sales",
        "body": body,
        "age": 30 + number % 40,
        "postcode": f"SW{number % 9}A 1AA",
        "customer": f"ACME-{number}",
        "name": "Ada Byron",
        "card": "4111 1111 1111 1111",
        "opened": datetime.datetime(2002, 9, 1 + number % 28, tzinfo=datetime.UTC),
        "urgent": bool(number % 2),
        "note": f"call Ada back, ada{number}@example.com",
        "secret": f"xyzzy{number}",
        "unnamed": "never leaves",
        **changes,
    }


def land(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Put rows into the landing zone."""
    path = folder / "tickets" / f"dt={DAY}" / "tickets.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json_lines(rows))


def published(store: Store, folder: Path, *, dataset: DatasetSpec | None = None, key: bytes = KEY) -> Manifest:
    """Return the data set that the stages make of a landing zone."""
    landing, days = at(folder), {"first_day": DAY, "last_day": DAY}
    listing = discover(store, landing=landing, spec=SOURCE, progress=no_progress, groups=1, **days)[0].digest
    common = {"landing": landing, "source": SOURCE, "progress": no_progress}
    validation = validate(store, listing=listing, spec=SUITE, **common).digest
    part = ingest(store, validation=validation, anonymisation=POLICY, spec=IngestionSpec(), key=key, **common).digest
    return publish_dataset(
        store, parts=[part], recipe="t", day=DAY, spec=dataset or DatasetSpec(), key=key, progress=no_progress
    ).manifest


def rows_of(store: Store, manifest: Manifest) -> list[dict[str, Any]]:
    """Return every row of a data set."""
    return [row for entry in manifest.files for row in decode_rows(store.read(entry))]


def test_each_column_leaves_as_its_policy_says(store: Store, tmp_path: Path) -> None:
    """Kept, generalised, masked, replaced; the same value has one pseudonym in its column and in the text."""
    land(tmp_path, [ticket(number) for number in range(40)])
    row = {row["id"]: row for row in rows_of(store, published(store, tmp_path))}["7"]
    customer, name = pseudonym("id", "ACME-7", KEY), pseudonym("name", "ada byron", KEY)

    assert row["text"].startswith(f"{name} ({customer}) asks about card_")
    assert {column: row[column] for column in FURTHER[:-1]} == {
        "urgent": True,
        "age": "[30, 40)",
        "postcode": "SW",
        "opened": "2002-09",
        "customer": customer,
        "name": name,
        "card": "****1111",
    }
    assert "Ada" not in row["note"] and "@" not in row["note"]


def test_what_no_policy_lets_through_never_leaves(store: Store, tmp_path: Path) -> None:
    """The schema is the policy's, in its order; dropped values are gone from the text, unnamed columns from all."""
    land(tmp_path, [ticket(number) for number in range(40)])
    manifest = published(store, tmp_path)
    data = store.read(manifest.files[0])

    assert pq.read_schema(pa.BufferReader(data)).names == ["id", "day", "text", "label", *FURTHER]
    assert pq.read_schema(pa.BufferReader(data)) == schema_with(output_columns(SOURCE, POLICY))
    assert not [row for row in rows_of(store, manifest) if "yzzy" in str(row) or "never leaves" in str(row)]


def test_missing_values_stay_missing(store: Store, tmp_path: Path) -> None:
    """A null is no value to hide; its row goes on."""
    nothing = dict.fromkeys(["age", "postcode", "customer", "name", "card", "opened", "urgent", "note", "secret"])
    land(tmp_path, [ticket(number, **nothing) for number in range(20)])

    assert {row[column] for row in rows_of(store, published(store, tmp_path)) for column in FURTHER} == {None}


def test_rows_without_an_id_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    """Their id is a keyed pseudonym of the whole row, the same in any file; rows that look alike are one."""
    source = replace(SOURCE, id_column=ROW_SHA256)
    policy = replace(POLICY, columns=(ColumnPolicy(column="id", action=Action.PSEUDONYM), *POLICY.columns[1:]))
    land(tmp_path, [ticket(1), ticket(2), ticket(1, body=f"  {ticket(1)['body']}"), ticket(1, age=31.5)])
    path = tmp_path / "tickets" / f"dt={DAY}" / "tickets.jsonl"
    rows = read_rows(path.read_bytes(), str(path.relative_to(tmp_path)), source).rows
    anonymiser = RowAnonymiser(source, policy, IngestionSpec(), KEY)
    first, second, alike, wrong = [anonymised(anonymiser, row) or {} for row in rows]

    assert len({row["id"] for row in (first, second, wrong)}) == 3
    assert first["id"] == alike["id"]
    assert all(PSEUDONYM_PATTERN.fullmatch(row["id"]) for row in (first, second, wrong))


def test_a_digest_of_a_row_may_not_leave_as_it_is() -> None:
    """Whoever guesses a row could check the guess by it."""
    with pytest.raises(ValueError, match="give the column 'id' the action PSEUDONYM"):
        output_columns(replace(SOURCE, id_column=ROW_SHA256), POLICY)


def test_an_identifier_that_does_not_leave_as_it_is_is_looked_for(store: Store, tmp_path: Path) -> None:
    """An id that is a sentence gets a pseudonym, and so does the sentence in the text."""
    source = replace(SOURCE, columns=(Column("number"), *SOURCE.columns[1:]))
    anonymiser = RowAnonymiser(source, POLICY, IngestionSpec(), KEY)
    row = anonymised(anonymiser, {**ticket(1), "number": "Ms Lovelace, London", "body": "Dear Ms Lovelace, London!"})

    assert row is not None
    assert row["text"] == f"Dear {row['id']}!"


@given(st.lists(st.tuples(st.booleans(), st.text(max_size=5)), max_size=20), st.randoms())
def test_bytes_follow_from_rows_whatever_the_columns(values: list[tuple[bool, str]], chance: Any) -> None:
    """The order in which rows come changes no byte, and reading is the inverse of writing."""
    schema = schema_with(output_columns(SOURCE, replace(POLICY, columns=(*POLICY.columns[:4], POLICY.columns[5]))))
    rows = [
        {"id": f"{n:03d}", "day": DAY, "text": "t", "label": "sales", "urgent": urgent, "postcode": code}
        for n, (urgent, code) in enumerate(values)
    ]
    shuffled = chance.sample(rows, len(rows))

    assert encode_rows(shuffled, schema) == encode_rows(rows, schema)
    assert decode_rows(encode_rows(rows, schema)) == rows


def test_the_schema_is_in_the_file_itself() -> None:
    """A reader without our code sees names, types and what may be missing."""
    schema = schema_with(output_columns(SOURCE, POLICY))

    assert pq.read_schema(pa.BufferReader(encode_rows([], schema))).equals(schema)


@pytest.mark.parametrize(
    ("column", "options", "why"),
    [
        ("nowhere", {"action": Action.KEEP}, "none of the source's"),
        ("age", {"action": Action.GENERALISE, "prefix": 2}, "does not fit column 'age' of type integer"),
        ("urgent", {"action": Action.PSEUDONYM}, "does not fit column 'urgent' of type boolean"),
        ("opened", {"action": Action.GENERALISE, "width": 5.0}, "does not fit column 'opened'"),
        ("age", {"action": Action.TEXT}, "does not fit column 'age'"),
    ],
)
def test_a_recipe_whose_policy_does_not_fit_its_source_is_refused(
    column: str, options: dict[str, Any], why: str
) -> None:
    """When the recipe is made: a column that is not there, an action that the column's type does not take."""
    mail = load_recipe(Path("dags/recipes/mail_triage.py"))
    columns = (*POLICY.columns[:3], ColumnPolicy(column=column, **options))

    with pytest.raises(ValueError, match=why):
        replace(mail, source=SOURCE, anonymisation=replace(POLICY, columns=columns))


@pytest.mark.parametrize(("min_k", "passes"), [(5, True), (21, False)])
def test_a_data_set_is_published_only_if_enough_rows_are_alike(
    store: Store, tmp_path: Path, min_k: int, passes: bool
) -> None:
    """Forty tickets in decades of ten: the gate closes above ten, with nothing committed; its facts are counts."""
    land(tmp_path, [ticket(number, team=("sales", "care")[number % 3 == 0]) for number in range(40)])
    spec = DatasetSpec(risk=RiskSpec(quasi_identifiers=("age",), min_k=min_k, min_l=2))
    if not passes:
        with pytest.raises(PrivacyRiskTooHigh, match="k=10"):
            published(store, tmp_path, dataset=spec)
        assert store.stream("dataset-t").head() is None
        return

    assert published(store, tmp_path, dataset=spec).facts["risk"] == {
        "k": 10,
        "l": 2,
        "groups": 4,
        "small": 0,
        "uniform": 0,
    }


@pytest.mark.parametrize("column", ["note", "secret", "nowhere", "id"])
def test_a_risk_on_what_does_not_leave_is_refused(column: str) -> None:
    """When the recipe is made: free text cannot be counted, a dropped column cannot single anybody out."""
    mail = load_recipe(Path("dags/recipes/mail_triage.py"))
    dataset = DatasetSpec(risk=RiskSpec(quasi_identifiers=(column,)))

    with pytest.raises(ValueError, match=f"risk: column '{column}'"):
        replace(mail, source=SOURCE, anonymisation=POLICY, dataset=dataset)


def test_a_new_key_makes_all_anew_and_leaves_the_old(store: Store, tmp_path: Path) -> None:
    """Rotation: the same validation, another data set in the same stream, no pseudonym in both; the old one stays."""
    land(tmp_path, [ticket(number) for number in range(40)])
    before = published(store, tmp_path)
    after = published(store, tmp_path, key=b"the next key of the pseudonyms...")
    again = published(store, tmp_path)
    words = [
        {match for row in rows_of(store, manifest) for match in PSEUDONYM_PATTERN.findall(str(row))}
        for manifest in (before, after)
    ]
    validations = [_root(store, manifest) for manifest in (before, after)]

    assert words[0] and not words[0] & words[1]
    assert validations[0] == validations[1]
    assert again == before != after
    assert [entry.manifest for entry in store.stream("dataset-t").entries()] == [before.digest, after.digest]


def _root(store: Store, dataset: Manifest) -> set[str | None]:
    parts = [store.manifest(item.manifest) for item in dataset.inputs_of("part") if item.manifest]
    return {part.input("validation").manifest for part in parts}
