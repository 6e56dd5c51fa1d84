"""Three real servers, each behind a proxy that does harm; and the table of what all faults came to."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from operators.core.settings import StorageSettings
from operators.core.storage import Store
from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.endpoint import ThreadRound
from operators.core.storage.founding import found_store
from operators.core.storage.members import Membership
from operators.core.storage.patience import Patience
from tests.faults.catalogue import LEDGER
from tests.faults.proxy import Proxy
from tests.seaweed import Seaweed

IMPATIENT = Patience(
    connect_seconds=1.0, silence_seconds=2.0, first_wait_seconds=0.02, pause_seconds=0.3, trial_seconds=2.0
)
PATIENT = Patience(silence_seconds=60.0, first_wait_seconds=0.05, pause_seconds=0.1, trial_seconds=20.0)
"""For what must succeed when the faults are over, also on a busy machine."""


class Sites:
    """A store on three servers, each reached through its proxy."""

    def __init__(self, servers: list[Seaweed], proxies: list[Proxy]) -> None:
        self.servers, self.proxies = servers, proxies
        endpoints = [
            dataclasses.replace(server.settings(), endpoint_url=proxy.url)
            for server, proxy in zip(servers, proxies, strict=True)
        ]
        self.settings = StorageSettings(endpoints=tuple(endpoints), acknowledge=2)
        self._patient = [S3Endpoint(item, PATIENT) for item in endpoints]
        self._open: list[Store] = []

    def heal(self) -> None:
        """End all faults; what was held back is forgotten."""
        for proxy, server in zip(self.proxies, self.servers, strict=True):
            proxy.upstream = server.url
            proxy.schedule()

    def membership(self, patience: Patience = PATIENT) -> Membership:
        """Return the members, as one process has them. Patient ones share their clients: a new one costs 0.1 s."""
        endpoints = self._patient
        if patience is not PATIENT:
            endpoints = [S3Endpoint(item, patience) for item in self.settings.endpoints]
        return Membership(endpoints, self.settings.acknowledge, around=ThreadRound(len(endpoints)))

    def open(self, patience: Patience = PATIENT) -> Store:
        """Open the store as another process does."""
        store = Store(self.membership(patience))
        self._open.append(store)
        return store

    def close(self) -> None:
        """End the threads of all that were opened."""
        while self._open:
            self._open.pop().close()


@pytest.fixture(scope="session")
def proxies(seaweed: list[Seaweed]) -> Iterator[list[Proxy]]:
    """A proxy before each server."""
    started = [Proxy(server.url) for server in seaweed]
    yield started
    for proxy in started:
        proxy.stop()


@pytest.fixture(scope="session")
def three_sites(seaweed: list[Seaweed], proxies: list[Proxy]) -> Sites:
    """The servers and their proxies, with clients that all tests share."""
    return Sites(seaweed, proxies)


@pytest.fixture
def sites(three_sites: Sites) -> Iterator[Sites]:
    """An empty, initialised store behind proxies that do nothing yet."""
    three_sites.heal()
    for server in three_sites.servers:
        server.empty()
    found_store(three_sites.membership())
    yield three_sites
    three_sites.heal()
    three_sites.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what every fault came to."""
    if LEDGER.fired:
        terminalreporter.section("faults")
        for line in LEDGER.lines():
            terminalreporter.line(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run of all fault tests in which a fault never fired: a fault that does not happen proves nothing."""
    option = session.config.option
    is_whole = option.markexpr == "faults" and not option.keyword and session.config.args == ["tests"]
    silent = [kind for kind in LEDGER.silent() if kind not in LEDGER.excused]
    if is_whole and session.testscollected and silent:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"never fired: {', '.join(f'{kind.number} {kind.words}' for kind in silent)}", red=True)
