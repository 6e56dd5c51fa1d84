"""A source's spec is checked when it is made, and says which files are its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from operators.core.manifest import canonical
from operators.core.sources.job import ParseJob
from operators.core.sources.listing import source_key
from operators.core.sources.spec import Column, ColumnType, CsvDialect, Format, ReadLimits
from tests.core.sources.files import MAIL_SPEC, SPEC


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folder": "a/b"}, "folder or partition 'a/b'"),
        ({"partition_columns": ("x=y",)}, "folder or partition 'x=y'"),
        ({"columns": ()}, "name at least one"),
        ({"columns": (*SPEC.columns, Column("id"))}, "each once"),
        ({"id_column": "key"}, r"\['key'\] are used but not among"),
        ({"partition_columns": ("team",)}, r"\['team'\] are used but not among"),
        ({"text_columns": ()}, "plain at least one"),
        ({"text_columns": ("count",)}, "each must be of type text"),
        ({"label_column": "score"}, "must be of type text or integer"),
        ({"columns": (*SPEC.columns, Column("x", header="X"))}, "only columns of mbox and EML"),
        ({"format": Format.EML}, "name the header it comes from"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes: dict[str, Any], words: str) -> None:
    """The message names the value and what to write instead."""
    with pytest.raises(ValueError, match=words):
        replace(SPEC, **changes)


@pytest.mark.parametrize("name", ["", "a\nb", "wrong_type", "row_sha256", "decodable", "\ufb01", "x" * 201])
def test_a_column_has_a_name_of_its_own(name: str) -> None:
    """None that cannot be shown, that looks like another, or that reading adds."""
    with pytest.raises(ValueError, match="column"):
        Column(name)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Column("a", header="X Label"),
        lambda: CsvDialect(delimiter=""),
        lambda: CsvDialect(delimiter="\n"),
        lambda: CsvDialect(delimiter='"'),
        lambda: ReadLimits(max_rows=0),
        lambda: ReadLimits(max_seconds=1.5),  # type: ignore[arg-type]
    ],
)
def test_values_out_of_range_are_refused(make: Any) -> None:
    """Marks are one character, limits whole numbers from 1."""
    with pytest.raises(ValueError, match=r"header|delimiter|max_"):
        make()


@pytest.mark.parametrize(
    ("name", "compression"),
    [
        *(("a.jsonl", ""), ("a.b.jsonl.zst", ".zst"), ("\u6708.jsonl.gz", ".gz"), ("a.jsonl.zip", ".zip")),
        *((".jsonl", None), (".a.jsonl", None), ("_a.jsonl", None), ("a.csv", None), ("a.jsonl.tmp", None)),
        *(("a.jsonl.gz.gz", None), ("a.JSONL", None), ("ajsonl", None)),
    ],
)
def test_names_say_what_is_a_file_of_the_source(name: str, compression: str | None) -> None:
    """Its format's suffix, then one compression or none; unfinished files and markers are not."""
    assert SPEC.compression_of(name) == compression


def test_a_job_survives_its_encoding() -> None:
    """What a child is told is all of the spec that parsing needs."""
    spec = replace(MAIL_SPEC, columns=(*MAIL_SPEC.columns, Column("n", ColumnType.INTEGER)), partition_columns=("n",))
    job = ParseJob.of("mail/dt=2002-09-26/n=%37/a.mbox.xz", spec)

    assert ParseJob.from_json(job.to_json()) == job
    assert (job.compression, job.constants) == (".xz", {"n": "7"})


def test_limits_are_in_no_run_key() -> None:
    """All else of a source is."""
    key = canonical(source_key(SPEC))

    assert canonical(source_key(replace(SPEC, limits=ReadLimits(max_rows=7)))) == key
    assert canonical(source_key(replace(SPEC, csv=CsvDialect(delimiter=";")))) != key
    assert canonical(source_key(replace(SPEC, columns=SPEC.columns[:3]))) != key
