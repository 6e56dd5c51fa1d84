"""Numbers are found where they are right, and only there."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.numbers import find_ibans, find_wallets, national_finder
from operators.core.anonymisation.plain import plain
from operators.core.anonymisation.recognisers import find_cards
from operators.core.anonymisation.spec import ID_COUNTRIES, AnonymisationSpec
from tests.core.anonymisation.personal import iban, luhn
from tests.core.mails import KEY, POLICY

ANONYMISER = Anonymiser(POLICY, KEY)


@given(st.text(max_size=50))
def test_the_plain_form_is_ascii_and_as_long(text: str) -> None:
    """Places found in it are places of the text."""
    assert plain(text).isascii()
    assert len(plain(text)) == len(text)


@pytest.mark.parametrize(
    ("text", "form"),
    [("电话4111号", "  4111 "), ("٠١٢٣٤٥", "012345"), ("1\u20132\u20113\u22124", "1-2-3-4"), ("a\nb", "a\nb")],
)
def test_the_plain_form_keeps_digits_and_dashes(text: str, form: str) -> None:
    """Other scripts' digits are digits, dashes hyphens, letters blanks."""
    assert plain(text) == form


@given(st.integers(0, 10**14 - 1), st.sampled_from(["", " ", "-"]), st.sampled_from(["", "12 ", "total 7 "]))
@example(985158000, " ", "12 ")
def test_a_card_is_found_whatever_stands_before_and_behind(body: int, mark: str, before: str) -> None:
    """A right check digit is enough, with another number on either side."""
    number = luhn(f"4{body:014d}")
    written = mark.join(number[place : place + 4] for place in range(0, 16, 4))
    text = f"{before}{written} 123"

    covered = {place for span in find_cards(text) for place in range(span.start, span.end)}
    assert covered >= set(range(len(before), len(before) + len(written)))


@given(st.integers(10**14, 10**15 - 1), st.integers(1, 9))
def test_a_wrong_check_digit_is_no_card(body: int, error: int) -> None:
    """Sixteen digits that nobody issued stay."""
    right = luhn(str(body))
    wrong = right[:-1] + str((int(right[-1]) + error) % 10)

    assert list(find_cards(f"no. {wrong}")) == []


@pytest.mark.parametrize("behind", [" PAID FAST", " on time", ".", "", " 12"])
@pytest.mark.parametrize("form", [str.upper, str.lower])
def test_an_iban_ends_where_its_country_says(behind: str, form: object) -> None:
    """Words and numbers behind it are not taken for part of it."""
    value = "ES91 2100 0418 4502 0005 1332"
    written = form(value)  # type: ignore[operator]
    spans = list(find_ibans(f"to {written}{behind}"))

    assert [(span.start, span.end, span.value) for span in spans] == [(3, 3 + len(value), value.replace(" ", ""))]


@pytest.mark.parametrize(
    "text", [iban("DE", "1" * 17), "DE89370400440532013001", "version DE12 beta, see AB34 and more"]
)
def test_what_only_looks_like_an_iban_stays(text: str) -> None:
    """A wrong length for the country, wrong check digits, a word with digits."""
    assert list(find_ibans(text)) == []


@pytest.mark.parametrize(
    "text", ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "0x52908400098527886E0F7030069857D2E4169EE", "bc1 q"]
)
def test_what_only_looks_like_a_wallet_stays(text: str) -> None:
    """A changed character breaks the checksum, a lost one the shape."""
    assert list(find_wallets(text)) == []


@pytest.mark.parametrize("text", ["219099999", "build 12345-6789", "20240501123456", "44051401358", "call 12-34-56"])
def test_numbers_without_a_check_or_a_shape_stay(text: str) -> None:
    """Nine digits are no social security number, a time stamp no identity, a wrong check digit nobody's."""
    assert list(national_finder(ID_COUNTRIES)(text)) == []


def test_a_policy_may_name_its_countries() -> None:
    """Numbers of a country that the policy leaves out stay."""
    text = "PESEL 44051401359, NINO AB123456C"
    done = Anonymiser(replace(POLICY, id_countries=("GB",)), KEY).text(text)

    assert "44051401359" in done
    assert "AB123456C" not in done
    with pytest.raises(ValueError, match="id_countries"):
        AnonymisationSpec(columns=POLICY.columns, id_countries=("XX",))


@pytest.mark.parametrize(
    "text", ["1 " * 2000, "12-" * 1333, "DE89 " * 800, "bc1" * 1300, "王4111" * 800, "g" * 3990 + "::1"]
)
def test_no_line_is_searched_for_long(text: str) -> None:
    """Four thousand characters made to match almost everywhere cost a few seconds at most."""
    start = time.process_time()
    ANONYMISER.text(text)

    assert time.process_time() - start < 5


def test_an_address_behind_a_label_is_found() -> None:
    """No blank is needed between what says that an IP address follows and the address."""
    assert "8329" not in ANONYMISER.text("IP:2001:db8:0:0:0:ff00:42:8329")
