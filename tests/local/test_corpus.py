"""The corpus is taken as pinned or not at all, and a mail's day is its day of arrival."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from operators.core.errors import SourceChanged
from operators.local.corpus import arrival_day, lay_out

TOP = "Received: from a by b; Thu, 26 Sep 2002 23:30:00 -0400\nReceived: from c by d; Tue, 24 Sep 2002 10:00:00 +0000"


@pytest.mark.parametrize(
    ("headers", "day"),
    [
        (f"From x@y  Mon Jun 24 17:54:21 2002\n{TOP}\nDate: Fri, 1 Jan 1999 00:00:00 +0000", "2002-09-27"),
        ("Received: from a by b\n\tid 7; Thu, 26 Sep 2002 12:00:00 +0000", "2002-09-26"),
        ("From x@y  Mon Jun 24 17:54:21 2002\nDate: Fri, 1 Jan 1999 00:00:00 +0000", "2002-06-24"),
        ("Date: Fri, 1 Jan 1999 00:00:00 +0000", "1999-01-01"),
    ],
)
def test_the_day_of_arrival(headers: str, day: str) -> None:
    """The top Received header in UTC, else the mbox line, else Date."""
    assert arrival_day(headers) == datetime.date.fromisoformat(day)


def test_a_mail_without_any_date_has_no_day() -> None:
    """Nothing is guessed."""
    assert arrival_day("Subject: x") is None


def test_another_tarball_is_refused_and_nothing_is_laid_out(tmp_path: Path) -> None:
    """A tarball of any other digest is an error that names both, and leaves no landing zone."""
    tarball = tmp_path / "mails.tgz"
    tarball.write_bytes(b"not the corpus")

    with pytest.raises(SourceChanged, match="pinned is 8d159827"):
        lay_out(tarball, tmp_path / "landing")
    assert not (tmp_path / "landing" / "mail").exists()
