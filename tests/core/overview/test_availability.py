"""What is told of availability is what somebody saw, whatever happens to the one who looks."""

from __future__ import annotations

import datetime
import http.server
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as some

from operators.core.errors import DataError
from operators.core.overview.availability import KEPT_DAYS, History, Looks
from operators.core.overview.watcher import client_of
from operators.core.overview.watcher import is_ready as finds_ready
from tests.core.overview.nights import NOON

DAY = datetime.timedelta(days=1)
WATCH = """
import sys
from pathlib import Path
from operators.core.overview.watcher import client_of, watch
watch(client_of(sys.argv[1], None), "tiny", Path(sys.argv[2]), every_seconds=0.05)
"""


class Balancer(http.server.ThreadingHTTPServer):
    """Answers as a balancer whose servers are ready, or none of which is."""

    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Balancer

    def do_GET(self) -> None:
        self.send_response(self.server.status if self.path == "/v2/health/ready" else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    """A server on loopback."""
    with Balancer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def history_of(*looks: bool, at: datetime.datetime = NOON) -> History:
    """Return a history of looks at one moment, the first of which found it ready."""
    history = History().noting("tiny", at, True)
    for is_ready in looks:
        history = history.noting("tiny", at, is_ready)
    return history


def test_today_and_a_month_are_told_apart() -> None:
    """The share of the looks, and how long that was."""
    history = history_of(True, True, False, at=NOON - 3 * DAY).noting("tiny", NOON, True)
    today, month = history.over("tiny", NOON, 1), history.over("tiny", NOON, 30)

    assert (today.share, today.watched_seconds) == (1.0, 15.0)
    assert (month.share, month.watched_seconds) == (0.8, 75.0)


def test_what_nobody_saw_is_not_told() -> None:
    """No look, no share; before its first answer a model is not missed; one model says nothing of another."""
    silent = History().noting("tiny", NOON, False)

    assert silent.over("tiny", NOON, 30).share is None
    assert history_of().over("another", NOON, 30).share is None


@given(some.lists(some.tuples(some.integers(0, 90), some.booleans()), max_size=60))
def test_a_history_is_bounded_and_loses_no_look_of_its_month(looks: list[tuple[int, bool]]) -> None:
    """However many days went by: what is kept is the newest month by the last look."""
    history, counted = history_of(), [(0, True)]
    for day, is_ready in sorted(looks):
        history = history.noting("tiny", NOON + day * DAY, is_ready)
        counted.append((day, is_ready))
    last = counted[-1][0]
    expected = [is_ready for day, is_ready in counted if day > last - KEPT_DAYS]

    assert len(history.days["tiny"]) <= KEPT_DAYS
    assert history.over("tiny", NOON + last * DAY, KEPT_DAYS) == Looks(asked=len(expected), answered=sum(expected))


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    """And where there is none, nothing was seen."""
    path = tmp_path / "availability.json"
    history_of(False).save(path)

    assert History.load(path) == history_of(False)
    assert History.load(tmp_path / "none") == History()
    assert [one.name for one in tmp_path.iterdir()] == ["availability.json"]


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"format": 2, "every_seconds": 15, "models": {}}', '{"format": 1}',
     '{"format": 1, "every_seconds": 15, "models": {"tiny": {"2026-11-23": [1, 2]}}}',
     '{"format": 1, "every_seconds": 15, "models": {"tiny": {"yesterday": [1, 1]}}}'],
)  # fmt: skip
def test_a_file_that_holds_no_history_is_an_error(tmp_path: Path, text: str) -> None:
    """Not an empty history: that would be shown as nothing watched."""
    (tmp_path / "f").write_text(text)
    with pytest.raises(DataError, match="holds no history"):
        History.load(tmp_path / "f")


@pytest.mark.integration
def test_a_watcher_counts_what_callers_would_meet_and_outlives_its_own_death(
    balancer: Balancer, tmp_path: Path
) -> None:
    """Ready, not ready, and no balancer at all; killed between, it goes on from what it had."""
    path = tmp_path / "availability.json"

    def seen() -> Looks:
        try:
            return History.load(path).over("tiny", datetime.datetime.now(datetime.UTC), 2)
        except DataError:
            return Looks()

    def run_until(enough: Callable[[Looks], bool]) -> Looks:
        process = subprocess.Popen([sys.executable, "-c", WATCH, f"127.0.0.1:{balancer.server_port}", str(path)])
        try:
            deadline = time.monotonic() + 60
            while not enough(seen()):
                assert time.monotonic() < deadline, seen()
                time.sleep(0.05)
            return seen()
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()

    ready = run_until(lambda seen: seen.answered >= 3)
    balancer.status = 503
    broken = run_until(lambda seen: seen.asked >= ready.asked + 3)
    path.write_text(json.dumps({"format": 1})[:-3])
    balancer.status = 200
    anew = run_until(lambda seen: seen.answered >= 1)

    assert ready.share == 1.0
    assert broken.answered < broken.asked
    assert broken.answered >= ready.answered
    assert anew.asked < broken.asked
    assert (tmp_path / "availability.json.damaged").exists()


def test_a_balancer_with_tls_is_asked_by_the_certificate_that_it_shows(balancer: Balancer, tmp_path: Path) -> None:
    """And another that shows one of its own is not believed; without TLS the file of the containers is empty."""
    own, other, none = tmp_path / "own.pem", tmp_path / "other.pem", tmp_path / "none.pem"
    authority = trustme.CA()
    issued = authority.issue_cert("balancer")
    issued.cert_chain_pems[0].write_to_path(str(own))
    authority.issue_cert("balancer").cert_chain_pems[0].write_to_path(str(other))
    none.touch()
    address = f"127.0.0.1:{balancer.server_port}"
    with client_of(address, none) as client:
        assert finds_ready(client)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    balancer.socket = context.wrap_socket(balancer.socket, server_side=True)
    with client_of(address, own) as client:
        assert finds_ready(client)
    with client_of(address, other) as client:
        assert not finds_ready(client)
