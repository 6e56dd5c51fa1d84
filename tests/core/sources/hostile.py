"""Files that are built to harm, small as they lie there; and the corpus of them that a landing zone is filled with."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import zstandard

from tests.core.sources.files import ROWS, csv_file, json_lines, parquet_file, zipped

ZEROS = bytes(100_000_000)


def growth() -> Callable[[], int]:
    """Return what tells the bytes that this process has grown by at most since now."""

    def most() -> int:
        return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

    Path("/proc/self/clear_refs").write_text("5")  # the highest memory is the present one
    before = most()
    return lambda: most() - before


def zst(data: bytes) -> bytes:
    """Compress with a checksum."""
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def gzip_bomb() -> bytes:
    """Return 100 MB in 100 kB."""
    return gzip.compress(ZEROS)


def zip_with_a_lie() -> bytes:
    """Return a zip whose directory declares one byte of many."""
    data = bytearray(zipped(ZEROS))
    size = struct.pack("<I", len(ZEROS))
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = struct.pack("<I", 1)
    return bytes(data)


def zip_of(*names: str, flags: int = 0) -> bytes:
    """Return a zip with a small file of each name, as they are, and with flags of its first entry set."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, "{}")
    data = bytearray(target.getvalue())
    if flags:
        data[data.index(b"PK\x01\x02") + 8] |= flags
        data[6] |= flags
    return bytes(data)


def forged(change: Callable[[bytearray], None]) -> bytes:
    """Return a sound Parquet file with a change."""
    data = bytearray(parquet_file(ROWS))
    change(data)
    return bytes(data)


def footer_size(size: int) -> Callable[[bytearray], None]:
    """Return what has a Parquet file declare a footer of that size."""

    def change(data: bytearray) -> None:
        data[-8:-4] = struct.pack("<I", size)

    return change


def _unfolding() -> bytes:
    """Return Parquet whose dictionary holds one long text, and whose rows name it 200,000 times."""
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array(["x" * 100_000]))
    return parquet_file(pa.table({"id": ["1"] * 200_000, "label": label, "text": ["x"] * 200_000}))


_LINE = json_lines(ROWS[:1])

CORPUS: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "zstd_bomb.jsonl.zst": (lambda: zst(ZEROS), "decompress to more than|longer than"),
    "gzip_bomb.jsonl.gz": (gzip_bomb, "decompress to more than|longer than"),
    "bzip2_bomb.jsonl.bz2": (lambda: bz2.compress(ZEROS), "decompress to more than|longer than"),
    "xz_bomb.jsonl.xz": (lambda: lzma.compress(ZEROS, preset=0), "decompress to more than|longer than"),
    "zip_bomb.jsonl.zip": (lambda: zipped(ZEROS), "decompress to more than|longer than"),
    "zip_that_lies.csv.zip": (zip_with_a_lie, "not a sound|cut off|no header"),
    "zip_in_a_zip.jsonl.zip": (lambda: zipped(zipped(b"{}")), "not UTF-8|not JSON"),
    "zip_that_climbs.jsonl.zip": (lambda: zip_of("../a"), "the name in the zip leads elsewhere"),
    "zip_from_the_root.csv.zip": (lambda: zip_of("/etc/passwd"), "the name in the zip leads elsewhere"),
    "zip_of_many.jsonl.zip": (lambda: zip_of("a", "b"), "a zip of 2 entries"),
    "zip_encrypted.jsonl.zip": (lambda: zip_of("a", flags=1), "an encrypted zip"),
    "nested_lists.jsonl": (lambda: _LINE + b"[" * 100_000 + b"\n", "line 2: JSON nested too deeply"),
    "nested_objects.jsonl": (lambda: _LINE + b'{"a": ' * 100_000 + b"\n", "line 2: JSON nested too deeply"),
    "endless_number.jsonl": (lambda: _LINE + b'{"n": ' + b"9" * 10_000 + b"}\n", "line 2: not JSON"),
    "twice_the_key.jsonl": (lambda: b'{"id": "1", "id": "2"}\n', "line 1: an object names a key twice"),
    "many_keys.jsonl": (lambda: json.dumps({str(n): 1 for n in range(10_001)}).encode() + b"\n", "10001 keys"),
    "endless_line.jsonl": (lambda: b'{"id": "' + b"x" * 9_000_000 + b'"}\n', "longer than"),
    "million_columns.csv": (lambda: b",".join(b"c%d" % n for n in range(1_000_000)), "1000000 columns"),
    "two_encodings.csv": (
        lambda: "id,label\n1,gr\u00fcn\n".encode() + "1,gr\u00fcn\n".encode("cp1252"),
        "not UTF-8",
    ),
    "ragged.csv": (lambda: b"id,label\n1,a\n1,2,3\n", "line 3: 3 fields under a header of 2"),
    "look_alike_columns.csv": (lambda: "id,label,te\ufb01t,tefit\n".encode(), "the header names a column twice"),
    "forged_footer.parquet": (lambda: forged(footer_size(10**6)), "a forged footer"),
    "endless_footer.parquet": (lambda: forged(footer_size(2**32 - 1)), "a forged footer"),
    "wide.parquet": (lambda: parquet_file(pa.table({f"c{n}": [1] for n in range(10_001)})), "10001 columns"),
    "unfolding.parquet": (_unfolding, "columns hold more than|needs more than"),
}
"""Each file with the words of its refusal."""
SOUND: Mapping[str, Callable[[], bytes]] = {
    "sound.jsonl": lambda: json_lines(ROWS),
    "sound.csv": lambda: csv_file([{**row, "text": f"=cmd|' /C calc'!A{n}"} for n, row in enumerate(ROWS)]),
    "sound.parquet": lambda: parquet_file(ROWS),
}
"""What lies beside them; to a spreadsheet the CSV's texts are formulas, here they are texts."""
