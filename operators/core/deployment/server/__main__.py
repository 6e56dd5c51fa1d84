"""Start a model server; SIGTERM lets the balancer see it go and requests under way finish before it ends."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from operators.core.deployment.server.app import build_app
from operators.core.deployment.server.limits import Limits
from operators.core.deployment.server.process import ServerProcess
from operators.core.deployment.server.versions import Versions
from operators.core.settings import StorageSettings

if TYPE_CHECKING:
    from operators.core.storage import Store

TOKEN_VARIABLE = "NIGHTSHIFT_SERVING_TOKEN"  # noqa: S105 - the name of a variable


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m operators.core.deployment.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True, help="what this server calls itself")
    parser.add_argument("--folder", type=Path, required=True, help="its own folder: releases and state")
    parser.add_argument("--model", required=True, help="the model it answers for: the recipe's name")
    parser.add_argument("--threads", type=int, default=1, help="batches of one request computed beside each other")
    parser.add_argument("--parallel", type=int, default=Limits().parallel, help="batches beside each other")
    options = parser.parse_args(arguments)
    token = os.environ.get(TOKEN_VARIABLE, "")
    if len(token) < 16:
        print(f"{TOKEN_VARIABLE} must hold a token of at least 16 characters", file=sys.stderr)
        return 2
    limits = Limits(parallel=options.parallel)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    versions = Versions(options.folder, options.model, _open_store, options.threads)
    app = build_app(name=options.name, model=options.model, versions=versions, token=token, limits=limits)
    ServerProcess(app, options.host, options.port, limits).run()
    return 0


def _open_store() -> Store:
    """Open the store of the environment; imported late, for the S3 client costs more time than a restart may take."""
    from operators.core.storage import open_store

    return open_store(StorageSettings.from_environment(os.environ))


if __name__ == "__main__":
    sys.exit(main())
