"""Files that are cut off, damaged or built to harm are refused with the reason, in bounded memory, and none hangs."""

from __future__ import annotations

import bz2
import io
import json
import lzma
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import DataError, HostileInput
from operators.core.sources.reader import read_rows
from operators.core.sources.spec import Format, ReadLimits, SourceSpec
from tests.core.mails import SOURCE, mail, pack
from tests.core.sources.files import MAIL_SPEC, PACK, ROWS, SPEC, csv_file, json_lines, parquet_file, zipped
from tests.core.sources.hostile import ZEROS, footer_size, forged, growth, gzip_bomb, zip_of, zip_with_a_lie, zst

NAME = "mail/dt=2002-09-26/mails.jsonl.zst"
SECRET = "planted-value"


def _read(data: bytes, ending: str = "jsonl.zst", spec: SourceSpec = SPEC, **limits: int) -> list[dict[str, Any]]:
    form = Format(ending.split(".")[0])
    spec = replace(spec, format=form, limits=ReadLimits(**limits))
    return read_rows(data, f"notes/dt=x/a.{ending}", spec).rows


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".zst", ".gz", ".bz2", ".xz"])
def test_a_file_cut_off_is_refused_by_name(suffix: str, share: float) -> None:
    """A file that lost its end gives no row at all, and an error that names it."""
    data = PACK[suffix](json_lines([mail(n) for n in range(50)]))

    with pytest.raises(DataError, match=rf"^notes/dt=x/a.jsonl{suffix}: cut off"):
        _read(data[: int(len(data) * share)], f"jsonl{suffix}", SOURCE)


@pytest.mark.parametrize("ending", ["jsonl.zip", "parquet"])
def test_a_file_without_its_end_is_refused(ending: str) -> None:
    """Formats that keep their table of contents at the end say so in their way."""
    data = zipped(json_lines(ROWS)) if ending == "jsonl.zip" else parquet_file(ROWS)

    with pytest.raises(DataError, match="not a"):
        _read(data[:-10], ending)


@pytest.mark.parametrize("suffix", [".zst", ".gz", ".bz2", ".xz", ".zip"])
def test_a_flipped_byte_is_refused(suffix: str) -> None:
    """Every compression has a checksum, and each is looked at."""
    data = bytearray(PACK[suffix](json_lines([mail(n) for n in range(50)])))
    data[len(data) // 2] ^= 1

    with pytest.raises(DataError, match=r"a\.jsonl"):
        _read(bytes(data), f"jsonl{suffix}", SOURCE)


def test_a_flipped_byte_of_parquet_is_refused() -> None:
    """Pages carry a checksum where their writer was asked for it."""
    data = bytearray(parquet_file(ROWS, write_page_checksum=True, compression="none", use_dictionary=False))
    data[data.index(b"Gr\xc3\xbc")] ^= 1

    with pytest.raises(DataError, match="not a sound Parquet file"):
        _read(bytes(data), "parquet")


@pytest.mark.parametrize("junk", [b"junk", b"\0" * 5])
@pytest.mark.parametrize("suffix", [".zst", ".gz", ".bz2", ".xz"])
def test_what_follows_the_end_is_refused(suffix: str, junk: bytes) -> None:
    """A second file behind the first is read, anything else is damage."""
    twice = PACK[suffix](json_lines(ROWS[:1])) + PACK[suffix](json_lines(ROWS[1:]))

    assert len(_read(twice, f"jsonl{suffix}")) == len(ROWS)
    with pytest.raises(DataError, match=r"sound|cut off"):
        _read(twice + junk, f"jsonl{suffix}")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": "\xff"}', "line 2: not UTF-8"),
        (b'{"id": ', "line 2: not JSON"),
        (b"[1, 2]", "line 2: a JSON list"),
        (b'{"id": "99", "label": "a", "id": "99"}', "line 2: an object names a key twice"),
        (b"[" * 100_000, "line 2: JSON nested too deeply"),
        (b'{"a": ' * 100_000, "line 2: JSON nested too deeply"),
        (b'{"n": ' + b"9" * 10_000 + b"}", "line 2: not JSON"),
        (json.dumps({str(n): 1 for n in range(10_001)}).encode(), "line 2: 10001 keys"),
    ],
)
def test_a_broken_line_is_named_and_not_quoted(line: bytes, words: str) -> None:
    """A line that is no JSON object in UTF-8 is refused with its number and none of its content."""
    with pytest.raises(DataError, match=words) as caught:
        _read(zst(json.dumps(mail(1)).encode() + b"\n" + line + b"\n"), spec=SOURCE)

    assert "99" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no header"),
        (b"id,label,id\n1,2,3\n", "the header names a column twice"),
        ("id,label,te\ufb01t,tefit\n".encode(), "the header names a column twice"),
        (b"id,label\n1,planted-value\n1,2,planted-value\n", "line 3: 3 fields under a header of 2"),
        (b'id,label\n1,"planted-value', "line 2: unexpected end of data"),
        (b'id,label\n1,"planted-value"x\n', "line 2: ',' expected"),
        ("id,label\n1,planted-valu\u00e9\n".encode("latin-1"), "not UTF-8"),
        ("id,label\n1,planted-value\n".encode("utf-16"), "not UTF-8"),
        ("id,label\n1,gr\u00fcn\n".encode() + "1,gr\u00fcn\n".encode("cp1252"), "not UTF-8"),
        (b",".join(b"c%d" % n for n in range(1_000_000)), "1000000 columns, more than 10000"),
    ],
)
def test_a_broken_csv_is_refused_and_not_quoted(text: bytes, words: str) -> None:
    """No guess at encodings, no ragged records, no second column of a name."""
    with pytest.raises(DataError, match=words) as caught:
        _read(text, "csv")

    assert "planted" not in str(caught.value)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "mbox", "eml", "parquet"])
def test_noise_is_refused(ending: str) -> None:
    """A file of another kind under a name of this one. Any bytes are a mail: its row is for the suite to judge."""
    noise = zlib.compress(json_lines(ROWS * 100))
    spec = MAIL_SPEC if ending in ("mbox", "eml") else SPEC
    if ending == "eml":
        assert _read(noise, ending, spec)[0]["label"] is None
        return
    with pytest.raises(DataError, match=r"a\."):
        _read(noise, ending, spec)


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "jsonl.zst": (lambda: zst(ZEROS), "decompress to more than"),
    "jsonl.gz": (gzip_bomb, "decompress to more than"),
    "csv.gz": (gzip_bomb, "decompress to more than|longer than"),
    "jsonl.bz2": (lambda: bz2.compress(ZEROS), "decompress to more than"),
    "jsonl.xz": (lambda: lzma.compress(ZEROS, preset=0), "decompress to more than"),
    "jsonl.zip": (lambda: zipped(ZEROS), "decompress to more than"),
    "parquet.gz": (gzip_bomb, "decompress to more than"),
    "eml.gz": (gzip_bomb, "decompress to more than|a mail of more"),
    "csv.zip": (zip_with_a_lie, "not a sound|cut off|no header"),
}


@pytest.mark.parametrize("ending", BOMBS)
def test_a_bomb_is_refused_before_it_is_unpacked(ending: str) -> None:
    """A small file that grows without measure is hostile; this process never holds what comes out."""
    make, words = BOMBS[ending]
    data = make()
    grown = growth()
    with pytest.raises(DataError, match=words):
        _read(data, ending, MAIL_SPEC if ending.startswith("eml") else SPEC, max_line_bytes=10**9)

    assert grown() < 20_000_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (zip_of(), "a zip of 0 entries"),
        (zip_of("a", "b"), "a zip of 2 entries"),
        (zip_of("folder/"), "a zip of 1 entries"),
        (zip_of("../a"), "the name in the zip leads elsewhere"),
        (zip_of("..\\a"), "the name in the zip leads elsewhere"),
        (zip_of("/etc/passwd"), "the name in the zip leads elsewhere"),
        (zip_of("a", flags=1), "an encrypted zip"),
        (zipped(zipped(b"{}")), "not UTF-8|not JSON"),
    ],
)
def test_a_zip_is_one_file_and_no_archive(data: bytes, words: str) -> None:
    """Nothing is walked, nothing named leads anywhere, a zip in a zip is no zip."""
    with pytest.raises(DataError, match=words):
        _read(data, "jsonl.zip")


def test_a_forged_footer_is_refused() -> None:
    """A footer larger than its file, smaller than itself, or with a byte changed anywhere."""
    for size, words in ((10**6, "a forged footer"), (2**32 - 1, "a forged footer"), (7, "not a sound Parquet file")):
        with pytest.raises(DataError, match=words):
            _read(forged(footer_size(size)), "parquet")


def test_no_byte_of_a_footer_can_do_harm() -> None:
    """Each byte of it set to another: refused, or rows of the right columns; nothing crashes this process or hangs."""
    sound = parquet_file(ROWS)
    size = int.from_bytes(sound[-8:-4], "little")
    refused = 0
    for place in range(len(sound) - 8 - size, len(sound) - 8, 29):
        data = bytearray(sound)
        data[place] ^= 0xFF
        try:
            rows = _read(bytes(data), "parquet", max_cpu_seconds=5, max_memory_bytes=2**29)
        except DataError:
            refused += 1
        else:
            assert all(len(row) <= len(SPEC.columns) + 1 for row in rows)

    assert refused > 10


def test_parquet_that_declares_too_much_is_refused_unread() -> None:
    """Columns, rows, and uncompressed bytes are held against the limits by the footer alone."""
    wide = pa.table({f"c{n}": pa.array([1]) for n in range(10_001)})
    sparse = pa.table({"id": ["1"] * 50_000, "label": ["x" * 2000] * 50_000, "text": ["x"] * 50_000})
    flat = parquet_file(sparse, use_dictionary=False, compression="zstd")
    for data, words in (
        (parquet_file(wide), "10001 columns, more than 10000"),
        (parquet_file(pa.table({"id": ["1"] * 11})), "11 rows, more than 10"),
        (flat, "bytes declare [0-9]+ uncompressed"),
    ):
        limits = {"max_rows": 10} if "11 rows" in words else {}
        with pytest.raises(HostileInput, match=words):
            _read(data, "parquet", **limits)


def test_a_dictionary_that_unfolds_without_measure_is_refused() -> None:
    """One long text a million times is small in every size that the footer declares."""
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 200_000, pa.int32()), pa.array(["x" * 100_000]))
    table = pa.table({"id": pa.array(["1"] * 200_000), "label": label, "text": pa.array(["x"] * 200_000)})
    data = parquet_file(table)

    assert len(data) < 50_000
    with pytest.raises(HostileInput, match=r"columns hold more than|needs more than"):
        _read(data, "parquet", max_decoded_bytes=300 * 1024**2)


def test_two_parquet_columns_that_look_alike_are_refused() -> None:
    """Nobody knows which is meant."""
    with pytest.raises(DataError, match="names that look alike"):
        _read(parquet_file(pa.table({"id": ["1"], "\uff49d": ["2"]})), "parquet")


def test_text_that_is_not_utf8_in_parquet_is_refused() -> None:
    """Arrow takes a file's word for it; the reader does not."""
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(struct.pack("<2i", 0, 2)), pa.py_buffer(b"\xff\xfe")]
    )
    sink = io.BytesIO()
    pq.write_table(pa.table({"id": ["1"], "label": ["a"], "text": text}), sink)

    with pytest.raises(DataError, match="column 'text': a text is not UTF-8"):
        _read(sink.getvalue(), "parquet")


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_limits_on_rows_and_their_size_hold(ending: str) -> None:
    """A row too many, or one too long, is hostile in every format."""
    make: Callable[[Any], bytes] = {"jsonl": json_lines, "csv": csv_file, "parquet": parquet_file}[ending]
    with pytest.raises(HostileInput, match=r"more than 2 rows|3 rows, more than 2"):
        _read(make(ROWS), ending, max_rows=2)
    with pytest.raises(HostileInput, match=r"longer than 1000 bytes|field larger|more than 1000 bytes"):
        _read(make([{**ROWS[0], "text": "x" * 2000}]), ending, max_line_bytes=1000)


@pytest.mark.parametrize("data", [b"From a b\n" + b"x\n" * 1000, b"From a b\n" + b"x" * 2000])
def test_a_mail_that_is_too_large_is_refused(data: bytes) -> None:
    """A mailbox is read a mail at a time, and none may be larger than a row."""
    for ending in ("mbox", "eml"):
        with pytest.raises(HostileInput, match="a mail of more than 1000 bytes"):
            _read(data, ending, MAIL_SPEC, max_line_bytes=1000)


def test_rows_of_a_sound_file_come_in_order() -> None:
    """Several zstd frames are one file."""
    rows = [mail(n, body="x" * 5000 + str(n)) for n in range(50)]
    found = read_rows(pack(rows[:20]) + pack(rows[20:]), NAME, SOURCE).rows

    assert [{name: row[name] for name in rows[0]} for row in found] == rows


SOUND = {
    "jsonl": json_lines(ROWS),
    "jsonl.zst": PACK[".zst"](json_lines(ROWS)),
    "csv": csv_file(ROWS),
    "csv.gz": PACK[".gz"](csv_file(ROWS)),
    "jsonl.zip": zipped(json_lines(ROWS)),
    "parquet": parquet_file(ROWS),
    "mbox.bz2": bz2.compress(b"From a b\nX-Label: =?utf-8?b?aMOkbQ==?=\nSubject: x\n\nbody\n"),
    "eml.xz": lzma.compress(b"Subject: x\nContent-Type: text/plain; charset=utf-7\n\nbody\n"),
}


@settings(max_examples=150, deadline=None)
@given(
    ending=st.sampled_from(sorted(SOUND)),
    place=st.integers(0, 10_000),
    junk=st.binary(min_size=1, max_size=40),
    cut=st.booleans(),
)
def test_whatever_a_file_holds_it_is_rows_or_a_refusal(ending: str, place: int, junk: bytes, cut: bool) -> None:
    """Sound files with bytes put over, put in, or cut off: nothing else comes of them, and nothing breaks here."""
    data = SOUND[ending]
    place %= len(data)
    spec = MAIL_SPEC if ending.startswith(("mbox", "eml")) else SPEC
    try:
        rows = _read(data[:place] + junk + (b"" if cut else data[place + len(junk) // 2 :]), ending, spec)
    except DataError as error:
        rows, told = [], str(error)
    else:
        told = f"notes/dt=x/a.{ending}: "

    assert told.startswith(f"notes/dt=x/a.{ending}: ") and told.isprintable()
    assert all(set(row) <= {*spec.column_names, "wrong_type"} for row in rows)
