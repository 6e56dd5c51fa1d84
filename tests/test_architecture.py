"""The house keeps its rooms: what may be imported where, what parsing costs, what is banned."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted([*(ROOT / "operators").rglob("*.py"), *(ROOT / "dags").rglob("*.py")])
SPECS = [path for path in SOURCES if path.name in ("spec.py", "language_spec.py", "recipe.py", "labels.py")]
HEAVY = ("torch", "pyarrow", "great_expectations", "transformers", "onnx", "onnxruntime", "pandas", "numpy", "spacy")

PARSE = """
import json, sys, time
import airflow.sdk
before, start = set(sys.modules), time.process_time()
sys.path.insert(0, sys.argv[1])
import importlib.util
for name in sys.argv[2:]:
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), name)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
print(json.dumps({"seconds": time.process_time() - start, "modules": sorted(set(sys.modules) - before)}))
"""


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.integration
def test_parsing_the_dags_is_light(tmp_path: Path) -> None:
    """Parsing every DAG file loads no heavy package and costs less than half a second beyond importing Airflow."""
    files = [str(path) for path in sorted((ROOT / "dags").glob("*.py"))]
    environment = {"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    command = [sys.executable, "-W", "ignore", "-c", PARSE, str(ROOT / "dags"), *files]
    runs = [
        json.loads(subprocess.run(command, env=environment, check=True, capture_output=True).stdout.splitlines()[-1])
        for _ in range(2)
    ]
    loaded = {module.split(".")[0] for module in runs[0]["modules"]}

    assert loaded & set(HEAVY) == set()
    assert min(run["seconds"] for run in runs) < 0.5


@pytest.mark.parametrize("path", SPECS, ids=lambda path: str(path.relative_to(ROOT)))
def test_specs_need_the_standard_library_only(path: Path) -> None:
    """A spec imports the standard library, other specs, what labels are, and errors, nothing else."""
    foreign = {
        name
        for name in _imports(path)
        if name.split(".")[0] not in sys.stdlib_module_names
        and not (name.startswith("operators.core") and name.endswith((".spec", "_spec", ".labels", ".errors")))
    }

    assert foreign == set()


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_unpickled_or_evaluated(path: Path) -> None:
    """No module loads pickles, and none evaluates text as code."""
    banned = {"pickle", "dill", "joblib", "cloudpickle", "marshal", "shelve"}
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name)
        # numpy reads arrays of plain numbers with this said, and refuses objects.
        if "allow_pickle=False" not in ast.unparse(node)
    }

    assert {name.split(".")[0] for name in _imports(path)} & banned == set()
    assert calls & {"torch.load", "eval", "exec", "yaml.load", "os.system", "numpy.load", "np.load"} == set()


def test_dag_files_are_wiring_only() -> None:
    """A DAG file fits on a page and defines no operator."""
    for path in sorted((ROOT / "dags").glob("*.py")):
        tree = ast.parse(path.read_text())

        assert len(path.read_text().splitlines()) <= 60, path.name
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)], path.name


def test_nothing_imports_from_dags_or_plugins() -> None:
    """DAG files and plugins are ends, never sources."""
    importers = [
        path
        for path in (ROOT / "operators").rglob("*.py")
        if {name.split(".")[0] for name in _imports(path)} & {"dags", "plugins", "nightshift_ui", "recipes"}
    ]

    assert importers == []


def test_no_junk_drawers() -> None:
    """No module is called after what it is not about."""
    junk = {"utils", "common", "helpers", "manager", "base", "misc"}

    assert [path for path in SOURCES if path.stem in junk or path.parent.name in junk] == []
