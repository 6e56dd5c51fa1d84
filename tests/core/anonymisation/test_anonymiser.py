"""What leaves a row holds no personal data that the policy looks for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.core.anonymisation.addresses import ADDRESS_PATTERN
from operators.core.anonymisation.anonymiser import Anonymiser, check_clean
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN, key_id, pseudonym
from operators.core.anonymisation.spec import AnonymisationSpec, Recogniser
from operators.core.errors import DataError, PrivacyRiskTooHigh
from tests.core.mails import KEY, POLICY
from tests.leaks import AddressSearch

ANONYMISER = Anonymiser(POLICY, KEY)
DIRT = [
    "bob@example.com",
    "root@localhost",
    "jm@[127.0.0.1]",
    "Mail <a.b+c=d@x-y.co.uk>, thanks",
    "mailto:bob@example.invalid?subject=hi",
    "http://x.com/?e=bob%40example.com&x=1",
    "a@b.com@c.com@d",
    '"john doe"@example.com',
    "'quoted'@example.com.",
    "//bob@host/path ftp://anonymous:secret@ftp.example.org/pub",
    "bob@exämple.de und jürgen@müller.de",
    "_@_ -@- .@. @nobody nobody@ @@",
    "/G=Bob/S=Smith/@gateway.example",
    "x@y,z@w;q@r",
    "address_abcdefghij@example.com",
]


@pytest.mark.parametrize("text", DIRT)
def test_no_match_of_the_published_pattern_is_left(text: str) -> None:
    """Whatever dirt surrounds it, no address survives."""
    assert ADDRESS_PATTERN.search(ANONYMISER.text(text)) is None


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab@.%40-_ /:'\"[]é\n1", max_size=60))
@example("a@b@c@d@e@f@g@h")
def test_any_text_comes_out_clean_and_stays(text: str) -> None:
    """For any text: nothing matches the published pattern after, and a second pass changes nothing."""
    once = ANONYMISER.text(text, names=["Ab Ba"])

    assert ADDRESS_PATTERN.search(once) is None
    assert ANONYMISER.text(once, names=["Ab Ba"]) == once


@pytest.mark.parametrize(
    ("text", "gone", "kind"),
    [
        ("call +1 650 253 0000 now", "253", "phone"),
        ("call (650) 253-0000 now", "253", "phone"),
        ("ring 01 677 5811 ext", "677", "phone"),
        ("from 192.168.17.4 by", "192.168", "ip"),
        ("at 2001:db8::ff00:42:8329 now", "8329", "ip"),
        ("pay 4111 1111 1111 1111 now", "1111", "card"),
        ("see http://www.example.com/a?b", "example", "host"),
        ("see www.example.community today", "community", "host"),
        ("see http://intranet:8080/x", "intranet", "host"),
    ],
)
def test_other_personal_data_gets_a_pseudonym_of_its_kind(text: str, gone: str, kind: str) -> None:
    """Numbers, hosts and IPs are replaced by a word that says what they were."""
    done = ANONYMISER.text(text)

    assert gone not in done
    assert f"{kind}_" in done


def test_the_path_of_a_url_stays() -> None:
    """Only the host goes: the path tells spam from ham."""
    assert ANONYMISER.text("http://www.example.com/buy/now").endswith("/buy/now")


@pytest.mark.parametrize("text", ["see Regexp.notes here", "at 10:20:30 on 2002-09-26", "std::string x", "version two"])
def test_plain_words_stay(text: str) -> None:
    """What only looks a little like data is left alone."""
    assert ANONYMISER.text(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Robert Elz wrote", "name wrote"),
        ("ROBERT\nELZ wrote", "name wrote"),
        ("Elz, Robert wrote", "name, name wrote"),
        ("thanks, robert", "thanks, name"),
        ("Roberta and Elzevir wrote", "Roberta and Elzevir wrote"),
        ("Al will mail the list", "Al will mail the list"),
        ("Will List agreed", "name agreed"),
    ],
)
def test_names_of_the_headers_are_replaced(text: str, left: str) -> None:
    """Whole names in any case, telling parts of them on word borders; everyday words and short ones stay."""
    done = ANONYMISER.text(text, names=["Robert Elz", "Al", "Will List"])

    assert PSEUDONYM_PATTERN.sub(lambda match: match[0].split("_")[0], done) == left


def test_names_without_spaces_between_words_are_found() -> None:
    """A Chinese name inside a sentence is replaced."""
    assert "王小明" not in ANONYMISER.text("你好王小明再见", names=["王小明"])


def test_a_name_touches_a_script_without_spaces() -> None:
    """A Latin name inside a Chinese sentence is replaced."""
    assert ANONYMISER.text("请找Robert谢谢", names=["Robert Elz"]) == f"请找{pseudonym('name', 'robert', KEY)}谢谢"


def test_odd_header_addresses_are_found_as_they_stand() -> None:
    """An address that the pattern does not cover is replaced where a header names it."""
    assert ")@x" not in ANONYMISER.text("reply to a)@x please", addresses=["a)@x"])


def test_one_value_has_one_pseudonym() -> None:
    """The same address in any case and any mail gets the same word; another key gives another."""
    one, two = ANONYMISER.text("Bob@Example.com"), ANONYMISER.text("bob@example.com")

    assert one == two == pseudonym("address", "bob@example.com", KEY)
    assert pseudonym("address", "bob@example.com", b"another key of more than 16 bytes") != one


def test_a_short_key_is_refused() -> None:
    """A key that can be guessed makes pseudonyms that can be tested."""
    with pytest.raises(ValueError, match="at least 16"):
        pseudonym("name", "bob", b"short")


def test_key_id_follows_from_the_key() -> None:
    """Two keys have two names, one key one."""
    assert key_id(KEY) == key_id(KEY) != key_id(b"another key of more than 16 bytes")


def test_identifiers_and_categories_keep_only_what_the_policy_lists() -> None:
    """An id with an address in it becomes a pseudonym; an unknown label stops the run, unquoted."""
    of_id, of_label = POLICY.policy("id"), POLICY.policy("label")

    assert ANONYMISER.value(of_id, "spam-1/00042") == "spam-1/00042"
    assert ANONYMISER.value(of_id, "<42@bob.example>").startswith("id_")
    with pytest.raises(DataError, match="does not list") as caught:
        ANONYMISER.value(of_label, "bob@example.com")

    assert "bob" not in str(caught.value)


def test_the_search_finds_a_planted_address_when_the_policy_is_off() -> None:
    """The leak search is no formality: without recognisers it finds what was planted."""
    text = "write to planted@example.invalid today"
    off = Anonymiser(replace(POLICY, recognisers=()), KEY)
    search = AddressSearch({"planted@example.invalid"})

    assert search.found(off.text(text)) == {"planted@example.invalid"}
    assert search.found(ANONYMISER.text(text)) == set()


def test_check_clean_names_the_place_and_not_the_address() -> None:
    """A left address is an error that does not repeat it."""
    with pytest.raises(PrivacyRiskTooHigh, match=r"column note: .* at character 6") as caught:
        check_clean("hello bob@example.com", "note")

    assert "bob" not in str(caught.value)


@pytest.mark.parametrize(
    "changes", [{"columns": ()}, {"phone_regions": ("us",)}, {"recognisers": (Recogniser.IP,) * 2}]
)
def test_a_wrong_policy_is_refused(changes: dict[str, object]) -> None:
    """A policy that leaves a column out, or repeats itself, is no policy."""
    with pytest.raises(ValueError, match=next(iter(changes))):
        AnonymisationSpec(**{"columns": POLICY.columns, **changes})  # type: ignore[arg-type]
