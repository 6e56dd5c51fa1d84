"""Source files of every format and compression, made by other libraries than read them where there are."""

from __future__ import annotations

import bz2
import csv
import datetime
import gzip
import io
import json
import lzma
import mailbox
import zipfile
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from operators.core.sources.spec import Column, ColumnType, Content, CsvDialect, Format, SourceSpec

COLUMNS = (
    Column("id"),
    Column("label"),
    Column("text"),
    Column("count", ColumnType.INTEGER),
    Column("score", ColumnType.NUMBER),
    Column("seen", ColumnType.BOOLEAN),
    Column("at", ColumnType.TIMESTAMP),
)
AT = datetime.datetime(2002, 9, 26, 11, 26, 25, tzinfo=datetime.UTC)
ROWS: list[dict[str, Any]] = [
    {"id": "a/1", "label": "ham", "text": 'Grüße, "you"\nand 月', "count": 3, "score": 0.5, "seen": True, "at": AT},
    {"id": "a/2", "label": "spam", "text": "", "count": None, "score": None, "seen": None, "at": None},
    {"id": "a/3", "label": "ham", "text": "x", "count": -(2**63), "score": -1e300, "seen": False, "at": AT},
]
SPEC = SourceSpec(
    folder="notes",
    content=Content.PLAIN,
    columns=COLUMNS,
    id_column="id",
    label_column="label",
    text_columns=("text",),
)
MAIL_SPEC = SourceSpec(
    folder="mail",
    format=Format.MBOX,
    content=Content.MAIL,
    columns=(Column("id"), Column("label", header="X-Label"), Column("headers"), Column("body")),
    id_column="id",
    label_column="label",
    text_columns=("headers", "body"),
)


def json_lines(rows: Sequence[Any]) -> bytes:
    """Return rows as JSON Lines."""
    return b"".join(json.dumps(row, default=datetime.datetime.isoformat).encode() + b"\n" for row in rows)


def csv_file(rows: Sequence[dict[str, Any]], dialect: CsvDialect | None = None, encoding: str = "utf-8") -> bytes:
    """Return rows as CSV with a header."""
    dialect = dialect or CsvDialect()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=dialect.delimiter, quotechar=dialect.quote)
    writer.writeheader()
    for row in rows:
        writer.writerow({k: v.isoformat() if isinstance(v, datetime.datetime) else v for k, v in row.items()})
    return text.getvalue().encode(encoding)


def parquet_file(table: pa.Table | Sequence[dict[str, Any]], **options: Any) -> bytes:
    """Return a table, or rows with their types as they come, as Parquet."""
    sink = io.BytesIO()
    pq.write_table(table if isinstance(table, pa.Table) else pa.Table.from_pylist(list(table)), sink, **options)
    return sink.getvalue()


def mbox_file(folder: Any, mails: Sequence[bytes]) -> bytes:
    """Return mails as a mailbox, written by the standard library below a scratch folder."""
    box = mailbox.mbox(folder / "box")
    for raw in mails:
        box.add(raw)
    box.close()
    return bytes((folder / "box").read_bytes())


def zipped(data: bytes, name: str = "data") -> bytes:
    """Return a zip with one file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return target.getvalue()


PACK = {
    "": bytes,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zip": zipped,
}
"""How a plain file is compressed, by the suffix of its name."""
