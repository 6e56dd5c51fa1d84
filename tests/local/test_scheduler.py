"""What the scheduler holds in memory for its tasks: libraries, and nothing that a fork would not stand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LOOK = """
import importlib, json, os, sys, threading
from operators.local.scheduler import LIBRARIES
for library in LIBRARIES:
    importlib.import_module(library)
child = os.fork()
if not child:
    import io, numpy, pyarrow, pyarrow.parquet, torch
    square = numpy.random.rand(600, 600)
    torch.set_num_threads(2)
    tensor = torch.from_numpy(square)
    pyarrow.parquet.write_table(pyarrow.table({"x": square.ravel()}), io.BytesIO(), compression="zstd")
    os._exit(0 if numpy.allclose(square @ square, (tensor @ tensor).numpy()) else 1)
print(json.dumps({
    "ours": sorted(name for name in sys.modules if name.split(".")[0] in ("operators", "dags", "plugins")),
    "threads": threading.active_count(),
    "cuda": torch.cuda.is_initialized() if (torch := sys.modules.get("torch")) else None,
    "child": os.waitpid(child, 0)[1],
}))
"""


@pytest.mark.integration
def test_a_fork_of_it_computes_and_finds_the_platforms_own_code_on_disk(tmp_path: Path) -> None:
    """Threads, a GPU context or a module of ours would outlast a change, or hang the child."""
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "GX_ANALYTICS_ENABLED": "false"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK], env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.splitlines()[-1])

    assert found == {
        "ours": ["operators", "operators.local", "operators.local.scheduler"],
        "threads": 1,
        "cuda": False,
        "child": 0,
    }
