"""Mail files: mbox (RFC 4155) and EML, a row a mail."""

from __future__ import annotations

import contextlib
import email.parser
import email.policy
import hashlib
import re
from collections.abc import Iterator
from typing import BinaryIO

import pyarrow as pa

from operators.core.errors import DataError, HostileInput
from operators.core.sources.columns import WRITTEN, Batches
from operators.core.sources.job import ParseJob
from operators.core.sources.mail import FALLBACK_CHARSET, decoded_header

_HEADERS = email.parser.BytesHeaderParser(policy=email.policy.compat32)
_QUOTED = re.compile(rb">+From ")
_EMPTY = (b"\n", b"\r\n")


def parse_mbox(plain: BinaryIO, job: ParseJob) -> Iterator[pa.RecordBatch | set[str]]:
    """Yield batches of the mails of a mailbox.

    Raises:
        DataError: It does not begin with a `From ` line.
        HostileInput: A mail is too large.
    """
    batches = Batches(job, WRITTEN)
    for raw in _split(plain, job.limits.max_line_bytes):
        if batches.add(_row(raw, job), len(raw)):
            yield batches.take()
    yield from batches.rest()
    yield set()


def parse_eml(plain: BinaryIO, job: ParseJob) -> Iterator[pa.RecordBatch | set[str]]:
    """Yield one batch of one mail.

    Raises:
        DataError: The file is empty.
        HostileInput: The mail is too large.
    """
    limit = job.limits.max_line_bytes
    raw = plain.read(limit + 1)
    if not raw:
        raise DataError("an empty file, a mail is expected")
    if len(raw) > limit:
        raise HostileInput(f"a mail of more than {limit} bytes")
    batches = Batches(job, WRITTEN)
    batches.add(_row(raw, job), len(raw))
    yield from batches.rest()
    yield set()


def _split(plain: BinaryIO, limit: int) -> Iterator[bytes]:
    """Yield the mails of a mailbox without their `From ` lines, quoted ones as they were before.

    Only after an empty line does `From ` begin a mail: many writers quote nothing else, some not even that.
    """
    lines: list[bytes] = []
    size = number = 0
    was_empty, has_begun = True, False
    while line := plain.readline(limit + 1):
        number += 1
        if was_empty and line.startswith(b"From "):
            if has_begun:
                yield b"".join(_without_separator(lines))
            lines, size, was_empty, has_begun = [], 0, False, True
            continue
        if not has_begun:
            raise DataError("no mailbox: it does not begin with a `From ` line")
        size += len(line)
        if size > limit:
            raise HostileInput(f"line {number}: a mail of more than {limit} bytes")
        lines.append(line[1:] if _QUOTED.match(line) else line)
        was_empty = line in _EMPTY
    if not has_begun:
        raise DataError("an empty file, mails are expected")
    yield b"".join(_without_separator(lines))


def _without_separator(lines: list[bytes]) -> list[bytes]:
    return lines[:-1] if lines and lines[-1] in _EMPTY else lines


def _row(raw: bytes, job: ParseJob) -> dict[str, str | None]:
    parts = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)
    head, body = parts[0], parts[1] if len(parts) > 1 else b""
    message = _HEADERS.parsebytes(head)
    charset = ""
    # Parameters that contradict each other are raised for in many ways, and must not cost the mailbox.
    with contextlib.suppress(Exception):
        charset = str(message.get_content_charset() or "")
    row: dict[str, str | None] = {
        "id": hashlib.sha256(raw).hexdigest(),
        # As they stand, not as they say: a mail of several parts names a charset for each.
        "headers": _decode(head, charset),
        "body": _decode(body, charset),
    }
    for column in job.columns:
        if column.header is not None:
            value = message.get(column.header)
            row[column.name] = None if value is None else " ".join(decoded_header(str(value)).split())
    return row


def _decode(data: bytes, charset: str) -> str:
    """Return text as UTF-8 if it is that, else by what the mail names, else by what mailers meant that name nothing."""
    for name in ("utf-8", charset):
        with contextlib.suppress(LookupError, ValueError):
            return data.decode(name)
    return data.decode(FALLBACK_CHARSET, errors="replace")
