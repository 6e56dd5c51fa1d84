"""Ask the balancer every few seconds whether a model can be asked, and keep what it said.

    python -m operators.core.overview.watcher --balancer http://127.0.0.1:17401 --model mail_triage --file FILE

It asks where callers ask, so what it sees is what they get. It may be killed at any time and starts where it was.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import ssl
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from operators.core.errors import DataError
from operators.core.overview.availability import EVERY_SECONDS, History

BALANCER_VARIABLE = "NIGHTSHIFT_BALANCER"
END_OF_CERTIFICATE = "-----END CERTIFICATE-----"
PATIENCE_SECONDS = 5.0
"""What has said nothing by then did not answer."""

log = logging.getLogger(__name__)


def watch(client: httpx.Client, model: str, path: Path, every_seconds: float = EVERY_SECONDS) -> None:
    """Look at a model for ever; the first look comes after the first pause, when all that starts together is up."""
    for _ in _ticks(every_seconds):
        history = _history(path).noting(model, datetime.datetime.now(datetime.UTC), is_ready(client, model))
        try:
            history.save(path)
        except OSError as error:  # a full disk: this look is lost, the next may not be
            log.warning("%s cannot be written: %s", path, error)


def is_ready(client: httpx.Client, model: str) -> bool:
    """Say whether a model can be asked now."""
    try:
        return client.get(f"/v2/models/{model}/ready").status_code == 200
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


def trusting(chain: Path | None) -> ssl.SSLContext | bool:
    """Return what believes the chain's first certificate and no other, whatever name it is asked by here."""
    text = chain.read_text() if chain else ""
    if not text.strip():
        return True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=text[: text.index(END_OF_CERTIFICATE) + len(END_OF_CERTIFICATE)])
    return context


def main(arguments: list[str]) -> None:
    """Watch until the process is ended."""
    parser = argparse.ArgumentParser(prog="watcher", description=__doc__)
    usual = os.environ.get(BALANCER_VARIABLE)
    parser.add_argument("--balancer", default=usual, required=usual is None, help="where predictions are asked")
    parser.add_argument("--certificate", type=Path, help="chain that the balancer shows, in PEM; an empty file is none")
    parser.add_argument("--model", required=True, help="what callers ask for")
    parser.add_argument("--file", required=True, type=Path, help="what was seen, by day; made where it is not there")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    verify = trusting(options.certificate)
    with httpx.Client(base_url=options.balancer, trust_env=False, timeout=PATIENCE_SECONDS, verify=verify) as client:
        watch(client, options.model, options.file)


if __name__ == "__main__":
    main(sys.argv[1:])
