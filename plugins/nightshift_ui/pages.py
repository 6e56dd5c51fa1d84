"""Templates filled in: whatever a name or a report holds is shown as text."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nightshift_ui import words
from nightshift_ui.addresses import Addresses
from operators.core.overview.attention import Severity
from operators.core.overview.availability import EVERY_SECONDS
from operators.core.overview.lineage import NODE_HEIGHT, NODE_WIDTH, Drawing
from operators.core.overview.live import traffic
from operators.core.overview.page import Page
from operators.core.overview.runs import Pipeline

TONES = {Severity.NOTE: "", Severity.LOOK: "amber", Severity.ACT: "red"}
"""A figure has the colour of the need that is about it."""

QUIET = datetime.timedelta(days=2)
"""Without a run, after which nobody can speak of last night any more."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(
    duration=words.duration, age=words.age, size=words.size, energy=words.energy, share=words.share,
    instant=words.instant, pretty=words.pretty, plain=words.plain, uptime=words.uptime, shown=words.shown,
    tone=lambda severity: TONES[severity],
)  # fmt: skip


class Pages:
    """The pages as one request sees them."""

    def __init__(self, request: Request, user: BaseUser | None) -> None:
        self._to = Addresses(request.scope.get("root_path", ""))
        self._user = user

    def overview(self, page: Page, pipelines: Sequence[Pipeline], startable: Collection[str]) -> str:
        """Return the first page.

        Args:
            page: What is known.
            pipelines: The DAGs that the user may see.
            startable: Those that the user may start.
        """
        return self._fill(
            "overview.html",
            page=page,
            verdict=verdict(page),
            startable=startable,
            asleep=[one for one in pipelines if one.recipe and one.is_asleep],
            traffic=traffic,
            every_seconds=EVERY_SECONDS,
            Severity=Severity,
        )

    def manifests(self, looks: Sequence[Any]) -> str:
        """Return the page of one manifest, or of the few that a task returned."""
        return self._fill("manifest.html", looks=looks)

    def lineage(self, digest: str, drawing: Drawing) -> str:
        """Return the page of a manifest's ancestry."""
        return self._fill("lineage.html", digest=digest, drawing=drawing, width=NODE_WIDTH, height=NODE_HEIGHT)

    def quarantine(self, digest: str, held: Any) -> str:
        """Return the page of the rows that a data set does without."""
        return self._fill("quarantine.html", digest=digest, held=held)

    def docs(self, digest: str, found: Any) -> str:
        """Return the page of a validation, or of the first of several that are shown together."""
        return self._fill("docs.html", digest=digest, found=found)

    def report(self, digest: str, name: str, report: Any) -> str:
        """Return the page of a report that is a document."""
        return self._fill("report.html", digest=digest, name=name, report=report)

    def refusal(self, status: int, detail: str, style: str) -> str:
        """Return the page that says why there is none, with its style in it."""
        return self._fill("refusal.html", status=status, detail=detail, style=style)

    def _fill(self, template: str, **values: Any) -> str:
        name = self._user.get_name() if self._user is not None else None
        return _TEMPLATES.get_template(template).render(to=self._to, user=name, **values)


def verdict(page: Page) -> tuple[str, str]:
    """Return the night in one word for the style (`good`, `look`, `bad`, `none`) and in one sentence."""
    runs = [card.pipeline.newest for card in page.cards if card.pipeline.newest]
    failed, going = [run for run in runs if run.state == "failed"], [run for run in runs if not run.has_ended]
    asked = sum(need.severity is not Severity.NOTE for need in page.needs)
    things = f"{asked} thing{'' if asked == 1 else 's'} for you"
    if not runs and page.severity is Severity.NOTE:
        return "none", "Nothing has run yet"
    if failed:
        return "bad", f"The night failed: {things}"
    if page.severity is Severity.ACT:
        return "bad", f"Something is wrong: {things}"
    if going:
        return "look" if asked else "none", "The night is still at work" + (f": {things}" if asked else "")
    if asked:
        return "look", f"The night went well, with {things}"
    ended = max((run.ended_at for run in runs if run.ended_at), default=None)
    if ended and page.at - ended > QUIET:
        return "none", f"Nothing has run since {ended:%Y-%m-%d}"
    return "good", "A good night"
