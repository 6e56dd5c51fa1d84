"""What an endpoint can really do, found out by doing it: before its first use, and daily.

All happens below a scratch prefix that is empty afterwards. The report lies beside the identity, under `probe.json`.
An endpoint that loses, forgets or invents may be no member. One whose conditional puts let two writers win may be a
member, never the primary.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random, SystemRandom
from typing import Any

from operators.core.errors import StorageError
from operators.core.manifest import FORMAT
from operators.core.settings import StorageSettings
from operators.core.storage.checks import Checks, Finding, Weight
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import open_members

PROBE_KEY = "probe.json"
SCRATCH = "probe/"


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeReport:
    """What a probe found."""

    endpoint: str
    at: float
    """When, in seconds since 1970 by the prober's clock."""
    findings: tuple[Finding, ...]
    figures: dict[str, float]
    """Milliseconds (`..._ms`, medians), MiB a second, and the clock's offset in seconds."""
    traits: dict[str, str]
    """What the server says of itself; empty for a directory."""

    def against(self, *weights: Weight) -> tuple[str, ...]:
        """Return the findings of these weights in words."""
        return tuple(f"{item.check}: {item.words}" for item in self.findings if item.weight in weights)

    def encode(self) -> bytes:
        """Return the bytes that are stored under `probe.json`."""
        return json.dumps(self.document(), sort_keys=True, indent=1).encode()

    def document(self) -> dict[str, Any]:
        """Return the report as plain JSON."""
        findings = [{**asdict(item), "weight": item.weight.value} for item in self.findings]
        return {"format": FORMAT, **asdict(self), "findings": findings}

    @classmethod
    def decode(cls, data: bytes) -> ProbeReport:
        """Read back what `encode` wrote."""
        document = json.loads(data)
        if document.pop("format") != FORMAT:
            raise ValueError(f"a probe's report of another format than {FORMAT}: probe again")
        findings = [Finding(**{**item, "weight": Weight(item["weight"])}) for item in document.pop("findings")]
        return cls(findings=tuple(findings), **document)


def may_be_member(report: ProbeReport) -> bool:
    """Say whether the endpoint may belong to a store; `against(Weight.NO_MEMBER)` says why not."""
    return not report.against(Weight.NO_MEMBER)


def may_be_primary(report: ProbeReport) -> bool:
    """Say whether the endpoint may decide races; `against(Weight.NO_MEMBER, Weight.NO_PRIMARY)` says why not."""
    return not report.against(Weight.NO_MEMBER, Weight.NO_PRIMARY)


def read_report(endpoint: Endpoint) -> ProbeReport | None:
    """Return the report of the last probe, None where there was none.

    Raises:
        EndpointAway: The endpoint does not answer.
    """
    data = endpoint.get(PROBE_KEY)
    return None if data is None else ProbeReport.decode(data)


def probe(
    endpoint: Endpoint, *, rounds: int = 10, clock: Callable[[], float] = time.time, random: Random | None = None
) -> ProbeReport:
    """Find out what an endpoint can do, keep the report there, and return it. One that is away is reported, too.

    Args:
        endpoint: Which; its bucket or folder must be there.
        rounds: How often races and read-after-write are tried.
        clock: Seconds since 1970: what the endpoint's clock is compared with.
        random: Where the scratch prefix comes from.

    Cost: about 25 requests a round, and 16 MiB each way.
    """
    name = f"{(random or SystemRandom()).getrandbits(64):016x}"
    run = Checks(endpoint, f"{SCRATCH}{name}/", rounds, clock)
    for check in (run.keys, run.races, run.consistency, run.checksums, run.time, run.throughput, run.server):
        try:
            check()
        except EndpointAway as error:
            run.note(check.__name__, Weight.NO_MEMBER, str(error))
            break
    report = ProbeReport(
        endpoint=endpoint.name, at=clock(), findings=tuple(run.findings), figures=run.figures, traits=run.traits
    )
    try:
        run.clean_up()
        endpoint.put(PROBE_KEY, report.encode())
    except EndpointAway as error:
        if not may_be_member(report):
            return report
        found = Finding(check="cleaning", weight=Weight.NO_MEMBER, words=str(error))
        return replace(report, findings=(*report.findings, found))
    return report


def probe_all(settings: StorageSettings, *, rounds: int = 10) -> tuple[list[ProbeReport], str | None]:
    """Probe all endpoints of a store at once; return the reports, and the primary's name where one rules."""
    membership = open_members(settings)
    try:
        found = membership.round.ask(membership.endpoints.values(), lambda endpoint: probe(endpoint, rounds=rounds))
        try:
            primary = membership.read_record().primary
        except StorageError:
            primary = None  # not made yet, or too few endpoints answer: the reports say it
        return list(found.values()), primary
    finally:
        membership.round.close()


def refusals(reports: Sequence[ProbeReport], primary: str | None) -> list[str]:
    """Return in words which endpoints may not be what they are, and why; empty where all is well."""
    unfit = [
        f"{report.endpoint} may be no member: {'; '.join(report.against(Weight.NO_MEMBER))}"
        for report in reports
        if not may_be_member(report)
    ]
    unfit += [
        f"{report.endpoint} is the primary and may not be: {'; '.join(report.against(Weight.NO_PRIMARY))}"
        for report in reports
        if report.endpoint == primary and report.against(Weight.NO_PRIMARY)
    ]
    return unfit
