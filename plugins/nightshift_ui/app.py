"""The pages: each asks for the login and for the right to see runs; none of them changes anything."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import get_user, requires_access_dag, requires_access_view
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from nightshift_ui.pages import Pages
from operators.core.errors import DataError
from operators.core.manifest import check_digest
from operators.core.overview.runs import Pipeline
from operators.overview import Overview

STATIC = Path(__file__).with_name("static")
A_WHILE = {"Cache-Control": "private, max-age=3600"}
"""Of what changes with a release only, and must not be asked for with every page."""

MOST_DIGESTS = 8
"""That a task returns at most."""

REPORTS = ("report.html", "report.json", "drift.json")
"""Files of manifests that hold figures for people, and no rows."""

POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
FOREIGN_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; sandbox"
)
"""Of pages that others rendered: nothing of theirs runs, and the browser treats them as from nowhere."""

HEADERS = {
    "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_NOT_THERE = ("DataError", "AllCopiesDamaged")
"""Errors that no waiting mends: it is something else, or nowhere."""

User = Annotated[BaseUser, Depends(get_user)]
GUARDS = [
    Depends(get_user),
    Depends(requires_access_view(AccessView.PLUGINS)),
    Depends(requires_access_dag("GET", DagAccessEntity.RUN)),
]


def known_pipelines(user: BaseUser) -> list[Pipeline]:
    """Return the DAGs that a user may see, with their newest runs."""
    from airflow.utils.session import create_session

    from operators.pipelines import read_pipelines

    with create_session() as session:
        allowed = get_auth_manager().get_authorized_dag_ids(user=user, session=session)
        return read_pipelines(session, allowed)


def may_trigger(user: BaseUser, dag_id: str) -> bool:
    """Say whether a user may start runs of a DAG."""
    return get_auth_manager().is_authorized_dag(
        method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )


def build_app(
    overview: Overview,
    pipelines: Callable[[BaseUser], list[Pipeline]] = known_pipelines,
    data_docs: Callable[[], Path] | None = None,
) -> FastAPI:
    """Return the application of all pages.

    Args:
        overview: Reads the store, the servers and the backups.
        pipelines: Reads Airflow's database for a user.
        data_docs: Finds the folder of the Data Docs site; None asks the connection.
    """
    app = FastAPI(title="Nightshift", openapi_url=None, dependencies=GUARDS)
    app.middleware("http")(_with_headers)
    app.add_exception_handler(StarletteHTTPException, _refusal)
    _add_overview(app, overview, pipelines)
    _add_manifests(app, overview)
    _add_reports(app, overview, data_docs or _data_docs)
    return app


def _add_overview(app: FastAPI, overview: Overview, pipelines: Callable[[BaseUser], list[Pipeline]]) -> None:
    @app.get("/", response_class=HTMLResponse)
    def page(request: Request, user: User) -> str:
        found = pipelines(user)
        now = datetime.datetime.now(datetime.UTC)
        startable = {one.dag_id for one in found if may_trigger(user, one.dag_id)}
        return Pages(request, user).overview(overview.page(found, now), found, startable)

    @app.get("/style.css")
    def style() -> Response:
        return Response((STATIC / "style.css").read_bytes(), media_type="text/css", headers=A_WHILE)

    @app.get("/entry.js")
    def entry() -> Response:
        return Response((STATIC / "entry.js").read_bytes(), media_type="text/javascript", headers=A_WHILE)


def _add_manifests(app: FastAPI, overview: Overview) -> None:
    from operators.core.overview import looking

    @app.get("/manifest/{digests}", response_class=HTMLResponse)
    def manifest(request: Request, user: User, digests: str) -> str:
        wanted = _digests(digests)
        # Fresh for a moment only: each run that finds the manifest adds an account.
        parts = [overview.read(("look", one), partial(looking.look, digest=one), fresh_seconds=5) for one in wanted]
        return Pages(request, user).manifests([_shown(part) for part in parts])

    @app.get("/lineage/{digest}", response_class=HTMLResponse)
    def lineage(request: Request, user: User, digest: str) -> str:
        from operators.core.overview.lineage import draw

        [wanted] = _digests(digest, most=1)
        return Pages(request, user).lineage(
            wanted, _shown(overview.read(("lineage", wanted), partial(draw, root=wanted)))
        )

    @app.get("/quarantine/{digest}", response_class=HTMLResponse)
    def quarantine(request: Request, user: User, digest: str) -> str:
        [wanted] = _digests(digest, most=1)
        held = overview.read(("quarantine", wanted), partial(looking.held_back, digest=wanted))
        return Pages(request, user).quarantine(wanted, _shown(held))


def _add_reports(app: FastAPI, overview: Overview, data_docs: Callable[[], Path]) -> None:
    from operators.core.overview import looking

    @app.get("/docs/{digests}", response_class=HTMLResponse)
    def docs(request: Request, user: User, digests: str) -> str:
        wanted = _digests(digests)
        found = _shown(overview.read(("docs", *wanted), partial(looking.validation, digests=wanted)))
        return Pages(request, user).docs(wanted[0], found)

    @app.get("/site/{digest}", response_class=HTMLResponse)
    def site(digest: str) -> Response:
        [wanted] = _digests(digest, most=1)
        # The digest alone comes from the browser, and it holds hexadecimal digits alone.
        page = next(iter(data_docs().glob(f"*.{wanted}.html")), None)
        if page is None:
            raise HTTPException(404, "Great Expectations' own page of this file is not on this machine.")
        return _foreign(page.read_bytes())

    @app.get("/report/{digest}/{name}", response_class=HTMLResponse)
    def report(request: Request, user: User, digest: str, name: str) -> Response:
        [wanted] = _digests(digest, most=1)
        if name not in REPORTS:
            raise HTTPException(404, f"Of a manifest's files these are shown: {', '.join(REPORTS)}.")
        data = _shown(overview.read(("file", wanted, name), partial(looking.file, digest=wanted, name=name)))
        if name.endswith(".html"):
            return _foreign(data)
        return HTMLResponse(Pages(request, user).report(wanted, name, json.loads(data)))


def _digests(text: str, most: int = MOST_DIGESTS) -> list[str]:
    """Return the digests of an address, with dots between them."""
    listed = text.split(".")
    try:
        if len(listed) > most:
            raise DataError(f"{len(listed)} digests, at most {most} are shown")
        return [check_digest(one) for one in listed]
    except DataError as error:
        raise HTTPException(404, str(error)) from error


def _shown(part: Any) -> Any:
    """Return what was read; what was not is an answer that says why."""
    if part.is_known:
        return part.value
    if part.is_late:
        raise HTTPException(503, "The store has not answered yet. Reload the page in a moment.")
    raise HTTPException(404 if part.error.startswith(_NOT_THERE) else 503, part.error)


def _foreign(data: bytes) -> Response:
    return HTMLResponse(data, headers={"Content-Security-Policy": f"{FOREIGN_POLICY}; frame-ancestors 'none'"})


def _data_docs() -> Path:
    from operators import connections

    return connections.data_docs_folder()


async def _with_headers(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await go_on(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


async def _refusal(request: Request, error: Exception) -> Response:
    """Answer with a page that says what is wrong: with the way to the login where there is none."""
    assert isinstance(error, StarletteHTTPException)
    # Who has no login is refused the style too, so the page brings it, and the policy allows that one text.
    style = (STATIC / "style.css").read_text()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = HEADERS["Content-Security-Policy"].replace("style-src 'self'", f"style-src 'sha256-{digest}'")
    page = Pages(request, None).refusal(error.status_code, str(error.detail), style)
    headers = {**(error.headers or {}), "Content-Security-Policy": policy}
    return HTMLResponse(page, status_code=error.status_code, headers=headers)
