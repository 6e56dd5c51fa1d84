"""A real browser without a screen: Debian's chromium and chromium-driver, or those that two variables name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from fastapi import FastAPI

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM, DRIVER = "NIGHTSHIFT_CHROMIUM", "NIGHTSHIFT_CHROMEDRIVER"
"""Variables with the paths of both programs, where they are not on the PATH."""
WIDE, NARROW = 1100, 380
PLUGIN = Path(__file__).resolve().parents[1] / "plugins" / "nightshift_ui"
SERIOUS = ("serious", "critical")


def open_browser() -> Chrome:
    """Return a browser; the test is skipped, with the reason, where there is none."""
    pytest.importorskip("selenium", reason="selenium is not installed: make setup")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    chromium = os.environ.get(CHROMIUM) or shutil.which("chromium")
    driver = os.environ.get(DRIVER) or shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no browser here: Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    browser.set_window_size(WIDE, 900)
    browser.set_script_timeout(60)
    return browser


def use_dark(browser: Chrome, is_dark: bool) -> None:
    """Have the browser prefer dark pages, or light ones."""
    features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def faults(browser: Chrome) -> list[str]:
    """Return the serious faults of accessibility that axe-core finds on the page, and where."""
    import axe_core_python

    browser.execute_script((Path(axe_core_python.__file__).parent / "axe.min.js").read_text())
    found: dict[str, Any] = browser.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
    assert found["passes"], "no rule had anything to look at"
    return [
        f"{one['id']}: {one['help']}: {json.dumps([node['html'][:160] for node in one['nodes'][:3]])}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]


def complaints(browser: Chrome) -> list[str]:
    """Return what the browser's console says went wrong since it was asked last: a broken policy, a missing file."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def keep_picture(browser: Chrome, name: str) -> None:
    """Put a picture of the whole page into the folder that `NIGHTSHIFT_PICTURES` names, if any: see `make pictures`."""
    folder = os.environ.get("NIGHTSHIFT_PICTURES")
    if folder:
        width, height = browser.get_window_size()["width"], browser.execute_script("return document.body.scrollHeight")
        browser.set_window_size(width, min(height + 150, 5000))
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))
        (Path(folder) / "taken").write_text(f"{digest_of_the_page()}\n")
        browser.set_window_size(width, 900)


def digest_of_the_page() -> str:
    """Return what the page looks like, as a digest of its templates and styles."""
    parts = [path for part in ("templates", "static") for path in sorted((PLUGIN / part).iterdir()) if path.is_file()]
    return hashlib.sha256(b"".join(path.read_bytes() for path in parts)).hexdigest()


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Serve an application on loopback until the block ends; give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
