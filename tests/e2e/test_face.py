"""The page of the morning in the real Airflow, after a real run."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import httpx
import pytest

from operators.local import airflow, ports
from operators.local.credentials import load_credentials
from tests.browser import complaints, faults, keep_picture, open_browser
from tests.e2e.bed import DAG_ID, Bed

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
Found = TypeVar("Found")
ROUTES = (
    "",
    "style.css",
    "entry.js",
    "manifest/{}",
    "lineage/{}",
    "quarantine/{}",
    "docs/{}",
    "site/{}",
    "report/{}/report.html",
)


def address_of(bed: Bed) -> str:
    """Return where its Airflow is."""
    return airflow.ui_url(ports.load(bed.layout))


def token_of(bed: Bed) -> str:
    """Return what its user's browser has after the login."""
    credentials = load_credentials(bed.layout)
    login = {"username": credentials.ui_user, "password": credentials.ui_password}
    return str(httpx.post(f"{address_of(bed)}/auth/token", json=login, trust_env=False).json()["access_token"])


def wait_for(find: Callable[[], Found], seconds: float = 60.0) -> Found:
    """Return what is found once it is there: Airflow's own pages are drawn by scripts."""
    deadline = time.monotonic() + seconds
    while not (found := find()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.3)
    return found


def page_within(bed: Bed, words: str, seconds: float = 60.0) -> tuple[str, float]:
    """Return the page once it says something, and how long that page took."""
    with httpx.Client(headers={"Authorization": f"Bearer {token_of(bed)}"}, trust_env=False, timeout=60) as client:

        def ask() -> tuple[str, float] | None:
            begun = time.perf_counter()
            text = client.get(f"{address_of(bed)}/nightshift/").text
            return (text, time.perf_counter() - begun) if words in text else None

        return wait_for(ask, seconds)


def test_without_a_login_every_page_is_refused(bed: Bed, first: dict[str, Any]) -> None:
    """As Airflow mounts them: the digest is a real one, and nobody is told anything of it."""
    for route in ROUTES:
        path = route.format(first["release"]["manifest"])

        assert httpx.get(f"{address_of(bed)}/nightshift/{path}", trust_env=False).status_code == 401, path
    assert httpx.get(f"{address_of(bed)}/nightshift/openapi.json", trust_env=False).status_code == 404


def test_a_click_in_the_navigation_and_one_to_the_run(bed: Bed, first: dict[str, Any]) -> None:
    """From Airflow's navigation to the page, from its verdict to the run, from a task to its manifest."""
    browser: Chrome = open_browser()
    try:
        browser.get(f"{address_of(bed)}/auth/login")
        browser.add_cookie({"name": "_token", "value": token_of(bed)})
        browser.get(f"{address_of(bed)}/")
        entry = wait_for(lambda: browser.find_elements("css selector", 'a[href$="/plugin/nightshift"]'))[0]
        page_within(bed, first["release"]["version"])
        complaints(browser)
        entry.click()
        wait_for(lambda: urlsplit(browser.current_url).path == "/nightshift/")
        keep_picture(browser, "morning")

        assert first["release"]["version"] in browser.page_source
        assert faults(browser) == []
        assert complaints(browser) == []

        browser.find_element("css selector", ".verdict a").click()
        wait_for(lambda: browser.find_elements("partial link text", "publish_dataset"))
        keep_picture(browser, "run")
        assert urlsplit(browser.current_url).path == f"/dags/{DAG_ID}/runs/{quote(first['run_id'], safe='')}"

        browser.get(f"{browser.current_url}/tasks/publish_dataset/details")
        button = wait_for(lambda: browser.find_elements("link text", "Manifest"))[0]
        assert button.get_attribute("href").endswith(f"/nightshift/manifest/{first['dataset']['manifest']}")
        keep_picture(browser, "task")
    finally:
        browser.quit()


def test_with_an_endpoint_away_the_page_is_there_and_names_it(bed: Bed, first: dict[str, Any]) -> None:
    """A dead S3 server costs the page no more than it agreed to wait."""
    page_within(bed, first["release"]["version"])
    primary = bed.store().record.primary
    away = next(name for name in bed.store().record.names if name != primary)
    bed.supervisor.stop([away])
    try:
        page, took = page_within(bed, f"Endpoint {away} is away or does not count.")

        assert first["release"]["version"] in page
        assert "2 of 3 count" in page
        assert took < 3.0, took
    finally:
        bed.supervisor.start([away])
