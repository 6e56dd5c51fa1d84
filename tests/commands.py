"""The commands that the docs tell people to type, and which of them a test runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "docker").rglob("README.md")]
)

RUN = {
    "nightshift ls streams": 0,
    "nightshift show latest:release-mail_triage": 0,
    "nightshift lineage latest:release-mail_triage": 0,
    "nightshift verify latest:release-mail_triage": 0,
    "nightshift quarantine latest:dataset-mail_triage": 0,
    "nightshift scrub --all": 0,
    "nightshift audit": 0,
    "nightshift forget --pending": 0,
    "nightshift releases mail_triage": 0,
    "nightshift logins": 0,
    "nightshift login dashboard --role viewer": 0,
    "nightshift recovery-key /media/stick/kit.json": 0,
}
"""Commands that tests/e2e/test_docs.py types into a platform after a run, with the exit status each must have."""

ASK = re.compile(r"curl .*http://127\.0\.0\.1:1740[01]/.*")
"""Run too, at the ports of the test's platform."""

NOT_RUN = {
    r"make (run|stop|status|test|containers)\b.*": "target and variables are looked up; tests/e2e runs what it does",
    r"set -a; .*": "tests/e2e/test_main_job.py reads the file of its platform",
    r"airflow backfill create .*": "as `make backfill`, which tests/e2e/test_main_job.py runs",
    r"mkdir -p var/landing/.*|cp .*": "lays out data that the reader has",
    r"nightshift login (ada|bob) .*": "tests/cli/test_admitting.py does so, without starting an API server each time",
    r"nightshift (reveal|restore|rollback|rotate-master-key) .*": "needs a loss, a secret or another release",
    r"nightshift forget .*--yes.*|nightshift gc --apply .*": "deletes; tests/core/erasure, tests/cli",
    r"nightshift forget (-|--row \S+ --day \S+)": "is about somebody; tests/cli/test_forgetting.py lays somebody out",
    r"nightshift forget - --storage-file .*": "is of a platform on several machines",
    r"nightshift undelete .*": "tests/core/recovery/test_locking.py, on a bucket that was emptied",
    r"NIGHTSHIFT_HOME=docker/platform .*": "tests/cli/test_admitting.py and tests/docker make such a folder",
    r"sed -i .*signing_key.*": "changes the signing key, as tests/core/deployment/test_changed_key.py does",
    r"docker compose .*|kubectl .*": "nothing here runs containers; tests/docker holds the files to their schemas",
    r"aws s3 .*": "is a walk through a bucket by hand, for who does not trust the code",
}
"""Patterns of commands that no test types as they stand, and why. Ours are held to their parser all the same."""

NO_COMMANDS = ("nightshift data key 1",)
"""That stand between backticks and look like one."""


def blocks(page: Path) -> list[str]:
    """Return each command of a page's shell blocks on one line, without the comment after it."""
    found = []
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = re.sub(r"(^|\s)#\s.*", "", line)
            found += [command for part in words.split(" && ") if (command := " ".join(part.split()))]
    return found


def inline(page: Path) -> list[str]:
    """Return the commands of ours that a page names in its text."""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`(?:\.venv/bin/)?((?:nightshift|make) [^`…]+)`", text)
    listed = [" ".join(command.split()) for command in named if "..." not in command]
    return [command for command in listed if command not in NO_COMMANDS]


def plain(command: str) -> str:
    """Return a command without the folder of its program."""
    return command.removeprefix(".venv/bin/")


def words_of(command: str) -> tuple[list[str], list[str]]:
    """Return the variables that a command sets before itself, and its words."""
    words = shlex.split(plain(command))
    first = next((at for at, word in enumerate(words) if not re.match(r"[A-Z_]+=", word)), len(words))
    return words[:first], [plain(words[first]), *words[first + 1 :]] if words[first:] else []
