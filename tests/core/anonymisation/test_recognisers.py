"""The cheap tests before Presidio's recognisers lose nothing."""

from __future__ import annotations

import random

import pytest
from presidio_analyzer.predefined_recognizers import PhoneRecognizer

from operators.core.anonymisation.lines import Finder, by_line
from operators.core.anonymisation.numbers import find_ibans, find_wallets, national_finder
from operators.core.anonymisation.recognisers import MIN_PHONE_DIGITS, find_cards, find_hosts, find_ips, phone_finder
from operators.core.anonymisation.spans import Span, settle
from tests.core.anonymisation.personal import NATIONAL, Maker

REGIONS = ("US", "GB", "IE", "DE", "FR")


def _long(number: str) -> bool:
    return sum(character.isdigit() for character in number) >= MIN_PHONE_DIGITS


@pytest.mark.parametrize("text", ["Berlin 16952 Euro", "only 12345 left, see 54321"])
def test_five_digits_are_no_phone_number(text: str) -> None:
    """A price or a postcode stays, though a German village has a number like it."""
    assert list(phone_finder(REGIONS)(text)) == []


def test_line_by_line_finds_the_phone_numbers_of_the_whole_text() -> None:
    """Looking at lines one by one, and only at those with digits, finds the numbers that Presidio finds in the text."""
    chance = random.Random(11)
    alphabet = "0123456789 -()+.\nab"
    numbers = ["+1 650 253 0000", "(650) 253-0000", "+353 1 677 5811", "020 7946 0958", "01 23 45 67 89"]
    texts = [
        "".join(chance.choice(numbers) if chance.random() < 0.05 else chance.choice(alphabet) for _ in range(120))
        for _ in range(40)
    ]
    find = by_line([phone_finder(REGIONS)])
    whole = PhoneRecognizer(supported_regions=REGIONS)

    for text in texts:
        expected = {(r.start, r.end) for r in whole.analyze(text, ["PHONE_NUMBER"]) if _long(text[r.start : r.end])}
        assert expected <= {(span.start, span.end) for span in find(text)}


@pytest.mark.parametrize("find", [find_hosts, find_ips, find_cards, find_ibans, find_wallets, national_finder(("GB",))])
def test_line_by_line_finds_what_the_whole_text_gives(find: Finder) -> None:
    """Nothing that is looked for crosses the end of a line."""
    maker = Maker(random.Random(11))
    makes = (maker.host, maker.ip, maker.card, maker.iban, maker.wallet, lambda: NATIONAL["GB NHS"](maker))
    texts = ["\n".join(maker.chance.choice(makes)() for _ in range(8)) for _ in range(40)]
    lines = by_line([find])

    assert any(list(find(text)) for text in texts)
    for text in texts:
        assert {(span.start, span.end) for span in find(text)} <= {(span.start, span.end) for span in lines(text)}


@pytest.mark.parametrize("order", [1, -1])
def test_overlapping_spans_become_one_that_covers_both(order: int) -> None:
    """The higher rank speaks, and no character of the lower one is left."""
    host = Span(start=0, end=6, kind="host", value="bob.sm")
    address = Span(start=4, end=20, kind="address", value="x@y")

    assert settle([host, address][::order]) == [Span(start=0, end=20, kind="address", value="x@y")]
