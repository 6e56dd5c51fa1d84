"""The DAG files and the lock that a backup was made under, as one archive; equal files give equal bytes."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import zstandard

_LARGEST_BYTES = 64 * 1024**2
_SUFFIXES = (".py", ".json", ".yaml", ".yml", ".toml", ".sql", ".txt")


def pack_code(folder: Path, others: Iterable[Path] = ()) -> bytes:
    """Return an archive of the text files below a folder, under its name, and of other files that are there."""
    named = {
        f"{folder.name}/{path.relative_to(folder)}": path for path in folder.rglob("*") if path.suffix in _SUFFIXES
    }
    named |= {path.name: path for path in others}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, path in sorted(named.items()):
            if path.is_file() and not path.is_symlink():
                data = path.read_bytes()
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return zstandard.ZstdCompressor(level=9).compress(packed.getvalue())


def unpack_code(data: bytes) -> dict[str, bytes]:
    """Return the files of an archive that `pack_code` made, by name."""
    content = zstandard.ZstdDecompressor().decompress(data, max_output_size=_LARGEST_BYTES)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = [member for member in archive if member.isfile()]
        return {member.name: file.read() for member in members if (file := archive.extractfile(member)) is not None}
