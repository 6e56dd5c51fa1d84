"""Large files whose upload is harmed at each of its steps: whole under the key, or refused and nothing left open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from operators.core.manifest import sha256_of_file
from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.endpoint import EndpointAway
from tests.faults.catalogue import LEDGER, Kind
from tests.faults.conftest import PATIENT, Sites
from tests.faults.proxy import Rule
from tests.seaweed import BUCKET

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

BEGIN, PART, END = ("POST", r"\?uploads"), ("PUT", r"partNumber=2"), ("POST", r"\?uploadId")
ALWAYS = -1


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of three parts."""
    path = tmp_path_factory.mktemp("large") / "file"
    path.write_bytes(os.urandom((32 << 20) + 5))
    return path


@pytest.mark.parametrize(
    ("kind", "step", "times", "survives"),
    [
        (Kind.SLOW_DOWN, BEGIN, 1, True),
        (Kind.LOST_CALL, PART, 2, True),
        (Kind.LOST_REPLY, PART, 1, True),
        (Kind.SERVER_ERROR, PART, ALWAYS, False),
        (Kind.LOST_WRITE, PART, 1, False),
        (Kind.WRONG_CHECKSUM, PART, 1, True),
        (Kind.LOST_REPLY, END, 1, True),
        (Kind.LOST_CALL, END, 1, False),
        (Kind.TORN_COMPLETE, END, 1, False),
        (Kind.DENIED, END, 1, False),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Kind) else None,
)
def test_an_upload_is_whole_or_refused(
    sites: Sites, large: Path, kind: Kind, step: tuple[str, str], times: int, survives: bool
) -> None:
    """Repeated where that is safe, settled by reading where the end is unclear, and given up cleanly."""
    rule = Rule(kind=kind, method=step[0], key=step[1], times=times)
    sites.proxies[0].schedule(rule)
    endpoint = S3Endpoint(sites.settings.endpoints[0], PATIENT)
    try:
        endpoint.put("obj/large", large)
        outcome = "survived"
    except EndpointAway as error:
        outcome = type(error).__name__
    sites.heal()
    LEDGER.note(kind, outcome, fired=rule.fired)
    server = sites.servers[0]
    held = S3Endpoint(server.settings()).digest("obj/large")

    assert rule.fired
    assert (outcome == "survived") == survives
    assert held == (sha256_of_file(large) if survives else None)
    assert not server.files().call_s3("list_multipart_uploads", Bucket=BUCKET).get("Uploads")


@pytest.mark.parametrize("kind", [Kind.LOST_CALL, Kind.CUT_BODY, Kind.SHORT_BODY, Kind.FLIPPED_BIT])
def test_a_large_file_is_read_whole_or_its_digest_is_another(sites: Sites, large: Path, kind: Kind) -> None:
    """The second range is harmed: read again, refused, or hashed to something that the store takes for damaged."""
    S3Endpoint(sites.servers[0].settings()).put("obj/large", large)
    rule = Rule(kind=kind, method="GET", key="obj/large$", first=2)
    sites.proxies[0].schedule(rule)
    try:
        digest = S3Endpoint(sites.settings.endpoints[0], PATIENT).digest("obj/large")
        outcome = "survived"
    except EndpointAway as error:
        digest, outcome = None, type(error).__name__
    LEDGER.note(kind, outcome, fired=rule.fired)

    assert rule.fired
    assert digest in (sha256_of_file(large), None) or kind is Kind.FLIPPED_BIT
    assert kind is not Kind.FLIPPED_BIT or digest != sha256_of_file(large)


def test_a_body_is_never_sent_after_a_redirect(sites: Sites) -> None:
    """A server that names another host is refused: nothing arrives there, neither body nor signature."""
    other = sites.proxies[1]
    other.schedule()
    rule = Rule(kind=Kind.REDIRECT, times=ALWAYS, detail=other.url)
    sites.proxies[0].schedule(rule)
    endpoint = S3Endpoint(sites.settings.endpoints[0], PATIENT)
    with pytest.raises(EndpointAway, match=r"redirects \(307\)"):
        endpoint.put("a", b"x")
    with pytest.raises(EndpointAway, match=r"redirects \(307\)"):
        endpoint.get("a")
    LEDGER.note(Kind.REDIRECT, "EndpointAway", fired=rule.fired)

    assert [request.method for request in sites.proxies[0].requests] == ["PUT", "GET"]
    assert not other.requests


def test_a_conditional_put_is_sent_once(sites: Sites) -> None:
    """Its reply is lost on a connection that was used before: neither we nor a library below sends it again."""
    endpoint = S3Endpoint(sites.settings.endpoints[0], PATIENT)
    endpoint.get("identity.json")
    rule = Rule(kind=Kind.LOST_REPLY, method="PUT")
    sites.proxies[0].schedule(rule)

    assert not endpoint.put_if_absent("a", b"mine")
    assert [request.method for request in sites.proxies[0].requests] == ["PUT"]
    assert endpoint.get("a") == b"mine"
    LEDGER.note(Kind.LOST_REPLY, "survived", fired=rule.fired)
