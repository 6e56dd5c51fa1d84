"""What a process is told that parses one file, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from operators.core.manifest import spec_json
from operators.core.sources.spec import Column, ColumnType, CsvDialect, Format, ReadLimits, SourceSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class ParseJob:
    """One file to parse. Nothing in it is secret, and nothing says where the file lies."""

    format: Format
    compression: str
    """One of `COMPRESSIONS`."""
    columns: tuple[Column, ...]
    id_column: str
    csv: CsvDialect
    limits: ReadLimits
    constants: Mapping[str, str]
    """Values of the columns that the file's folders give, by name."""

    @classmethod
    def of(cls, path: str, spec: SourceSpec) -> ParseJob:
        """Return the job of a file.

        Args:
            path: Where it lies, below the landing zone.
            spec: What the source looks like.

        Raises:
            ValueError: Its name, or a folder that it lies in, is not one of this source.
        """
        *folders, name = path.split("/")
        compression = spec.compression_of(name)
        if compression is None:
            raise ValueError(f"{path!r} is no {spec.format.value} file of the source {spec.folder!r}")
        constants = {}
        if spec.partition_columns:
            found = [folder.split("=", 1) for folder in folders[-len(spec.partition_columns) :]]
            if [pair[0] for pair in found if len(pair) == 2] != list(spec.partition_columns):
                raise ValueError(f"{path!r} does not lie in folders {spec.partition_columns}=...")
            constants = {key: unquote(value) for key, value in found}
        return cls(
            format=spec.format,
            compression=compression,
            columns=spec.columns,
            id_column=spec.id_column,
            csv=spec.csv,
            limits=spec.limits,
            constants=constants,
        )

    def to_json(self) -> bytes:
        """Return the job as one document."""
        return json.dumps(spec_json(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> ParseJob:
        """Read back what `to_json` wrote."""
        document = json.loads(text)
        columns = tuple(Column(item["name"], ColumnType(item["type"]), item["header"]) for item in document["columns"])
        return cls(
            format=Format(document["format"]),
            compression=document["compression"],
            columns=columns,
            id_column=document["id_column"],
            csv=CsvDialect(**document["csv"]),
            limits=ReadLimits(**document["limits"]),
            constants=document["constants"],
        )
