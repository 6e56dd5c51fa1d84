"""What may be asked of the platform, judged before anything starts."""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

import pytest

from operators.local.job import Job, check_recipe, parameter, parse_day
from operators.local.layout import PlatformError


def test_a_recipe_that_is_there_passes():
    """The one of the main job is; its DAG is named after it."""
    check_recipe("mail_triage")

    assert Job(recipe="mail_triage", conf={}).dag_id == "retrain_mail_triage"


def test_an_unknown_recipe_is_answered_with_those_there_are():
    """At once, not after a wait for a DAG that never comes."""
    with pytest.raises(PlatformError, match=r"'nope'.*mail_triage"):
        check_recipe("nope")


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path):
    """What is wrong with its file is the message."""
    (tmp_path / "broken.py").write_text("RECIPE = 1 / 0\n")

    with pytest.raises(PlatformError, match="ZeroDivisionError"):
        check_recipe("broken", tmp_path)


def test_a_day_is_taken_as_it_is_written():
    """A past day passes."""
    assert parse_day("2002-09-26") == datetime.date(2002, 9, 26)


@pytest.mark.parametrize("text", ["yesterday", "2002-09-31", "26.9.2002", ""])
def test_what_is_no_day_is_refused(text: str):
    """The message shows how to write one."""
    with pytest.raises(argparse.ArgumentTypeError, match="like 2002-09-26"):
        parse_day(text)


def test_a_day_to_come_is_refused():
    """No data can have arrived; the message says which day would do."""
    tomorrow = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)

    with pytest.raises(argparse.ArgumentTypeError, match="or earlier"):
        parse_day(tomorrow.isoformat())


@pytest.mark.parametrize(
    ("text", "found"), [("epochs=1", ("epochs", 1)), ("day=2002-09-26", ("day", "2002-09-26")), ("a=b=c", ("a", "b=c"))]
)
def test_a_parameter_is_a_number_where_it_can_be(text: str, found: tuple[str, object]):
    """Everything else stays text, for the form's schema to judge."""
    assert parameter(text) == found
