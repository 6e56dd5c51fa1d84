"""What a recipe's source looks like, and the limits within which it is read."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field


class Content(enum.Enum):
    """How the text columns of a row become a text."""

    MAIL = "mail"
    """Two columns, headers and body, as in RFC 822: decoded, HTML stripped, people read from the headers."""
    PLAIN = "plain"
    """The text columns joined by a newline, as they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadLimits:
    """What a landing file may cost its reader; beyond it the file is hostile."""

    max_file_bytes: int = 256 * 1024**2
    """Compressed size, in bytes."""
    max_decoded_bytes: int = 1024**3
    """Decompressed size, in bytes."""
    max_ratio: int = 200
    """Decompressed over compressed size; JSON of mail reaches about 4, a bomb thousands."""
    max_line_bytes: int = 8 * 1024**2
    """Size of one row's JSON, in bytes."""
    max_rows: int = 1_000_000

    def __post_init__(self) -> None:
        for name in ("max_file_bytes", "max_decoded_bytes", "max_ratio", "max_line_bytes", "max_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceSpec:
    """A folder of zstd-compressed JSON lines per day, and the meaning of its columns."""

    folder: str
    """Folder below the landing zone that holds one `<partition_key>=YYYY-MM-DD` folder a day."""
    content: Content
    columns: tuple[str, ...]
    """Columns every file must have; each holds text."""
    id_column: str
    label_column: str
    text_columns: tuple[str, ...]
    """The columns that `content` reads, in its order: (headers, body) of a mail."""
    partition_key: str = "dt"
    limits: ReadLimits = field(default_factory=ReadLimits)

    def __post_init__(self) -> None:
        for name in (self.folder, self.partition_key):
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
                raise ValueError(f"folder or partition key {name!r}: use 1 to 64 letters, digits, '_' and '-'")
        if not self.columns or len(set(self.columns)) != len(self.columns):
            raise ValueError(f"columns={self.columns}: name at least one, each once")
        needed = (self.id_column, self.label_column, *self.text_columns)
        missing = [name for name in needed if name not in self.columns]
        if missing:
            raise ValueError(f"columns {missing} are used but not among columns={self.columns}: add them")
        expected = 2 if self.content is Content.MAIL else 1
        if len(self.text_columns) < expected or (self.content is Content.MAIL and len(self.text_columns) > expected):
            raise ValueError(f"text_columns={self.text_columns}: mail needs (headers, body), plain at least one")
