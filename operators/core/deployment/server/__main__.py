"""Start a model server; SIGTERM lets the balancer see it go and requests under way finish before it ends.

Its settings come by the environment: `NIGHTSHIFT_SERVER` (`ServerSettings`), `NIGHTSHIFT_STORAGE` (`StorageSettings`),
and `NIGHTSHIFT_SERVING_TOKEN`, the bearer token of the repository routes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from operators.core.deployment.server.logs import log_as_json
from operators.core.deployment.server.process import ServerProcess
from operators.core.deployment.server.release_files import ReleaseFiles
from operators.core.deployment.server.service import Service
from operators.core.deployment.server.settings import ServerSettings
from operators.core.deployment.server.versions import Versions
from operators.core.settings import StorageSettings

if TYPE_CHECKING:
    from operators.core.storage import Store

TOKEN_VARIABLE = "NIGHTSHIFT_SERVING_TOKEN"  # noqa: S105 - the name of a variable


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; return the exit status."""
    options = _parse(arguments)
    try:
        settings, token = ServerSettings.from_environment(os.environ), os.environ.get(TOKEN_VARIABLE, "")
        if len(token) < 16:
            raise ValueError(f"{TOKEN_VARIABLE} must hold a token of at least 16 characters")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    log_as_json()
    files = ReleaseFiles(options.model, _open_store, settings.trusted, token)
    versions = Versions(options.folder, files, options.threads)
    service = Service(name=options.name, model=options.model, versions=versions, limits=settings.limits)
    process = ServerProcess(service, settings, token, host=options.host, port=options.port, grpc_port=options.grpc_port)
    process.run()
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m operators.core.deployment.server",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True, help="of REST")
    parser.add_argument("--grpc-port", type=int, help="of gRPC; without it there is none")
    parser.add_argument("--name", required=True, help="what this server calls itself")
    parser.add_argument("--folder", type=Path, required=True, help="its own folder: releases and state")
    parser.add_argument("--model", required=True, help="the model it answers for: the recipe's name")
    parser.add_argument("--threads", type=int, default=1, help="batches of one request computed beside each other")
    return parser.parse_args(arguments)


def _open_store() -> Store:
    """Open the store of the environment; imported late, for the S3 client costs more time than a restart may take."""
    from operators.core.storage import open_store

    return open_store(StorageSettings.from_environment(os.environ))


if __name__ == "__main__":
    sys.exit(main())
