"""A landing zone is listed and read within limits; what changes, goes, or leads elsewhere is refused by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from operators.core.errors import DataError, HostileInput, SourceChanged, SourceUnavailable
from operators.core.settings import LandingSettings
from operators.core.sources.landing import LandingZone, Listed
from tests.core.mails import at

SECRET = "a-secret-of-the-landing-zone"
CONTENT = b"content"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def zone(tmp_path: Path) -> LandingZone:
    """A local landing zone with `mail/a` in it."""
    (tmp_path / "zone" / "mail").mkdir(parents=True)
    (tmp_path / "zone" / "mail" / "a").write_bytes(CONTENT)
    return LandingZone(at(tmp_path / "zone"))


def _while_reading(zone: LandingZone, action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something happen to a file after its first piece was read."""
    real = zone._files.cat_file

    def cat_file(*args: Any, **named: Any) -> Any:
        piece = real(*args, **named)
        action()
        return piece

    monkeypatch.setattr(zone._files, "cat_file", cat_file)


def test_what_lies_in_a_folder_is_listed_by_name(zone: LandingZone, tmp_path: Path) -> None:
    """Files and folders, in order; nothing of a folder that is not there."""
    (tmp_path / "zone" / "mail" / "Z").mkdir()

    assert zone.list("mail") == [Listed(name="Z", is_folder=True), Listed(name="a", is_folder=False)]
    assert zone.list("mail/none") == []


def test_a_file_is_read_as_it_was_listed(zone: LandingZone) -> None:
    """Digest and size are those of the content, and the content comes back."""
    assert zone.digest("mail/a", 100) == (DIGEST, len(CONTENT))
    assert b"".join(zone.open("mail/a", 100, DIGEST).pieces) == CONTENT


def test_a_large_file_is_read_in_pieces(zone: LandingZone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seams between pieces are not seen."""
    monkeypatch.setattr("operators.core.sources.landing.PIECE_BYTES", 3)

    assert zone.digest("mail/a", 100) == (DIGEST, len(CONTENT))
    assert b"".join(zone.open("mail/a", 100, DIGEST).pieces) == CONTENT


def test_a_file_that_is_too_large_is_refused_unread(zone: LandingZone) -> None:
    """One byte more than the limit is hostile."""
    for read in (lambda: zone.digest("mail/a", 6), lambda: b"".join(zone.open("mail/a", 6, DIGEST).pieces)):
        with pytest.raises(HostileInput, match="mail/a: larger than 6 bytes"):
            read()


def test_a_file_that_changed_or_went_is_refused(zone: LandingZone, tmp_path: Path) -> None:
    """What was listed with another digest, or is gone, is a changed source."""
    with pytest.raises(SourceChanged, match="mail/a: its content is not what was listed"):
        b"".join(zone.open("mail/a", 100, "0" * 64).pieces)
    (tmp_path / "zone" / "mail" / "a").unlink()
    with pytest.raises(SourceChanged, match="mail/a: listed, but gone"):
        zone.digest("mail/a", 100)


@pytest.mark.parametrize("write", [b"longer than it was", b"changed", b"short"])
def test_a_file_that_changes_while_it_is_listed_is_refused(
    zone: LandingZone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: bytes
) -> None:
    """Longer, shorter, or as long as before: nobody knows which bytes were read."""
    path = tmp_path / "zone" / "mail" / "a"
    _while_reading(zone, lambda: (path.write_bytes(write), os.utime(path, ns=(1, 1))), monkeypatch)

    with pytest.raises(SourceChanged, match="mail/a: written to while"):
        zone.digest("mail/a", 100)


def test_a_file_cut_while_it_is_read_is_refused(
    zone: LandingZone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece that is shorter than the file said it was is no piece."""
    monkeypatch.setattr("operators.core.sources.landing.PIECE_BYTES", 3)
    _while_reading(zone, lambda: (tmp_path / "zone" / "mail" / "a").write_bytes(b"cont"), monkeypatch)

    with pytest.raises(SourceChanged, match="mail/a: became shorter"):
        b"".join(zone.open("mail/a", 100, DIGEST).pieces)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "mail/../../outside"])
def test_no_path_leads_out(zone: LandingZone, path: str) -> None:
    """A listing with such a path in it was not made here."""
    with pytest.raises(DataError, match="leads out of the landing zone"):
        b"".join(zone.open(path, 100, DIGEST).pieces)


def test_no_link_leads_out_and_no_pipe_is_waited_for(zone: LandingZone, tmp_path: Path) -> None:
    """A link inside is followed; one to the outside, a folder or a pipe is refused at once."""
    folder = tmp_path / "zone" / "mail"
    (tmp_path / "outside").write_bytes(CONTENT)
    (folder / "inside").symlink_to("a")
    (folder / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(folder / "pipe")

    assert zone.digest("mail/inside", 100)[0] == DIGEST
    with pytest.raises(DataError, match="mail/link: a link that leads out"):
        zone.digest("mail/link", 100)
    with pytest.raises(DataError, match="mail/pipe: no regular file"):
        zone.digest("mail/pipe", 100)


def test_any_fsspec_url_is_a_landing_zone() -> None:
    """What fsspec can list and read is a landing zone, here one in memory."""
    fsspec.filesystem("memory").pipe("/zone/mail/a", CONTENT)
    zone = LandingZone(LandingSettings(url="memory://zone"))

    assert zone.list("mail") == [Listed(name="a", is_folder=False)]
    assert b"".join(zone.open("mail/a", 100, zone.digest("mail/a", 100)[0]).pieces) == CONTENT


def test_escapes_of_a_file_url_are_read(tmp_path: Path) -> None:
    """A blank in a folder's name is `%20` in its URL."""
    (tmp_path / "my zone" / "mail").mkdir(parents=True)

    assert [e.name for e in LandingZone(LandingSettings(url=f"file://{tmp_path}/my%20zone")).list("")] == ["mail"]


@pytest.mark.parametrize(
    "url",
    [
        *("", "/var/zone", "file://host/zone", "s3://B", "simplecache::s3://bucket", "file:zone"),
        *(f"s3://key:{SECRET}@bucket", f"https://x.example/?signature={SECRET}"),
    ],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused(url: str) -> None:
    """The message says what to write, and repeats nothing: the mistake may be a secret in the wrong place."""
    with pytest.raises(ValueError, match="landing zone: ") as caught:
        LandingSettings(url=url)
    assert SECRET not in str(caught.value)


def test_no_secret_is_shown(zone: LandingZone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by the settings nor by an error whose own words hold the address or a key."""
    settings = LandingSettings(url="s3://bucket", secret_key=SECRET, options={"token": SECRET})

    def fail(*args: Any, **named: Any) -> Any:
        raise RuntimeError(f"https://key:{SECRET}@bucket")

    monkeypatch.setattr(zone._files, "info", fail)
    with pytest.raises(SourceUnavailable, match=r"does not answer \(RuntimeError\)") as caught:
        zone.digest("mail/a", 100)

    assert SECRET not in repr(settings)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__
