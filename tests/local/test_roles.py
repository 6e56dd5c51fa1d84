"""Who may do what: the table of docs/roles.md, tried line by line against a real API server."""

from __future__ import annotations

import json
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from operators.cli import main
from operators.local.layout import HOME_VARIABLE, REPOSITORY
from tests.airflow_database import AirflowDatabase
from tests.local import api_server
from tests.local.api_server import ApiServer

pytestmark = pytest.mark.integration
ROLES = ("viewer", "operator", "admin")
DAG_ID, RUN_ID, DIGEST = "retrain_mail_triage", "of-before", "a" * 64
Action = Callable[[httpx.Client, str], httpx.Response]


def trigger(client: httpx.Client, dag_id: str, **conf: str) -> httpx.Response:
    """Start a run."""
    body = {"logical_date": None, "conf": conf, "dag_run_id": f"test-{uuid.uuid4()}"}
    return client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)


def approve(client: httpx.Client, run_id: str) -> httpx.Response:
    """Answer a task that asks."""
    path = f"/api/v2/dags/{DAG_ID}/dagRuns/{run_id}/taskInstances/approve/-1/hitlDetails"
    return client.patch(path, json={"chosen_options": ["Approve"], "params_input": {}})


def back_fill(client: httpx.Client, _: str) -> httpx.Response:
    """Ask for a day."""
    day = "2002-09-20T00:00:00Z"
    return client.post(
        "/api/v2/backfills", json={"dag_id": DAG_ID, "from_date": day, "to_date": day, "dag_run_conf": {}}
    )


def clear(client: httpx.Client, _: str) -> httpx.Response:
    """Have a task run again."""
    body = {"dry_run": False, "dag_run_id": RUN_ID, "task_ids": ["discover"], "only_failed": False}
    return client.post(f"/api/v2/dags/{DAG_ID}/clearTaskInstances", json=body)


def make_connection(client: httpx.Client, role: str) -> httpx.Response:
    """Have a connection there."""
    body = {"connection_id": f"of_{role}", "conn_type": "generic", "password": "p"}
    return client.post("/api/v2/connections", json=body)


OPEN, READ, SEE = (
    "open the page of the morning, and every page behind it",
    "read runs, logs and what tasks returned",
    ("see a connection"),
)
ACTIONS: dict[str, list[Action]] = {
    READ: [
        lambda client, _: client.get(f"/api/v2/dags/{DAG_ID}/dagRuns"),
        lambda client, _: client.get(f"/api/v2/dags/{DAG_ID}/dagRuns/{RUN_ID}/taskInstances/discover/logs/1"),
        lambda client, _: client.get(f"/api/v2/dags/{DAG_ID}/dagRuns/{RUN_ID}/taskInstances/discover/xcomEntries"),
    ],
    "trigger a retraining": [lambda client, _: trigger(client, DAG_ID)],
    "backfill days": [back_fill],
    "clear a task, so that it goes on": [clear],
    "pause a DAG": [lambda client, _: client.patch(f"/api/v2/dags/{DAG_ID}", json={"is_paused": True})],
    "approve a release": [approve],
    "approve a release of a recipe that names others as its approvers": [lambda c, role: approve(c, f"named-{role}")],
    "roll a release back": [lambda client, _: trigger(client, "roll_back_release", recipe="mail_triage")],
    "back up, scrub, drill": [
        lambda client, _: trigger(client, "back_up_platform"),
        lambda client, _: trigger(client, "scrub_storage"),
        lambda client, _: trigger(client, "recovery_drill"),
    ],
    "restore, collect garbage": [
        lambda client, _: trigger(client, "restore_platform"),
        lambda client, _: trigger(client, "collect_garbage"),
    ],
    SEE: [lambda client, _: client.get("/api/v2/connections")],
    "change a connection, a variable or a pool": [
        make_connection,
        lambda client, role: client.post("/api/v2/variables", json={"key": f"of-{role}", "value": "v"}),
        lambda client, role: client.post("/api/v2/pools", json={"name": f"of-{role}", "slots": 1}),
    ],
}


def table() -> dict[str, dict[str, bool]]:
    """Return what the page says that each role may do, by action."""
    rows = re.findall(
        r"^\| (.+?) \| (yes|no) \| (yes|no) \| (yes|no) \|$", (REPOSITORY / "docs/roles.md").read_text(), re.M
    )
    return {name: dict(zip(ROLES, (word == "yes" for word in words), strict=True)) for name, *words in rows}


def routes() -> list[str]:
    """Return an address of each route of the plugin."""
    from nightshift_ui.plugin import NightshiftPlugin

    [mounted] = NightshiftPlugin.fastapi_apps
    paths = [route.path for route in mounted["app"].routes if isinstance(route, APIRoute)]
    filled = [re.sub(r"{digests?}", DIGEST, path).replace("{name}", "report.html") for path in paths]
    return [f"{mounted['url_prefix']}{path}" for path in filled]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """A server whose database holds a run of the main job, and tasks that ask for approval."""
    with tempfile.TemporaryDirectory(prefix="ns-") as folder:
        started = api_server.start(Path(folder) / "h")
        database = AirflowDatabase(started.layout.airflow_database)
        for run_id in (RUN_ID, *ROLES, *(f"named-{role}" for role in ROLES)):
            database.add_run(DAG_ID, run_id)
            database.add_task(DAG_ID, run_id, "discover")
            asks = database.add_task(DAG_ID, run_id, "approve", "awaiting_input")
            database.ask(asks, "Release it?", only="somebody-else" if "named" in run_id else None)
        database.session.commit()
        database.close()
        try:
            yield started
        finally:
            started.stop()


def test_the_table_names_each_action_that_is_tried() -> None:
    """And none that is not."""
    assert set(table()) == {OPEN, *ACTIONS}


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_what_the_table_says_and_no_more(server: ApiServer, role: str) -> None:
    """Refused is refused by Airflow's word for it, and what is allowed happens."""
    with server.client(role) as client:
        answers = {name: [action(client, role) for action in ACTIONS[name]] for name in ACTIONS}
    for name, expected in table().items():
        for answer in answers.get(name, []):
            said = f"{role}: {name}: {answer.status_code} {answer.text[:300]}"

            assert (
                answer.status_code < 300 or answer.status_code == 409 if expected[role] else answer.status_code == 403
            ), said


@pytest.mark.parametrize("role", [None, *ROLES])
def test_each_page_is_open_to_each_role_and_to_nobody_else(server: ApiServer, role: str | None) -> None:
    """There is no store here, so that most say what they miss: nobody without a login is told even that."""
    with server.client(role) as client:
        answers = {path: client.get(path).status_code for path in routes()}

    assert len(answers) >= 9
    if role is None:
        assert set(answers.values()) == {401}
    else:
        assert answers["/nightshift/"] == 200
        assert set(answers.values()) <= {200, 404, 503}


def test_without_a_login_nothing_is_done(server: ApiServer) -> None:
    """Each action is refused before anything else is looked at."""
    with server.client(None) as client:
        answers = {name: [action(client, "viewer").status_code for action in ACTIONS[name]] for name in ACTIONS}

    assert {status for listed in answers.values() for status in listed} == {401}


def test_a_machine_has_a_token_until_it_is_ended(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`nightshift token` gives it, it may do what its login may, and a logout with it is its end."""
    monkeypatch.setenv(HOME_VARIABLE, str(server.layout.home))
    assert main(["token", server.logins["viewer"].name, "--json"]) == 0
    with server.client(None) as client:
        client.headers["Authorization"] = f"Bearer {json.loads(capsys.readouterr().out)['token']}"
        before, refused = client.get("/api/v2/dags").status_code, trigger(client, DAG_ID).status_code
        client.get("/api/v2/auth/logout")
        after = client.get("/api/v2/dags").status_code

    assert (before, refused, after) == (200, 403, 403)


def test_a_login_that_is_made_while_the_platform_runs_is_known_when_the_command_ends(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may do at once what its role may, and nothing once it is removed."""
    monkeypatch.setenv(HOME_VARIABLE, str(server.layout.home))
    assert main(["login", "eve", "--role", "viewer", "--json"]) == 0
    login = {"username": "eve", "password": json.loads(capsys.readouterr().out)["password"]}
    with server.client(None) as client:
        given = client.post("/auth/token", json=login).json()["access_token"]
        client.headers["Authorization"] = f"Bearer {given}"
        seen = client.get("/api/v2/dags").status_code
        assert main(["login", "eve", "--remove"]) == 0

        assert (seen, client.post("/auth/token", json=login).status_code) == (200, 401)


def test_a_token_of_nobody_is_refused(server: ApiServer) -> None:
    """A wrong password opens nothing."""
    with server.client(None) as client:
        login = {"username": server.logins["admin"].name, "password": "guessed"}

        assert client.post("/auth/token", json=login).status_code == 401
