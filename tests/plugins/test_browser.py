"""The pages in a real browser: clicked through as viewer and operator, in light and dark, wide and narrow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI, HTTPException, Request

from operators.core.overview.runs import Pipeline, Run
from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.scrubbing import STREAM as SCRUBS
from tests.browser import NARROW, WIDE, complaints, faults, keep_picture, open_browser, served, use_dark
from tests.core.erasure.nights import copy_of
from tests.core.overview.nights import DAG_ID, pipeline_of, run_of, task
from tests.plugins.conftest import app_of, server_that_says
from tests.plugins.test_pages import EVIL

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

# Great Expectations, which makes the night's data set, imports a module that Python has given up.
pytestmark = [pytest.mark.integration, pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Chrome]:
    """One browser for all tests."""
    opened = open_browser()
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def servers(night: StorageSettings, run: Run) -> Iterator[tuple[str, str]]:
    """Two servers that say they serve what is live."""
    version = open_store(night).manifest(run.digest("deploy") or "").facts["version"]
    with served(server_that_says(version)) as one, served(server_that_says(version)) as other:
        yield one, other


@pytest.fixture(scope="module")
def upkeep() -> tuple[Pipeline, ...]:
    """DAGs that keep the platform sound, after a run each."""
    done = run_of(task("done", "d" * 64))
    known = {"back_up_platform": "Back up the platform", "scrub_storage": "Scrub the store"}
    asked = Pipeline(dag_id="roll_back_release", title="Roll back a release")
    return (*(Pipeline(dag_id=name, title=title, runs=(done,)) for name, title in known.items()), asked)


def logged_in_by_cookie(request: Request) -> SimpleAuthManagerUser:
    """Return whom the cookie names: the pages are tested here, not Airflow's tokens."""
    role = request.cookies.get("role")
    if role is None:
        raise HTTPException(401, "Not authenticated")
    return SimpleAuthManagerUser(username=f"a {role}", role=role)


def for_cookies(app: FastAPI) -> FastAPI:
    """Have the cookie say who asks."""
    pages = next(route.app for route in app.routes if getattr(route, "path", "") == "/nightshift")
    pages.dependency_overrides[get_user] = logged_in_by_cookie
    return app


def enter(browser: Chrome, address: str, role: str) -> None:
    """Open the first page as somebody."""
    browser.get(f"{address}/nothing")
    browser.delete_all_cookies()
    browser.add_cookie({"name": "role", "value": role})
    complaints(browser)
    browser.get(f"{address}/nightshift/")


def headline(browser: Chrome) -> str:
    """Return what the page says first."""
    return browser.find_element("css selector", "h1").text


def test_a_viewer_clicks_from_the_verdict_to_the_roots(
    browser: Chrome, night: StorageSettings, run: Run, servers: tuple[str, str], upkeep: tuple[Pipeline, ...]
) -> None:
    """Lineage, manifest, data docs and rows held back are each a click away, and nothing offers to start a run."""
    earlier = (run_of(task("discover"), state=state) for state in ("success", "failed", "success"))
    app = app_of(night, pipeline_of(run, *earlier), *upkeep, servers=servers)
    with served(for_cookies(app)) as address:
        enter(browser, address, "viewer")
        keep_picture(browser, "good")
        said = headline(browser)
        offers = browser.find_elements("link text", "Run it again")
        trail = []
        for link, back in (("Lineage", False), ("Data Docs", True)):
            if back:
                browser.get(f"{address}/nightshift/")
            browser.find_element("link text", link).click()
            trail.append(headline(browser))
        browser.get(f"{address}/nightshift/")
        browser.find_element("link text", "Lineage").click()
        keep_picture(browser, "lineage")
        browser.find_elements("css selector", "svg.graph a")[1].click()
        trail.append(headline(browser))

        assert (said, offers) == ("A good night", [])
        assert trail == ["Lineage", "Data Docs", "gate"]
        assert complaints(browser) == []


def test_an_operator_is_led_to_the_form(browser: Chrome, night: StorageSettings, run: Run) -> None:
    """The button leads to the DAG's page in Airflow, where the form is."""
    with served(for_cookies(app_of(night, pipeline_of(run)))) as address:
        enter(browser, address, "user")
        button = browser.find_element("link text", "Run it again")

        assert urlsplit(button.get_attribute("href")).path == f"/dags/{DAG_ID}"


@pytest.mark.parametrize("is_dark", [False, True])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_no_page_has_a_serious_fault(
    browser: Chrome, night: StorageSettings, run: Run, is_dark: bool, width: int
) -> None:
    """By axe-core: contrast, names, order, landmarks; nothing needs a wider window than there is."""
    release, group, dataset = (run.digest(name) for name in ("deploy", "validate", "publish_dataset"))
    scrub = open_store(night).stream(SCRUBS).head().manifest
    paths = (
        "",
        f"report/{scrub}/report.json",
        f"manifest/{release}",
        f"lineage/{release}",
        f"docs/{group}",
        f"quarantine/{dataset}",
        "manifest/none",
    )
    with served(for_cookies(app_of(night, pipeline_of(run, run)))) as address:
        browser.set_window_size(width, 900)
        use_dark(browser, is_dark)
        enter(browser, address, "user")
        for path in paths:
            browser.get(f"{address}/nightshift/{path}")

            assert faults(browser) == [], path
            assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth"), path
        use_dark(browser, False)
        browser.set_window_size(WIDE, 900)


def test_who_is_not_logged_in_is_told_so_in_style(browser: Chrome, night: StorageSettings, run: Run) -> None:
    """The page of the refusal needs nothing else of ours, for all of it is refused; and it leads to the login."""
    with served(for_cookies(app_of(night, pipeline_of(run)))) as address:
        browser.get(f"{address}/nothing")
        browser.delete_all_cookies()
        complaints(browser)
        browser.get(f"{address}/nightshift/")
        button = browser.find_element("link text", "Log in")

        assert headline(browser) == "Please log in"
        assert button.value_of_css_property("display") == "inline-block"
        assert urlsplit(button.get_attribute("href")).path == "/auth/login"
        assert [one for one in complaints(browser) if "401" not in one] == []
        assert faults(browser) == []


def test_the_keyboard_reaches_what_the_mouse_does(browser: Chrome, night: StorageSettings, run: Run) -> None:
    """The first key press offers to skip to the content; every link and every fold is a stop on the way."""
    from selenium.webdriver import ActionChains, Keys

    with served(for_cookies(app_of(night, pipeline_of(run)))) as address:
        enter(browser, address, "user")
        stops = len(browser.find_elements("css selector", "a[href], summary"))
        seen = []
        for _ in range(stops):
            ActionChains(browser).send_keys(Keys.TAB).perform()
            seen.append(browser.switch_to.active_element.text)

        assert seen[:2] == ["Skip to the content", "Nightshift"]
        assert {"Lineage", "Data Docs", "Run it again", "Endpoints"} <= set(seen)


def test_a_failed_night_is_seen_at_once(
    browser: Chrome, night: StorageSettings, run: Run, servers: tuple[str, str], upkeep: tuple[Pipeline, ...]
) -> None:
    """Red, in words and in colour, with the failed task a click away."""
    tasks = (*run.tasks[:-1], task("deploy", state="failed", tries=6), task("back_up", state="upstream_failed"))
    failed = dataclasses.replace(run, state="failed", tasks=tasks)
    with served(for_cookies(app_of(night, pipeline_of(failed), *upkeep, servers=servers))) as address:
        enter(browser, address, "viewer")
        keep_picture(browser, "failed")
        verdict = browser.find_element("css selector", ".verdict")
        link = browser.find_element("partial link text", "deploy failed after 6 tries")

        assert headline(browser) == "The night failed: 1 thing for you"
        assert "bad" in verdict.get_attribute("class")
        assert urlsplit(link.get_attribute("href")).path.endswith("/tasks/deploy")
        assert faults(browser) == []


def test_names_that_are_scripts_run_nothing(browser: Chrome, storage_settings: StorageSettings, store: Store) -> None:
    """Of a DAG, a run and a task: letters on the page; no dialog opens, and the policy has nothing to forbid."""
    from selenium.common.exceptions import NoAlertPresentException

    evil = dataclasses.replace(run_of(task(EVIL, state="failed"), state="failed"), run_id=EVIL, dag_id=EVIL)
    with served(for_cookies(app_of(storage_settings, pipeline_of(evil, title=EVIL)))) as address:
        enter(browser, address, "user")

        with pytest.raises(NoAlertPresentException):
            browser.switch_to.alert.dismiss()
        assert EVIL in browser.find_element("css selector", ".needs li").text
        assert complaints(browser) == []


def test_with_an_endpoint_away_the_page_is_whole(
    browser: Chrome, night: StorageSettings, run: Run, servers: tuple[str, str], tmp_path: Path
) -> None:
    """The figures are there, and the endpoint is named first."""
    settings = copy_of(Path(night.endpoints[0].url.removeprefix("file://")).parent, tmp_path)
    primary = open_store(settings).record.primary
    name = next(one.name for one in settings.endpoints if one.name != primary)
    with served(for_cookies(app_of(settings, pipeline_of(run), servers=servers))) as address:
        (tmp_path / name).rename(tmp_path / "away")
        enter(browser, address, "viewer")
        keep_picture(browser, "away")
        need = browser.find_element("css selector", ".needs li")

        assert headline(browser) == "The night went well, with 1 thing for you"
        assert f"Endpoint {name} is away" in need.text
        assert faults(browser) == []


def test_with_nothing_run_yet_the_page_says_what_to_do(
    browser: Chrome, storage_settings: StorageSettings, store: Store
) -> None:
    """Calm, and one click from the first run."""
    with served(for_cookies(app_of(storage_settings, pipeline_of(is_paused=True)))) as address:
        enter(browser, address, "user")
        keep_picture(browser, "empty")

        assert headline(browser) == "Nothing has run yet"
        assert browser.find_elements("link text", "Retrain tiny")
        assert faults(browser) == []
        assert complaints(browser) == []
