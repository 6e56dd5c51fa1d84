"""Records what each stage's code was when its revision was set: `python tests/stage_revisions.py` after raising one.

A run key holds a stage's revision, not its code. A stage whose code changed under an unchanged revision would be
answered with results of the old code for ever, so the code is hashed here: docstrings and comments apart, and
everything of `operators.core` that the stage imports, but for the rooms that only move bytes.
"""

from __future__ import annotations

import ast
import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).with_name("stage_revisions.json")
_MOVES_BYTES = ("operators.core.storage", "operators.core.settings", "operators.core.errors", "operators.core.progress")


def stages() -> dict[str, dict[str, object]]:
    """Return, by module, the revisions that it declares and the hash of the code that they stand for."""
    found: dict[str, dict[str, object]] = {}
    for path in sorted((ROOT / "operators" / "core").rglob("*.py")):
        tree = ast.parse(path.read_text())
        revisions = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id.endswith("REVISION")
        }
        if revisions:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name] = {"revisions": revisions, "code": _hash(name)}
    return found


def stale(recorded: dict[str, dict[str, object]], now: dict[str, dict[str, object]]) -> list[str]:
    """Return the modules whose code changed while no revision of theirs was raised."""
    return [
        name
        for name, entry in now.items()
        if name in recorded and recorded[name]["code"] != entry["code"]
        if recorded[name]["revisions"] == entry["revisions"]
    ]


def _hash(module: str) -> str:
    digest = hashlib.sha256()
    for name in sorted(_closure(module, set())):
        digest.update(name.encode() + b"\0" + _code(_path(name)).encode() + b"\0")
    return digest.hexdigest()


def _closure(module: str, seen: set[str]) -> set[str]:
    if module in seen or module.startswith(_MOVES_BYTES):
        return seen
    path = _path(module)
    if not path.exists():
        return seen
    seen.add(module)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("operators.core"):
            _closure(node.module, seen)
            for alias in node.names:
                _closure(f"{node.module}.{alias.name}", seen)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("operators.core"):
                    _closure(alias.name, seen)
    return seen


def _path(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _code(path: Path) -> str:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = [
                item for item in node.body if not (isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant))
            ]
            node.body = body or [ast.Pass()]
    return ast.unparse(tree)


def main() -> int:
    """Write the record; refuse where a revision should have been raised first."""
    now = stages()
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if forgotten := stale(recorded, now):
        print("raise the revision first in: " + ", ".join(forgotten), file=sys.stderr)
        return 1
    RECORD.write_text(json.dumps(now, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
