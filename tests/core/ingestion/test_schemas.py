"""Columns of different days: added and widened ones are merged, anything else is refused."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.errors import DataError
from operators.core.ingestion.schemas import conform, merge_schemas
from operators.core.ingestion.spec import DatasetSpec
from operators.core.storage import Store
from tests.core.ingestion.parts import publish, put_part, read_split, table

FIRST, SECOND = datetime.date(2024, 5, 1), datetime.date(2024, 5, 2)
WIDER = [
    (pa.int32(), pa.int64()),
    (pa.float32(), pa.float64()),
    (pa.string(), pa.large_string()),
    (pa.timestamp("s", "UTC"), pa.timestamp("us", "UTC")),
]


@pytest.mark.parametrize(("narrow", "wide"), WIDER)
@pytest.mark.parametrize("is_turned", [False, True])
def test_a_widened_column_has_the_widest_type(narrow: pa.DataType, wide: pa.DataType, is_turned: bool) -> None:
    """Whichever day came first."""
    types = (wide, narrow) if is_turned else (narrow, wide)
    merged = merge_schemas(zip((FIRST, SECOND), (pa.schema([("amount", one)]) for one in types), strict=True))

    assert merged.field("amount").type == wide


@pytest.mark.parametrize(
    ("one", "two"), [(pa.int64(), pa.string()), (pa.float64(), pa.int64()), (pa.bool_(), pa.int8())]
)
def test_another_type_is_refused_by_name_types_and_days(one: pa.DataType, two: pa.DataType) -> None:
    """The message is all that is needed to ask the source's owner."""
    with pytest.raises(DataError) as caught:
        merge_schemas([(FIRST, pa.schema([("amount", one)])), (SECOND, pa.schema([("amount", two)]))])

    for word in ("amount", str(one), str(two), "2024-05-01", "2024-05-02"):
        assert word in str(caught.value)


@given(st.lists(st.sets(st.sampled_from("abcd"), min_size=1), min_size=1, max_size=5))
def test_a_column_that_a_part_lacks_is_null_there(names: list[set[str]]) -> None:
    """Every part takes the merged schema; a column of all parts may not be null, any other may."""
    schemas = [pa.schema([pa.field(name, pa.int32(), nullable=False) for name in sorted(part)]) for part in names]
    merged = merge_schemas((FIRST, schema) for schema in schemas)
    for schema in schemas:
        batch = pa.RecordBatch.from_arrays([pa.array([1, 2], pa.int32())] * len(schema), schema=schema)
        row = conform(batch, merged).to_pylist()[0]

        assert row == {name: 1 if name in schema.names else None for name in merged.names}
    assert set(merged.names) == set.union(*names)
    assert {field.name for field in merged if not field.nullable} == set.intersection(*names)


def test_days_with_an_added_and_a_widened_column_are_one_data_set(store: Store) -> None:
    """The older day's rows have null in the new column and their numbers in the wider type."""
    old = table([f"old {n}" for n in range(30)], day=FIRST).append_column("size", pa.array(range(30), pa.int32()))
    new = table([f"new {n}" for n in range(30)], day=SECOND).append_column("size", pa.array([2**40] * 30, pa.int64()))
    new = new.append_column("team", pa.array(["x"] * 30))
    parts = [put_part(store, old, day=FIRST, name="old"), put_part(store, new, day=SECOND, name="new")]
    train = read_split(store, publish(store, parts, DatasetSpec(test_share=0.3)).manifest, "train")

    assert train.schema.field("size").type == pa.int64()
    assert {(row["day"], row["team"], row["size"] < 30) for row in train.to_pylist()} == {
        (FIRST, None, True),
        (SECOND, "x", False),
    }
