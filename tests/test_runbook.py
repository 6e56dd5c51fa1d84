"""The runbook holds no command that no test runs, and no loss without its four answers."""

from __future__ import annotations

import pytest

from tests.runbook import ON_A_BUCKET, ON_A_PLATFORM, ON_A_STORE, ON_POSTGRESQL, commands, parts

MESSAGES = ("`make run` ends at once", "A task is red")
"""Parts that answer messages, one by one."""


def test_every_command_is_run_by_a_test() -> None:
    """One that is added here needs a case there, and a case is of a command that stands here."""
    assert commands() == ON_A_STORE | ON_A_PLATFORM | ON_POSTGRESQL | set(ON_A_BUCKET)
    assert not ON_A_STORE & ON_A_PLATFORM


@pytest.mark.parametrize("title", [title for title in parts() if title not in MESSAGES])
def test_every_loss_says_what_to_see_where_to_look_what_to_do_and_how_to_know(title: str) -> None:
    """In this order."""
    text = parts()[title]
    places = [text.find(f"**{words}") for words in ("You see", "First look", "fix" if "and **fix" in text else "Fix")]
    places.append(text.find("**It worked when"))

    assert -1 not in places and places == sorted(places), title
