"""The command that tells Prometheus how the store is: metrics."""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading

from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from operators.cli.answer import Answer, WrongUse
from operators.cli.commands import Commands
from operators.cli.places import backup_settings, store_settings
from operators.core.recovery.metrics import RecoveryMetrics
from operators.core.settings import StorageSettings
from operators.core.storage.metrics import StoreMetrics

_WORDS = (
    "Print what Prometheus is told of the store and of its backups. That is: endpoints that count, the age of every "
    "stream and of PostgreSQL's archived log, the last scrub, the last drill. With --listen everything is read anew "
    "each time Prometheus asks."
)


def add_commands(commands: Commands) -> None:
    """Add this module's command to the parser."""
    parser = commands.add("metrics", metrics, _WORDS, examples=("metrics", "metrics --listen 127.0.0.1:9108"))
    parser.add_argument("--backup-file", metavar="FILE", help="settings of the backup store; default: the platform's")
    parser.add_argument(
        "--listen", metavar="HOST:PORT", type=_address, help="answer there at /metrics until told to stop"
    )


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def metrics(options: argparse.Namespace) -> Answer:
    """Return the exposition, or serve it until SIGTERM or SIGINT."""
    registry = CollectorRegistry()
    stores = _stores(options)
    for series in (StoreMetrics(stores), RecoveryMetrics(stores)):
        registry.register(series)
    if options.listen is None:
        text = generate_latest(registry).decode()
        return Answer(document=text.splitlines(), lines=(text.rstrip("\n"),))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    host, port = options.listen
    server, thread = start_http_server(port, host, registry)
    ended.wait()
    server.shutdown()
    thread.join()
    return Answer(document={}, lines=())


def _stores(options: argparse.Namespace) -> dict[str, StorageSettings]:
    """Return the store and, where one is known, its backup store."""
    stores = {"store": store_settings(options)}
    with contextlib.suppress(WrongUse):  # the settings of the store came by a file, and no platform is here
        stores["backup"] = backup_settings(options.backup_file)
    return stores
