"""Who may see what: every route asks for the login and the role, and none of them acts."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from nightshift_ui.app import build_app

from operators.core.overview.runs import Run
from operators.overview import Overview
from tests.plugins.conftest import app_of, as_role, sources_of

# Great Expectations, which makes the night's data set, imports a module that Python has given up.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")


def paths(app: FastAPI) -> list[APIRoute]:
    """Return the routes of the mounted pages."""
    pages = next(route.app for route in app.routes if getattr(route, "path", "") == "/nightshift")
    return [route for route in pages.routes if isinstance(route, APIRoute)]


def address(route: APIRoute, digest: str) -> str:
    """Return an address of a route, its parameters filled in."""
    filled = route.path.replace("{digests}", digest).replace("{digest}", digest).replace("{name}", "report.html")
    return f"/nightshift{filled}"


def test_every_route_asks_for_the_login(app: FastAPI, run: Run) -> None:
    """Airflow mounts the apps of plugins open: without a login each of ours refuses, whatever else it would say."""
    client = as_role(app, None)
    digest = run.digest("evaluate") or ""

    answers = {route.path: client.get(address(route, digest)).status_code for route in paths(app)}

    assert len(answers) >= 8
    assert set(answers.values()) == {401}


def test_a_forged_token_is_refused(app: FastAPI) -> None:
    """A cookie that nobody signed opens nothing."""
    client = as_role(app, None)
    client.cookies.set("_token", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.")

    assert client.get("/nightshift/").status_code in (401, 403)


def test_somebody_without_a_role_sees_nothing(app: FastAPI, run: Run) -> None:
    """A login alone is not enough: each route asks Airflow whether the user may see runs."""
    client = as_role(app, "")

    assert {client.get(address(route, run.digest("gate") or "")).status_code for route in paths(app)} == {403}


def test_no_route_changes_anything(app: FastAPI, run: Run) -> None:
    """There is nothing to forge a request for: whatever acts is a form of Airflow's own."""
    admin = as_role(app, "admin")

    assert {method for route in paths(app) for method in route.methods} == {"GET"}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert admin.request(method, "/nightshift/").status_code == 405


def test_a_viewer_sees_and_an_operator_may_also_start(app: FastAPI) -> None:
    """The way to the trigger form is shown to whom Airflow would let trigger."""
    seen = {role: as_role(app, role).get("/nightshift/").text for role in ("viewer", "user", "admin")}

    assert {role: "Run it again" in text for role, text in seen.items()} == {
        "viewer": False,
        "user": True,
        "admin": True,
    }
    assert "Retrain tiny" in seen["viewer"]


def test_the_pages_describe_themselves_to_nobody(app: FastAPI) -> None:
    """No schema and no interactive documentation, which FastAPI would serve to anybody."""
    client = as_role(app, None)

    assert {client.get(f"/nightshift/{name}").status_code for name in ("openapi.json", "docs", "redoc")} == {404}


def test_every_answer_carries_the_strict_policy(app: FastAPI, run: Run) -> None:
    """No script runs, nothing is fetched from elsewhere, no other page frames ours: refusals too."""
    client = as_role(app, "viewer")
    answers = [client.get(address(route, run.digest("gate") or "")) for route in paths(app)]
    answers += [client.get("/nightshift/nothing"), as_role(app, None).get("/nightshift/")]

    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_no_page_holds_a_script_or_a_foreign_address(app: FastAPI, run: Run) -> None:
    """What the policy forbids is not even there."""
    client = as_role(app, "user")
    release = run.digest("deploy")
    for path in ("/", f"/manifest/{release}", f"/lineage/{release}", f"/quarantine/{release}"):
        text = client.get(f"/nightshift{path}").text

        assert "<script" not in text
        assert " style=" not in text
        assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in text


def test_only_reports_are_shown_of_a_manifests_files(app: FastAPI, run: Run) -> None:
    """Shards and models are no pages; neither is a path."""
    client = as_role(app, "admin")
    dataset = run.digest("publish_dataset")
    for name in ("train/00000.parquet", "..%2f..%2fidentity.json", "selection.json"):
        assert client.get(f"/nightshift/report/{dataset}/{name}").status_code == 404
    for digest in ("...", "latest:release-tiny", "A" * 64, "a" * 63, "%3Cscript%3E"):
        assert client.get(f"/nightshift/manifest/{digest}").status_code == 404


def test_the_data_docs_of_great_expectations_cannot_run_anything(storage_settings, store, tmp_path) -> None:
    """A page that another renderer made is from nowhere to the browser: no script, no cookie."""
    (tmp_path / f"2002-09-26.{'d' * 64}.html").write_text("<script>alert(1)</script>the page")
    client = as_role(app_of(storage_settings, docs=tmp_path), "viewer")

    answer = client.get(f"/nightshift/site/{'d' * 64}")

    assert "the page" in answer.text
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "allow-scripts" not in answer.headers["Content-Security-Policy"]
    assert client.get(f"/nightshift/site/{'e' * 64}").status_code == 404


def test_the_plugin_stands_in_the_navigation() -> None:
    """Airflow finds one app, guarded, and one entry whose script is a route of that app."""
    from nightshift_ui.plugin import NightshiftPlugin

    [mounted], [entry] = NightshiftPlugin.fastapi_apps, NightshiftPlugin.react_apps

    assert entry["bundle_url"].removeprefix(mounted["url_prefix"]) in {route.path for route in mounted["app"].routes}
    assert entry["nav_top_level"]
    assert mounted["app"].openapi_url is None


def test_nothing_is_read_before_somebody_asks(storage_settings) -> None:
    """The API server starts also while the store, or its connection, is not there."""

    def fail():
        raise AssertionError("asked at once")

    import dataclasses

    sources = dataclasses.replace(sources_of(storage_settings), store=fail, backup=fail, serving=fail, prices=fail)
    assert build_app(Overview(sources)).routes
