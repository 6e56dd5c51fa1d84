"""Links on tasks: each leads to the page of what the task returned, and to none before that."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from fastapi.routing import APIRoute
from nightshift_ui import links
from nightshift_ui.links import CONTROLLERS, LINKS, STAGES, AccountLink, LineageLink, ManifestLink, ReportLink

from operators.pipelines import digests_in
from operators.stage import StageOperator
from tests.plugins.conftest import app_of

ONE, OTHER = "a" * 64, "b" * 64


def stages(kind: type) -> set[type]:
    """Return every class below a class."""
    return {kind}.union(*(stages(one) for one in kind.__subclasses__())) if kind.__subclasses__() else {kind}


def addresses(kind: str, digests: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return what each link says on a task of an operator that returned these."""
    monkeypatch.setattr(links, "returned", lambda _: digests)
    operator = SimpleNamespace(task_type=kind)
    shown = [link for link in LINKS if kind in {one.__name__ for one in link.operators}]
    return {link.name: link.get_link(operator, ti_key=None) for link in shown}


def test_every_stage_has_a_manifest_an_account_and_a_lineage() -> None:
    """A new operator that is not on the list would have no links; those that only share code are no tasks."""
    concrete = {kind for kind in stages(StageOperator) if not getattr(kind, "__abstractmethods__", None)}

    assert {kind.__name__ for kind in concrete} == {kind.__name__ for kind in STAGES}
    for link in (ManifestLink, LineageLink):
        assert {*STAGES, *CONTROLLERS} == set(link.operators)
    assert set(AccountLink.operators) == set(STAGES)


def test_links_lead_to_pages_that_there_are(monkeypatch: pytest.MonkeyPatch, storage_settings, store) -> None:
    """Whatever a link says is a route of ours."""
    app = app_of(storage_settings)
    pages = next(route.app for route in app.routes if getattr(route, "path", "") == "/nightshift")
    routes = [route for route in pages.routes if isinstance(route, APIRoute)]
    for kind in (*STAGES, *CONTROLLERS):
        for address in addresses(kind.__name__, [ONE], monkeypatch).values():
            path = unquote(address.split("#")[0]).removeprefix("/nightshift")

            assert [route for route in routes if route.path_regex.fullmatch(path)], address


def test_a_report_is_what_people_read_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation's page, the Data Docs, the rows held back, the drift; a training has none."""
    reports = {
        kind: addresses(kind, [ONE], monkeypatch).get("Report")
        for kind in (
            "EvaluateOperator",
            "ValidateOperator",
            "PublishDatasetOperator",
            "CheckDriftOperator",
            "TuneOperator",
        )
    }

    assert reports == {
        "EvaluateOperator": f"/nightshift/report/{ONE}/report.html",
        "ValidateOperator": f"/nightshift/docs/{ONE}",
        "PublishDatasetOperator": f"/nightshift/quarantine/{ONE}",
        "CheckDriftOperator": f"/nightshift/report/{ONE}/drift.json",
        "TuneOperator": None,
    }
    assert len(ReportLink.operators) == 5


def test_a_task_that_returned_nothing_has_no_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow greys out a button whose address is empty."""
    assert set(addresses("EvaluateOperator", [], monkeypatch).values()) == {""}


def test_several_manifests_are_shown_on_one_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a task lists of groups is one click away."""
    assert addresses("DiscoverOperator", [ONE, OTHER], monkeypatch)["Manifest"] == f"/nightshift/manifest/{ONE}.{OTHER}"


@pytest.mark.parametrize(
    ("value", "digests"),
    [
        (f'"{ONE}"', [ONE]), (ONE, [ONE]), (f'["{ONE}", "{OTHER}"]', [ONE, OTHER]), ([ONE], [ONE]),
        ("not json", []), ('"../../etc"', []), (None, []), (7, []), ({"a": ONE}, []),
    ],
)  # fmt: skip
def test_only_digests_are_believed_of_what_a_task_returned(value: object, digests: list[str]) -> None:
    """An XCom that somebody wrote through the API leads nowhere else."""
    assert digests_in(value) == digests
