"""Ask the balancer every few seconds whether a model can be asked, and keep what it said.

    python -m operators.core.overview.watcher --balancer 127.0.0.1:17401 --model mail_triage --file FILE

It asks where callers ask, so what it sees is what they get; health needs no key. It may be
killed at any time and starts where it was.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from operators.core.errors import DataError
from operators.core.overview.availability import EVERY_SECONDS, History
from operators.core.pinning import pinned

PATIENCE_SECONDS = 5.0
"""What has said nothing by then did not answer."""

log = logging.getLogger(__name__)


def watch(client: httpx.Client, model: str, path: Path, every_seconds: float = EVERY_SECONDS) -> None:
    """Look at a model for ever; the first look comes after the first pause, when all that starts together is up."""
    for _ in _ticks(every_seconds):
        history = _history(path).noting(model, datetime.datetime.now(datetime.UTC), is_ready(client))
        try:
            history.save(path)
        except OSError as error:  # a full disk: this look is lost, the next may not be
            log.warning("%s cannot be written: %s", path, error)


def client_of(balancer: str, certificate: Path | None) -> httpx.Client:
    """Return a client of a balancer that believes the certificate it shows, if any, and no other."""
    shown = certificate.read_text() if certificate else ""
    return httpx.Client(
        base_url=f"{'https' if shown else 'http'}://{balancer}",
        verify=pinned(shown) if shown else True,
        trust_env=False,
        timeout=PATIENCE_SECONDS,
    )


def is_ready(client: httpx.Client) -> bool:
    """Say whether the model can be asked now."""
    try:
        return client.get("/v2/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def _history(path: Path) -> History:
    """Return what is known; what cannot be read is put aside, for a look a minute from now must not fail for it."""
    try:
        return History.load(path)
    except DataError as error:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        log.warning("%s; it is at %s now", error, aside)
        return History()


def _ticks(seconds: float) -> Iterator[None]:
    """Yield at a steady pace; what a busy or sleeping machine missed is not made up for."""
    due = time.monotonic() + seconds
    while True:
        time.sleep(max(0.0, due - time.monotonic()))
        yield
        due = max(due + seconds, time.monotonic())


def main(arguments: list[str]) -> None:
    """Watch until the process is ended."""
    parser = argparse.ArgumentParser(prog="watcher", description=__doc__)
    parser.add_argument("--balancer", required=True, metavar="HOST:PORT", help="where predictions are asked for")
    parser.add_argument("--certificate", type=Path, help="the one that it shows, PEM; none, or empty: it has no TLS")
    parser.add_argument("--model", required=True, help="what callers ask for")
    parser.add_argument("--file", required=True, type=Path, help="what was seen, by day; made where it is not there")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    with client_of(options.balancer, options.certificate) as client:
        watch(client, options.model, options.file)


if __name__ == "__main__":
    main(sys.argv[1:])
