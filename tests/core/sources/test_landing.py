"""Landing files are read whole within limits, or refused with file and line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from operators.core.errors import DataError, HostileInput, SourceChanged
from operators.core.sources.landing import decode_rows, landing_folder, read_bytes
from operators.core.sources.spec import ReadLimits
from tests.core.mails import SOURCE, mail, pack

NAME = "mail/dt=2002-09-26/mails.jsonl.zst"


def _zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def test_rows_come_back_as_they_were_written() -> None:
    """Every row of a sound file is returned, in order, also from several frames."""
    rows = [mail(n, body="x" * 5000 + str(n)) for n in range(50)]

    assert decode_rows(pack(rows[:20]) + pack(rows[20:]), NAME, SOURCE) == rows


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_off_is_refused_by_name(share: float) -> None:
    """A file that lost its end gives no row at all, and an error that names it."""
    data = pack([mail(n) for n in range(50)])

    with pytest.raises(DataError, match=rf"{NAME}: cut off"):
        decode_rows(data[: int(len(data) * share)], NAME, SOURCE)


def test_a_flipped_byte_is_refused() -> None:
    """The frame's checksum catches a byte that changed."""
    data = bytearray(pack([mail(n) for n in range(50)]))
    data[len(data) // 2] ^= 1

    with pytest.raises(DataError, match=NAME):
        decode_rows(bytes(data), NAME, SOURCE)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": "\xff"}', "line 2: not UTF-8"),
        (b'{"id": ', "line 2: not JSON"),
        (b"[1, 2]", "line 2: a JSON list"),
        (b"[" * 100_000, "line 2: JSON nested too deeply"),
        (b'{"n": ' + b"9" * 10_000 + b"}", "line 2: not JSON"),
    ],
)
def test_a_broken_line_is_named_and_not_quoted(line: bytes, words: str) -> None:
    """A line that is no JSON object in UTF-8 is refused with its number and none of its content."""
    with pytest.raises(DataError, match=words) as caught:
        decode_rows(_zst(json.dumps(mail(1)).encode() + b"\n" + line + b"\n"), NAME, SOURCE)

    assert "99" not in str(caught.value)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    """A small file that grows without measure is hostile."""
    with pytest.raises(HostileInput, match="decompress to more than"):
        decode_rows(_zst(b" " * 300_000_000), NAME, SOURCE)


def test_limits_on_lines_and_rows_hold() -> None:
    """A line or a row too many is hostile."""
    with pytest.raises(HostileInput, match="longer than"):
        decode_rows(pack([mail(1)]), NAME, replace(SOURCE, limits=ReadLimits(max_line_bytes=50)))
    with pytest.raises(HostileInput, match="more than 2 rows"):
        decode_rows(pack([mail(n) for n in range(3)]), NAME, replace(SOURCE, limits=ReadLimits(max_rows=2)))


def test_a_file_that_changed_or_went_is_refused(tmp_path: Path) -> None:
    """What was listed with another digest, or is gone, is a changed source."""
    path = tmp_path / "a.zst"
    with pytest.raises(SourceChanged, match="gone"):
        read_bytes(path, NAME, SOURCE.limits)
    path.write_bytes(b"other")
    with pytest.raises(SourceChanged, match="not what was listed"):
        read_bytes(path, NAME, SOURCE.limits, sha256="0" * 64)


def test_a_landing_zone_is_a_local_folder() -> None:
    """Only file:/// URLs name a landing zone, and escapes in them are read."""
    assert landing_folder("file:///var/my%20zone") == Path("/var/my zone")
    with pytest.raises(ValueError, match="file:///folder"):
        landing_folder("s3://bucket/mail")
