"""Small real-looking mails with the dirt that the corpus has, and the specs they are read with."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import zstandard

from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy
from operators.core.settings import LandingSettings
from operators.core.sources.spec import Column, Content, SourceSpec
from operators.core.validation.spec import Expectation, ValidationSpec

DAY = datetime.date(2002, 9, 26)
KEY = b"a key for tests, of 32 bytes....."
SOURCE = SourceSpec(
    folder="mail",
    content=Content.MAIL,
    columns=tuple(Column(name) for name in ("id", "label", "headers", "body")),
    id_column="id",
    label_column="label",
    text_columns=("headers", "body"),
)
POLICY = AnonymisationSpec(
    columns=(
        ColumnPolicy(column="id", action=Action.IDENTIFIER),
        ColumnPolicy(column="label", action=Action.CATEGORY, values=("ham", "spam")),
        ColumnPolicy(column="text", action=Action.TEXT),
    )
)
SUITE = ValidationSpec(
    expectations=(
        Expectation(kind="expect_table_row_count_to_be_between", arguments=(("min_value", 1), ("max_value", 1000))),
        Expectation(kind="expect_column_values_to_be_unique", column="id", reason="id_repeated"),
        Expectation(
            kind="expect_column_values_to_be_in_set",
            column="label",
            arguments=(("value_set", ("ham", "spam")),),
            reason="label_unknown",
        ),
        Expectation(
            kind="expect_column_values_to_be_in_set",
            column="decodable",
            arguments=(("value_set", (True,)),),
            reason="undecodable",
        ),
        Expectation(
            kind="expect_column_values_to_be_between",
            column="text_characters",
            arguments=(("min_value", 1),),
            reason="text_empty",
        ),
        Expectation(
            kind="expect_column_values_to_be_between",
            column="sent_offset_days",
            arguments=(("min_value", -60), ("max_value", 60)),
            reason="date_far_from_arrival",
        ),
    ),
    max_quarantined_share=1.0,
)


def at(folder: Path) -> LandingSettings:
    """Return the settings of a landing zone in a local folder."""
    return LandingSettings(url=folder.as_uri())


def mail(number: int, **changes: Any) -> dict[str, Any]:
    """Return a sound row, with some of its fields changed."""
    headers = (
        f"From: Robert Elz <kre{number}@munnari.oz.au>\nTo: exmh-workers@spamassassin.taint.org\n"
        f"Subject: Re: New Sequences Window {number}\nDate: Thu, 26 Sep 2002 18:26:25 +0700\n"
        f"Message-Id: <{number}@x.oz>"
    )
    body = f"Robert wrote to kre{number}@munnari.oz.au about http://www.example.com/{number}\n"
    return {"id": f"ham/{number:05d}", "label": "ham", "headers": headers, "body": body, **changes}


def pack(rows: list[dict[str, Any]]) -> bytes:
    """Return rows as the bytes of a landing file."""
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    return zstandard.ZstdCompressor(write_checksum=True).compress(lines)


def land(folder: Path, day: datetime.date, rows: list[dict[str, Any]], name: str = "mails") -> Path:
    """Put rows into a landing zone."""
    path = folder / "mail" / f"dt={day}" / f"{name}.jsonl.zst"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pack(rows))
    return path
