"""The files under docker/ as data."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"


@cache
def compose() -> dict[str, Any]:
    """Return the compose file, anchors resolved, defaults in the place of the host's variables."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", (DOCKER / "compose.yaml").read_text())
    return dict(yaml.safe_load(text))


def services() -> dict[str, dict[str, Any]]:
    """Return the services of the compose file."""
    return dict(compose()["services"])


def words(service: dict[str, Any]) -> list[list[str]]:
    """Return the commands that a service runs, each as a list of words; a shell's are taken apart."""
    command = service.get("command", [])
    if command[:2] == ["sh", "-c"]:
        return [shlex.split(part.removeprefix("exec ")) for part in re.split(r"\s*&&\s*", command[2])]
    return [command] if command else []


@cache
def stages() -> dict[str, list[tuple[str, str]]]:
    """Return the instructions of each stage of the Dockerfile: (keyword, the rest on one line)."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in _dockerfile() if not line.startswith("#")))
    found: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in filter(None, text.splitlines()):
        keyword, _, rest = line.partition(" ")
        if keyword == "FROM":
            name = rest.split()[-1]
            found[name] = []
        if name:
            found[name].append((keyword, " ".join(rest.split())))
    return found


def _dockerfile() -> list[str]:
    return (DOCKER / "Dockerfile").read_text().splitlines()


def inherited(stage: str) -> list[tuple[str, str]]:
    """Return a stage's instructions with those of the stages that it is made from, these first."""
    own = stages()[stage]
    parent = own[0][1].split()[0]
    return (inherited(parent) if parent in stages() else []) + own


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Return what a lock holds: package to version and hashes."""
    found: dict[str, tuple[str, set[str]]] = {}
    name = ""
    for line in path.read_text().splitlines():
        if match := re.match(r"([a-zA-Z0-9._-]+)==(\S+)", line):
            name = match[1]
            found[name] = (match[2], set())
        elif match := re.match(r"\s+--hash=(\S+)", line):
            found[name][1].add(match[1])
    return {name: (version, frozenset(hashes)) for name, (version, hashes) in found.items()}
