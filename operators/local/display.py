"""The run on screen: a table that redraws itself on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from operators.local.progress import Step, TaskProgress

_STYLES = {
    "success": "green", "failed": "bold red", "upstream_failed": "red", "running": "bold cyan",
    "up_for_retry": "yellow", "skipped": "dim", "waiting": "dim",
}  # fmt: skip
_PLAIN_SECONDS = 15.0


class Display:
    """Shows tasks as they change; a context manager, since the terminal must be given back."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self._title = title
        self._live = Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else None
        self._said: dict[str, tuple[str, int]] = {}
        self._said_at: dict[str, float] = {}

    def __enter__(self) -> Display:
        """Take the terminal over."""
        if self._live:
            self._live.start()
        else:
            self.console.print(self._title, highlight=False, soft_wrap=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last table on the screen."""
        if self._live:
            self._live.stop()

    def show(self, tasks: Iterable[TaskProgress]) -> None:
        """Bring the screen up to date."""
        tasks = list(tasks)
        if self._live:
            self._live.update(_table(self._title, tasks))
            return
        for task in tasks:
            self._say(task)

    def _say(self, task: TaskProgress) -> None:
        """Print a task when its state or try changes, and now and then while it reports progress."""
        now = time.monotonic()
        changed = self._said.get(task.task_id, ("waiting", 0)) != (task.state, task.tries)
        due = task.step is not None and now - self._said_at.get(task.task_id, 0) >= _PLAIN_SECONDS
        if task.state in ("waiting", "queued", "scheduled") or not (changed or (due and not task.is_finished)):
            return
        self._said[task.task_id] = (task.state, task.tries)
        self._said_at[task.task_id] = now
        self.console.print(
            f"{task.task_id:<20} {task.state:<16} {task.seconds:7.1f} s  {_note(task)}".rstrip(),
            highlight=False,
            soft_wrap=True,
        )


def _table(title: str, tasks: Iterable[TaskProgress]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in ("task", "state"):
        table.add_column(name)
    table.add_column("seconds", justify="right")
    table.add_column("", min_width=50)
    for task in tasks:
        style = _STYLES.get(task.state, "")
        seconds = f"{task.seconds:.1f}" if task.seconds else ""
        table.add_row(task.task_id, Text(task.state, style=style), seconds, _detail(task))
    return table


def _detail(task: TaskProgress) -> Table | str:
    if task.step is None or task.is_finished:
        return _note(task)
    detail = Table.grid(padding=(0, 1))
    detail.add_row(ProgressBar(total=task.step.total, completed=task.step.done, width=24), _note(task))
    return detail


def _note(task: TaskProgress) -> str:
    parts = []
    if task.instances > 1:
        parts.append(f"{task.finished} of {task.instances} groups")
    if task.tries > 1:
        parts.append(f"try {task.tries}")
    if task.step is not None and not task.is_finished:
        parts.append(_count(task.step))
    return ", ".join(parts)


def _count(step: Step) -> str:
    if step.note.startswith("bytes"):  # copies name each piece by its digest: of no use to a person
        return f"{step.done / 1e6:.1f}/{step.total / 1e6:.1f} MB"
    return f"{step.done}/{step.total} {step.note}".rstrip()
