"""What a recipe's source looks like, and the limits within which it is read."""

from __future__ import annotations

import enum
import re
import unicodedata
from dataclasses import dataclass, field

COMPRESSIONS = ("", ".zst", ".gz", ".bz2", ".xz", ".zip")
"""How the name of a file may end after its format's suffix; empty for a plain file. A zip holds one file."""
WRONG_TYPE = "wrong_type"
"""Derived column of a read row: the first column whose value is not of the type that the spec gives it."""
ROW_SHA256 = "row_sha256"
"""Derived column that is the id of rows that bring none: the SHA-256 of all that the row's columns hold."""
DERIVED = (WRONG_TYPE, ROW_SHA256, "text_characters", "decodable", "sent_offset_days")
"""Columns that reading and validation add to a source's own."""
MAIL_COLUMNS = ("id", "headers", "body")
CONLL_COLUMNS = ("text", "entities")


class Format(enum.Enum):
    """What the files of a source are; the value is how their names end, before the suffix of a compression."""

    JSON_LINES = "jsonl"
    """An object a line, in UTF-8."""
    CSV = "csv"
    """In UTF-8, with a header; see `CsvDialect`."""
    PARQUET = "parquet"
    MBOX = "mbox"
    """Mails after `From ` lines (RFC 4155). Columns: `id` (its SHA-256), `headers`, `body`, and headers by name."""
    EML = "eml"
    """One mail a file; columns as for mbox."""
    CONLL = "conll"
    """A word and its tag a line, in IOB2, sentences apart by empty lines. Columns: `text`, the words of a sentence with
    blanks between, and `entities`, the tagged spans of it as `core.labels` has them."""


class ColumnType(enum.Enum):
    """What the values of a column are. A value of another type is read as missing, and the row says so."""

    TEXT = "text"
    INTEGER = "integer"
    """64 bits, signed."""
    NUMBER = "number"
    """64-bit floating point, finite."""
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    """ISO 8601 in JSON, CSV and headers, to the microsecond; UTC where it names no zone."""


class Content(enum.Enum):
    """How the text columns of a row become a text."""

    MAIL = "mail"
    """Two columns, headers and body, as in RFC 822: decoded, HTML stripped, people read from the headers."""
    PLAIN = "plain"
    """The text columns joined by a newline, as they are."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that every file of a source has; others are not read."""

    name: str
    """In Unicode NFKC, 1 to 200 printable characters."""
    type: ColumnType = ColumnType.TEXT
    header: str | None = None
    """Of mbox and EML: the mail header whose value it is, e.g. `Message-ID`."""

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not 1 <= len(name) <= 200 or not name.isprintable():
            raise ValueError(f"column {name!r}: a name of 1 to 200 printable characters")
        if unicodedata.normalize("NFKC", name) != name or name in DERIVED:
            raise ValueError(f"column {name!r}: a name in Unicode NFKC, none of {DERIVED}")
        if self.header is not None and not re.fullmatch(r"[!-9;-~]{1,200}", self.header):
            raise ValueError(f"column {name!r}: header {self.header!r} is no name of a mail header")


@dataclass(frozen=True, kw_only=True, slots=True)
class CsvDialect:
    """How CSV files are written: quotes in a quoted field doubled, empty fields missing unless they are text."""

    delimiter: str = ","
    quote: str = '"'

    def __post_init__(self) -> None:
        for name, mark in (("delimiter", self.delimiter), ("quote", self.quote)):
            if len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in "\r\n\0 ":
                raise ValueError(f"{name}={mark!r}: one ASCII mark, no letter, digit, blank or line end")
        if self.delimiter == self.quote:
            raise ValueError(f"delimiter={self.delimiter!r}: it must differ from the quote")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadLimits:
    """What a landing file may cost its reader; beyond it the file is hostile. Limits are in no run key."""

    max_file_bytes: int = 256 * 1024**2
    """Size as it lies there, in bytes."""
    max_decoded_bytes: int = 1024**3
    """Decompressed size, in bytes; of Parquet also that of the wanted columns in memory."""
    max_ratio: int = 200
    """Decompressed over compressed size; JSON of mail reaches about 4, a bomb thousands. 1 MiB is always allowed."""
    max_line_bytes: int = 8 * 1024**2
    """Size of one row, in bytes: a line, a CSV record, a mail; of Parquet that of one value."""
    max_rows: int = 1_000_000
    max_columns: int = 10_000
    """Columns of a file, wanted or not."""
    max_memory_bytes: int = 2 * 1024**3
    """What the process that parses the file may take beside the libraries that it starts with, in bytes."""
    max_cpu_seconds: int = 300
    """Processor time of that process."""
    max_seconds: int = 900
    """Time on the clock for which that process is waited for: neither its reader's nor the landing zone's."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}={value!r}: a whole number, at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSpec:
    """A folder with a folder a day, what the files there are, and the meaning of their columns."""

    folder: str
    """Folder below the landing zone that holds one `<partition_key>=YYYY-MM-DD` folder a day."""
    content: Content
    columns: tuple[Column, ...]
    label_column: str
    """Text or integer."""
    text_columns: tuple[str, ...]
    """The columns that `content` reads, in its order: (headers, body) of a mail."""
    id_column: str = ROW_SHA256
    """Text or integer; text is compared in Unicode NFKC. Rows without an id are told apart by what they hold."""
    format: Format = Format.JSON_LINES
    partition_key: str = "dt"
    partition_columns: tuple[str, ...] = ()
    """Columns that the folders below a day's give, outermost first: `dt=2024-05-01/label=spam/1.eml`."""
    csv: CsvDialect = field(default_factory=CsvDialect)
    limits: ReadLimits = field(default_factory=ReadLimits)

    def __post_init__(self) -> None:
        for name in (self.folder, self.partition_key, *self.partition_columns):
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
                raise ValueError(f"folder or partition {name!r}: use 1 to 64 letters, digits, '_' and '-'")
        names = self.column_names
        if not names or len(set(names)) != len(names):
            raise ValueError(f"columns={names}: name at least one, each once")
        needed = {*self._named, *self.text_columns, *self.partition_columns}
        missing = sorted(needed.difference(names))
        if missing:
            raise ValueError(f"columns {missing} are used but not among columns={names}: add them")
        self._check_types()
        self._check_mail()
        self._check_conll()

    def _check_types(self) -> None:
        expected = 2 if self.content is Content.MAIL else 1
        if len(self.text_columns) < expected or (self.content is Content.MAIL and len(self.text_columns) > expected):
            raise ValueError(f"text_columns={self.text_columns}: mail needs (headers, body), plain at least one")
        types = {column.name: column.type for column in self.columns}
        if any(types[name] is not ColumnType.TEXT for name in self.text_columns):
            raise ValueError(f"text_columns={self.text_columns}: each must be of type text")
        words = (ColumnType.TEXT, ColumnType.INTEGER)
        if any(types[name] not in words for name in self._named):
            raise ValueError(f"id and label {self._named} must be of type text or integer")

    def _check_mail(self) -> None:
        is_mail = self.format in (Format.MBOX, Format.EML)
        for column in self.columns:
            if column.header is not None and (not is_mail or column.name in self.partition_columns):
                raise ValueError(f"column {column.name!r}: only columns of mbox and EML files come from a header")
            known = column.header is not None or column.name in (*MAIL_COLUMNS, *self.partition_columns)
            if is_mail and not known:
                raise ValueError(f"column {column.name!r}: mails have {MAIL_COLUMNS}; name the header it comes from")

    def _check_conll(self) -> None:
        if self.format is not Format.CONLL:
            return
        for column in self.columns:
            of_file = column.name not in self.partition_columns
            if of_file and (column.name not in CONLL_COLUMNS or column.type is not ColumnType.TEXT):
                raise ValueError(f"column {column.name!r}: CoNLL files have {CONLL_COLUMNS}, of type text")

    @property
    def has_spans(self) -> bool:
        """Whether a row's label is labelled spans of its text."""
        return self.format is Format.CONLL and (self.label_column, *self.text_columns) == ("entities", "text")

    @property
    def has_ids(self) -> bool:
        """Whether rows bring an id of their own."""
        return self.id_column != ROW_SHA256

    @property
    def _named(self) -> tuple[str, ...]:
        return (self.id_column, self.label_column) if self.has_ids else (self.label_column,)

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    def compression_of(self, name: str) -> str | None:
        """Return the suffix of a file's compression, `""` of a plain one; None where it is no file of this source.

        Names that begin with `.` or `_` are not: writers use them for what is not finished, and for markers.
        """
        if name.startswith((".", "_")):
            return None
        for suffix in COMPRESSIONS:
            end = f".{self.format.value}{suffix}"
            if name.endswith(end) and len(name) > len(end):
                return suffix
        return None
