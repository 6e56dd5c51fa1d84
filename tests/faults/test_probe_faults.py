"""What probes find of real servers behind a proxy that takes a promise away."""

from __future__ import annotations

import pytest

from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.checks import Weight
from operators.core.storage.probe import may_be_member, may_be_primary, probe
from tests.faults.catalogue import LEDGER, Kind
from tests.faults.conftest import IMPATIENT, PATIENT, Sites
from tests.faults.proxy import Rule

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


@pytest.mark.parametrize(
    ("kind", "method", "key", "detail", "weight", "words"),
    [
        (Kind.IGNORED_CONDITION, "PUT", r"/race/", "", Weight.NO_PRIMARY, "were told that they had won"),
        (Kind.LOST_WRITE, "PUT", r"/checksum$", "", Weight.NO_MEMBER, "says that it checked one that is wrong"),
        (Kind.STALE_LIST, "GET", r"prefix=probe/[^/]+/fresh", "", Weight.NO_MEMBER, "what was just written"),
        (Kind.STALE, "GET", r"/fresh/\d+/key$", "", Weight.NO_MEMBER, "what was just written"),
        (Kind.FAST_CLOCK, "HEAD", "^$", "100", Weight.NOTE, "off, more than 60"),
        (Kind.FAST_CLOCK, "HEAD", "^$", "1000", Weight.NO_MEMBER, "off, more than 300"),
        (Kind.DENIED, "DELETE", "", "", Weight.NO_MEMBER, "ExpiredToken"),
        (Kind.BLACKHOLE, ".*", "", "", Weight.NO_MEMBER, "imeout"),
    ],
    ids=lambda value: value.name.lower() if isinstance(value, Kind) else None,
)
def test_a_promise_that_is_not_kept_is_found(
    sites: Sites, kind: Kind, method: str, key: str, detail: str, weight: Weight, words: str
) -> None:
    """Each defect is named, and weighs what it must."""
    rule = Rule(kind=kind, method=method, key=key, detail=detail, times=-1)
    sites.proxies[0].schedule(rule)
    patience = IMPATIENT if kind is Kind.BLACKHOLE else PATIENT
    report = probe(S3Endpoint(sites.settings.endpoints[0], patience), rounds=1)
    LEDGER.note(kind, weight.value, fired=rule.fired)

    assert rule.fired
    assert words in "; ".join(report.against(weight))
    assert may_be_member(report) == (weight is not Weight.NO_MEMBER)
    assert may_be_primary(report) == (weight is Weight.NOTE)
