"""Start a model server; SIGTERM lets requests under way finish before it ends."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from operators.core.deployment.server.app import build_app
from operators.core.deployment.server.versions import Versions
from operators.core.settings import StorageSettings

if TYPE_CHECKING:
    from operators.core.storage import Store

TOKEN_VARIABLE = "NIGHTSHIFT_SERVING_TOKEN"  # noqa: S105 - the name of a variable
DRAIN_SECONDS = 20


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m operators.core.deployment.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", required=True, help="what this server calls itself")
    parser.add_argument("--folder", type=Path, required=True, help="its own folder: releases and state")
    parser.add_argument("--model", required=True, help="the model it answers for: the recipe's name")
    parser.add_argument("--threads", type=int, default=1, help="batches of one request computed beside each other")
    parser.add_argument("--parallel", type=int, default=2, help="inferences beside each other")
    options = parser.parse_args(arguments)
    token = os.environ.get(TOKEN_VARIABLE, "")
    if len(token) < 16:
        print(f"{TOKEN_VARIABLE} must hold a token of at least 16 characters", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    versions = Versions(options.folder, options.model, _open_store, options.threads)
    app = build_app(name=options.name, model=options.model, versions=versions, token=token, parallel=options.parallel)
    uvicorn.run(
        app, host=options.host, port=options.port, access_log=False, log_config=None, server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )  # fmt: skip
    return 0


def _open_store() -> Store:
    """Open the store of the environment; imported late, for the S3 client costs more time than a restart may take."""
    from operators.core.storage import open_store

    return open_store(StorageSettings.from_environment(os.environ))


if __name__ == "__main__":
    sys.exit(main())
