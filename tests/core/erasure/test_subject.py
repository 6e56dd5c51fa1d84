"""A person is looked for as typed where rows are raw, and as the policy left them where they are stored."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.erasure.marks import Marks
from operators.core.erasure.subject import Subject
from tests.core.mails import KEY, POLICY, SOURCE, mail

pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")
ANONYMISER = Anonymiser(POLICY, KEY)
PERSON = "Wilma Feuerstein <wilma@bedrock.example>"


def marks(*words: str) -> Marks:
    """Return how a person looks."""
    return Marks(Subject.parse(list(words), [], None), ANONYMISER)


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("wilma@bedrock.example", "write to Wilma@Bedrock.example, please"),
        ("wilma@bedrock.example", "http://x.example/?to=wilma%40bedrock.example"),
        (PERSON, "says Wilma Feuerstein on Monday"),
        (PERSON, "says Feuerstein, Wilma on Monday"),
        ("+1 (415) 555-0132", "call +1 415.555.0132 now"),
        ("customer 88-12345", "about customer 88-12345: nothing"),
    ],
)
def test_a_person_is_found_in_a_landing_row(subject: str, text: str) -> None:
    """Whatever the case, the order of a name, or the grouping of digits."""
    assert marks(subject).in_landing("2002-09-26", mail(1, body=text), SOURCE)


@pytest.mark.parametrize(
    "text",
    ["write to fred.wilma@bedrock.example", "wilma@bedrock.example.org", "Wilma Meier and Fred Feuerstein", "Wilma"],
)
def test_somebody_else_is_not_found(text: str) -> None:
    """A longer address, or one word of the name, is another person's."""
    assert not marks(PERSON).in_landing("2002-09-26", mail(1, body=text), SOURCE)
    stored = ANONYMISER.text(text, names=["Wilma Meier", "Fred Feuerstein"])
    assert not marks(PERSON).in_stored("2002-09-26", "ham/00001", stored)


@settings(max_examples=40, deadline=None)
@given(name=st.from_regex(r"\A[a-z]{3,12}[0-9]{0,3}\Z"), domain=st.from_regex(r"\A[a-z]{2,10}\.(org|example)\Z"))
def test_an_address_is_found_in_what_the_policy_left_of_a_text(name: str, domain: str) -> None:
    """For any address: the stored text holds its pseudonym, which the address alone leads to."""
    address = f"{name}@{domain}"
    stored = ANONYMISER.text(f"from {address.upper()}: hello, and bye to other@example.net")

    assert address.casefold() not in stored.casefold()
    assert marks(address).in_stored("2002-09-26", "ham/00001", stored)


def test_a_name_is_found_in_what_the_policy_left_of_a_text() -> None:
    """The pseudonym of a whole name is that of its words in the order in which a header had them."""
    for name in ("Wilma Feuerstein", "Feuerstein, Wilma"):
        stored = ANONYMISER.text(f"says {name} on Monday", names=[name])

        assert marks(PERSON).in_stored("2002-09-26", "ham/00001", stored)


def test_a_number_is_found_in_what_the_policy_left_of_a_text() -> None:
    """Whatever of its own signs stayed beside the pseudonym."""
    stored = ANONYMISER.text("call (+1 415-555-0132) or +1 415 555 0132.")

    assert "555" not in stored
    assert marks("+1 (415) 555-0132").in_stored("2002-09-26", "ham/00001", stored)


def test_a_row_whose_id_names_the_person_is_found() -> None:
    """An address as the id of a row is stored as its pseudonym."""
    row_id = ANONYMISER.value(POLICY.policy("id"), "wilma@bedrock.example")

    assert marks(PERSON).in_stored("2002-09-26", row_id, f"{row_id}\nham\nno name here")


def test_what_the_policy_leaves_is_found_as_it_is() -> None:
    """A customer's number is no recogniser's, and stays in the text."""
    assert marks("K-88-12345x").in_stored("2002-09-26", "ham/00001", "about k-88-12345x again")
    assert not marks("K-88-12345x").in_stored("2002-09-26", "ham/00001", "about K-88-12345xy again")


@pytest.mark.parametrize("words", [[], ["Wilma"], ["Wilma Feuerstein"], ["a@b"], ["Wilma <wilma@bedrock.example>"]])
def test_what_names_nobody_or_many_is_refused(words: list[str]) -> None:
    """A name alone, one word of a name, three characters; the message repeats none of it."""
    with pytest.raises(ValueError) as caught:
        Subject.parse(words, [], None)

    assert "ilma" not in str(caught.value)


def test_a_subject_is_not_shown_by_its_repr() -> None:
    """Logs and traces show objects by it."""
    assert "ilma" not in repr(Subject.parse([PERSON], ["wilma-1"], None))
