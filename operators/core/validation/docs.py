"""Data Docs: reports as pages for people, rendered by Great Expectations from counts alone."""

from __future__ import annotations

import functools
import html
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from operators.core.manifest import DIGEST_PATTERN
from operators.core.storage import Result, Store
from operators.core.validation.validate import REPORT_NAME

_FOREIGN = re.compile(r"<script[^>]*\bsrc=[^>]*>\s*</script>|<link[^>]*\bhref=[^>]*>")
"""Scripts and styles that the page would fetch from elsewhere: charts, which a report of counts has none of."""


def write_page(store: Store, result: Result, folder: Path) -> None:
    """Have a page in a folder for the validation of a file; one that exists is left alone, its name is its digest.

    Args:
        store: Where the report is.
        result: A result of `validate_file`.
        folder: The site; created if missing.
    """
    page = folder / f"{result.manifest.spec['day']}.{result.digest}.html"
    if not page.is_file():
        _write(page, render_page(json.loads(store.read(result.manifest.file(REPORT_NAME)))))


def write_index(folder: Path) -> None:
    """Have an index of all pages of a folder, newest day first."""
    _write(folder / "index.html", _index(folder))


def render_page(report: dict[str, Any]) -> str:
    """Return a report as Great Expectations renders one of its own. It holds what the report holds: no values."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.render.renderer import ValidationResultsPageRenderer

    results = []
    for item in report["expectations"]:
        column = {"column": item["column"]} if item["column"] else {}
        configuration = ExpectationConfiguration(type=item["kind"], kwargs={**item["arguments"], **column})
        results.append(
            ExpectationValidationResult(
                success=item["success"],
                expectation_config=configuration,
                result=dict(item["counts"]),
                exception_info={"raised_exception": False, "exception_message": None, "exception_traceback": None},
            )
        )
    passed = sum(result.success for result in results)
    suite = ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=report["path"],
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": passed,
            "unsuccessful_expectations": len(results) - passed,
            "success_percent": 100 * passed / len(results),
        },
        meta={"active_batch_definition": {"data_asset_name": report["path"]}},
    )
    page = str(_view().render(ValidationResultsPageRenderer().render(suite)))
    return _FOREIGN.sub("", page)


@functools.cache
def _view() -> Any:
    """Return one view for all pages: each new one compiles its templates again, 0.3 s of a page's 0.35."""
    from great_expectations.render.view import DefaultJinjaPageView

    return DefaultJinjaPageView()


def _index(folder: Path) -> str:
    names = (path.name.split(".") for path in folder.glob("*.html"))
    pages = sorted((name for name in names if len(name) == 3 and DIGEST_PATTERN.fullmatch(name[1])), reverse=True)
    items = "\n".join(
        f'<li><a href="{html.escape(".".join(name))}">{html.escape(name[0])}</a> {name[1][:12]}' for name in pages
    )
    return f"<!doctype html>\n<title>Data Docs</title>\n<h1>Validated source files</h1>\n<ul>\n{items}\n</ul>\n"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False, encoding="utf-8") as handle:
        handle.write(text)
    # Two groups may write the index at once: whole files only, the later one lists both.
    Path(handle.name).replace(path)
