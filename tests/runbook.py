"""What docs/runbook.md tells people to type, and where each of it is run by a test."""

from __future__ import annotations

import re

from operators.local.layout import REPOSITORY

RUNBOOK = REPOSITORY / "docs" / "runbook.md"
_COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*(?:make|nightshift|\.venv/bin/nightshift) \S.*")
_FENCED = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)

ON_A_STORE = frozenset(
    {
        "nightshift metrics",
        "nightshift primary",
        "nightshift primary move NAME",
        "nightshift resync NAME",
        "nightshift resync NAME --anew",
        "nightshift scrub",
        "nightshift scrub --all",
        "nightshift verify NAME",
        "nightshift verify latest:release-mail_triage",
        "nightshift verify latest:dataset-mail_triage",
        "nightshift gc",
        "nightshift gc --apply",
        "nightshift releases RECIPE",
        "nightshift releases mail_triage",
        "nightshift rollback mail_triage",
        "nightshift drill --history 10",
        "nightshift audit",
    }
)
"""Run by tests/cli/test_runbook.py, on a store in directories and two model servers."""
ON_A_PLATFORM = frozenset(
    {
        "make setup",
        "make run",
        "make status",
        "make stop",
        "make dr-demo",
        "NIGHTSHIFT_PORT_BASE=20000 make run",
        "nightshift restore --kit kit.json",
        "nightshift restore --kit kit.json --only dataset-mail_triage",
        "nightshift restore latest:backup-mail_triage --target-file new-store.json --backup-file backup.json",
        "nightshift recovery-key FILE",
        "nightshift drill",
        "nightshift forget --pending",
    }
)
"""Run by tests/e2e/test_runbook.py, and the demo by tests/e2e/test_recovery.py, on a platform that ran the main job."""

ON_A_BUCKET = (
    "nightshift probe --storage-file backup.json",
    "nightshift undelete --storage-file backup.json",
    "nightshift init --storage-file backup.json",
)
"""Run by tests/core/recovery/test_locking.py, in this order, on a bucket with object lock that was emptied."""
ON_POSTGRESQL = frozenset(
    {"nightshift restore --kit kit.json --target-file store.json --postgresql FOLDER --only database"}
)
"""Run by tests/core/recovery/test_postgresql.py, over a server that was lost."""


def commands() -> set[str]:
    """Return every command of the runbook's code blocks, tables and sentences, however the program is called there."""
    text = RUNBOOK.read_text()
    typed = [line.strip() for block in _FENCED.findall(text) for line in block.splitlines()]
    typed += re.findall(r"`([^`\n]+)`", _FENCED.sub("", text))
    return {one.removeprefix(".venv/bin/") for one in typed if _COMMAND.fullmatch(one)}


def parts() -> dict[str, str]:
    """Return the runbook's parts, by title."""
    found = RUNBOOK.read_text().split("\n## ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in found}
