"""A landing zone in a bucket of a real S3 server."""

from __future__ import annotations

import datetime
import socket
from dataclasses import replace

import pytest

from operators.core.errors import SourceChanged, SourceUnavailable
from operators.core.progress import no_progress
from operators.core.settings import LandingSettings
from operators.core.sources import landing
from operators.core.sources.discover import discover
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import LISTING_NAME, decode_listing
from operators.core.sources.spec import Format
from operators.core.storage import Store
from operators.core.validation.validate import validate
from tests.core.mails import DAY, SOURCE, SUITE, mail
from tests.core.sources.files import PACK, csv_file
from tests.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]
CSV = replace(SOURCE, format=Format.CSV)


@pytest.fixture
def settings(seaweed: list[Seaweed]) -> LandingSettings:
    """An empty landing zone below a prefix of a bucket."""
    seaweed[0].empty()
    return LandingSettings(
        url=f"s3://{BUCKET}/landing 100%/zone",
        endpoint_url=seaweed[0].url,
        access_key=ACCESS_KEY,
        secret_key=SECRET_KEY,
    )


def _land(server: Seaweed, day: datetime.date, name: str, data: bytes) -> None:
    key = f"landing 100%/zone/mail/dt={day}/{name}"
    server.files().call_s3("put_object", Bucket=BUCKET, Key=key, Body=data)


def test_files_of_a_bucket_are_validated(seaweed: list[Seaweed], settings: LandingSettings, store: Store) -> None:
    """CSV from a bucket, compressed and plain, of two days: listed by digest, read, every row accounted for."""
    for number, suffix in enumerate(PACK):
        rows = [mail(10 * number + n) for n in range(3)]
        _land(
            seaweed[0],
            DAY - datetime.timedelta(days=number % 2),
            f"a{number}.csv{suffix}",
            PACK[suffix](csv_file(rows)),
        )
    _land(seaweed[0], DAY, "_SUCCESS", b"")
    (listing,) = discover(
        store,
        landing=settings,
        spec=CSV,
        first_day=DAY - datetime.timedelta(days=5),
        last_day=DAY,
        progress=no_progress,
        groups=1,
    )
    result = validate(store, listing=listing.digest, landing=settings, source=CSV, spec=SUITE, progress=no_progress)

    assert len(decode_listing(store.read(listing.manifest.file(LISTING_NAME)))) == len(PACK)
    assert result.manifest.facts["rows_in"] == 3 * len(PACK)
    for digest in (listing.digest, result.digest):
        assert SECRET_KEY not in str(store.manifest(digest))


def test_an_object_that_was_replaced_or_went_is_refused(seaweed: list[Seaweed], settings: LandingSettings) -> None:
    """The digest it was listed with decides, in a bucket as in a folder."""
    zone = LandingZone(settings)
    _land(seaweed[0], DAY, "a.csv", b"one")
    path = f"mail/dt={DAY}/a.csv"
    sha256, size = zone.digest(path, 100)
    _land(seaweed[0], DAY, "a.csv", b"two")

    assert size == 3
    with pytest.raises(SourceChanged, match="not what was listed"):
        b"".join(zone.open(path, 100, sha256).pieces)
    seaweed[0].empty()
    with pytest.raises(SourceChanged, match="gone"):
        b"".join(zone.open(path, 100, sha256).pieces)


def test_a_large_object_is_read_in_pieces(
    seaweed: list[Seaweed], settings: LandingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges fit together, and an object that is replaced between them is refused."""
    monkeypatch.setattr(landing, "PIECE_BYTES", 1000)
    content = bytes(range(256)) * 20
    _land(seaweed[0], DAY, "a.csv", content)
    zone = LandingZone(settings)
    path = f"mail/dt={DAY}/a.csv"
    sha256, size = zone.digest(path, 10_000)

    assert size == len(content)
    assert b"".join(zone.open(path, 10_000, sha256).pieces) == content


def test_wrong_keys_and_silent_servers_are_a_matter_of_time(
    settings: LandingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both may be mended without touching a file: an error that a retry can help, soon, and without a secret."""
    monkeypatch.setattr(landing, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(landing, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(landing, "TRIES", 1)
    monkeypatch.setattr(landing, "REQUEST_SECONDS", 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        away = replace(settings, endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        for wrong in (away, replace(settings, secret_key="not-the-secret")):
            with pytest.raises(SourceUnavailable, match=r"mail: the landing zone does not") as caught:
                LandingZone(wrong).list("mail")
            assert caught.value.retry_can_help
            assert str(wrong.secret_key) not in str(caught.value)
