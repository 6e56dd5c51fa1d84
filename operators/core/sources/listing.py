"""Listings and selections: which files a run reads, and which of their rows go on. Neither holds a value of a row."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operators.core.errors import DataError
from operators.core.manifest import canonical, check_digest, spec_json
from operators.core.sources.spec import SourceSpec

LISTING_NAME = "listing.json"
SELECTION_NAME = "selection.json"
MAX_PATH_CHARACTERS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """One landing file as it was when it was listed."""

    day: datetime.date
    path: str
    """Below the landing zone, with `/`: the same on every machine."""
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        check_digest(self.sha256)
        if self.path.startswith("/") or ".." in self.path.split("/"):
            raise DataError(f"source path {self.path!r} leads out of the landing zone")
        if not self.path.isprintable() or len(self.path) > MAX_PATH_CHARACTERS:
            raise DataError(f"source path {self.path[:200]!r}: at most {MAX_PATH_CHARACTERS} characters, all printable")


def source_key(spec: SourceSpec) -> dict[str, Any]:
    """Return what of a source belongs to run keys: all but its limits, which change no row of a file that passes."""
    return {name: value for name, value in spec_json(spec).items() if name != "limits"}


def encode_listing(files: tuple[SourceFile, ...]) -> bytes:
    """Return the bytes of a listing, the same for equal listings."""
    return canonical([{"day": f.day.isoformat(), "path": f.path, "sha256": f.sha256, "bytes": f.bytes} for f in files])


def decode_listing(data: bytes) -> tuple[SourceFile, ...]:
    """Read back what `encode_listing` wrote.

    Raises:
        DataError: The bytes are no listing.
    """
    try:
        return tuple(
            SourceFile(
                day=datetime.date.fromisoformat(item["day"]),
                path=item["path"],
                sha256=item["sha256"],
                bytes=item["bytes"],
            )
            for item in json.loads(data)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"not a listing of source files: {type(error).__name__}") from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which rows of a file go on, and why the others do not."""

    rows: int
    """Rows in the file."""
    quarantined: Mapping[int, str]
    """Reason by row number, from 0."""

    @property
    def counts(self) -> dict[str, int]:
        """How many rows each reason holds back, by reason."""
        reasons = list(self.quarantined.values())
        return {reason: reasons.count(reason) for reason in sorted(set(reasons))}

    def encode(self) -> bytes:
        """Return the bytes of the selection, the same for equal selections."""
        return canonical({"rows": self.rows, "quarantined": {str(row): why for row, why in self.quarantined.items()}})

    @classmethod
    def decode(cls, data: bytes) -> Selection:
        """Read back what `encode` wrote.

        Raises:
            DataError: The bytes are no selection.
        """
        try:
            document = json.loads(data)
            quarantined = {int(row): str(why) for row, why in document["quarantined"].items()}
            return cls(rows=int(document["rows"]), quarantined=quarantined)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"not a selection of rows: {type(error).__name__}") from None
