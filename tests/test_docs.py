"""What the docs say to type can be typed, and the pictures are of the page as it is."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess

import pytest

from operators.cli import main, make_parser
from tests.browser import digest_of_the_page
from tests.commands import ASK, NOT_RUN, PAGES, ROOT, RUN, blocks, inline, plain, words_of

COMMANDS = sorted({command for page in PAGES for command in blocks(page)})
NAMED = sorted({command for page in PAGES for command in inline(page)})


def help_of(words: list[str]) -> str:
    """Return what `nightshift` says of a command."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([*words, "--help"])
    return said.getvalue()


def test_every_command_of_the_docs_is_run_or_has_its_reason() -> None:
    """And no reason, nor a run, is for a command that is not there any more."""
    homeless = [one for one in COMMANDS if plain(one) not in RUN and not ASK.fullmatch(one) and not _reason(one)]

    assert homeless == []
    assert set(RUN) - {plain(one) for one in COMMANDS} == set()
    assert [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, plain(one)) for one in COMMANDS)] == []


def _reason(command: str) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.fullmatch(pattern, plain(command))), None)


@pytest.mark.parametrize("command", [one for one in COMMANDS if words_of(one)[1][0] == "nightshift"])
def test_the_command_line_takes_what_the_docs_type(command: str) -> None:
    """Every command, positional and option of a block parses, and leads to what does it."""
    _, words = words_of(command)

    assert callable(make_parser().parse_args(words[1:]).command)


@pytest.mark.parametrize("command", [one for one in NAMED if one.startswith("nightshift ")])
def test_a_command_that_the_text_names_is_there(command: str) -> None:
    """Its words and options stand in the command's own help."""
    _, words = words_of(command)
    named = [word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]+", word)][:1]
    told = help_of(named) + help_of(words[1:3]) if len(words) > 2 and words[2].islower() else help_of(named)

    assert f"nightshift {' '.join(named)}" in told, told
    assert [word for word in words if word.startswith("--") and word.split("=")[0] not in told] == []


@pytest.mark.parametrize("command", sorted({one for one in [*COMMANDS, *NAMED] if re.search(r"(^| )make [a-z]", one)}))
def test_make_knows_its_targets_and_variables(command: str) -> None:
    """What a reader passes is read by the Makefile, or by the program that it starts."""
    before, words = words_of(command.replace("[", "").replace("]", ""))
    targets = [word for word in words[1:] if "=" not in word]
    makefile = (ROOT / "Makefile").read_text()
    done = subprocess.run(["make", "-n", *targets], cwd=ROOT, capture_output=True, text=True, check=False)

    assert words[0] == "make"
    assert done.returncode == 0, done.stderr
    for name in (word.split("=")[0] for word in [*before, *words[1:]] if "=" in word):
        known = f"$({name})" in makefile or f"$({name}:" in makefile or name.startswith("NIGHTSHIFT_")
        assert known, name


def test_every_picture_is_shown_and_every_picture_that_is_shown_is_there() -> None:
    """By the docs, with words for who cannot see it."""
    folder = ROOT / "docs" / "images"
    shown = {
        (page.parent / path).resolve()
        for page in PAGES
        for words, path in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text())
        if len(words) > 20
    }

    assert shown == {path.resolve() for path in folder.glob("*.png")}


def test_the_pictures_are_of_the_page_as_it_is() -> None:
    """Templates and style have not changed since they were taken: `make pictures` takes them anew."""
    assert (ROOT / "docs" / "images" / "taken").read_text().strip() == digest_of_the_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page) -> None:
    """Files that are there, and headings that they have."""
    for path, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text(), flags=re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{path}#{anchor}"
