"""Whether the data is safe: the endpoints, what the last scrub and drill found, the last backup of each recipe."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from operators.core.overview.dated import Dated, instant, read_newest
from operators.core.recovery.back_up_platform import RECORD as BACKUPS
from operators.core.recovery.drill import STREAM as DRILLS
from operators.core.recovery.spec import BackUpSpec
from operators.core.storage import Store
from operators.core.storage.checks import Weight
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.probe import ProbeReport, read_report
from operators.core.storage.records import Member
from operators.core.storage.scrubbing import STREAM as SCRUBS


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointState:
    """One endpoint of the store."""

    name: str
    counts: bool
    """Whether it answers, and is the one that the members' record means."""
    is_primary: bool
    probed_at: datetime.datetime | None
    """When it was last probed, by the prober's clock; None where it does not say."""
    unfit: tuple[str, ...] = ()
    """What the last probe found against it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Safety:
    """The store's state."""

    endpoints: tuple[EndpointState, ...]
    acknowledge: int
    """Copies that count before a write is acknowledged."""
    scrub: Dated | None
    """The newest report; None where nobody scrubbed yet."""
    drill: Dated | None = None
    """The newest rehearsal of a recovery; None where there was none."""
    backup: Dated | None = None
    """What is on record of the newest backup of the platform; None before the first."""

    @property
    def away(self) -> tuple[EndpointState, ...]:
        """Return the endpoints that do not count now."""
        return tuple(one for one in self.endpoints if not one.counts)


def read_safety(store: Store) -> Safety:
    """Return the store's state.

    Raises:
        StorageError: So few endpoints count that the store does not tell.
    """
    record = store.membership.read_record()

    def probed(endpoint: Endpoint, line: Member) -> ProbeReport | None:
        return read_report(endpoint)

    reports = store.membership.ask_counted(record, probed)
    states = (_state(line.name, line.name == record.primary, reports) for line in record.members)
    return Safety(
        endpoints=tuple(states),
        acknowledge=record.acknowledge,
        scrub=read_newest(store, SCRUBS),
        drill=read_newest(store, DRILLS),
        backup=read_newest(store, BACKUPS),
    )


def read_backup(backup: Store, recipe: str) -> Dated | None:
    """Return a recipe's newest backup, None where there is none.

    Raises:
        StorageError: The backup store does not tell.
    """
    return read_newest(backup, BackUpSpec(recipe=recipe).stream)


def _state(name: str, is_primary: bool, reports: dict[str, ProbeReport | None]) -> EndpointState:
    report = reports.get(name)
    weights = (Weight.NO_MEMBER, Weight.NO_PRIMARY) if is_primary else (Weight.NO_MEMBER,)
    return EndpointState(
        name=name,
        counts=name in reports,
        is_primary=is_primary,
        probed_at=instant(report.at) if report else None,
        unfit=report.against(*weights) if report else (),
    )
