"""What the row itself names is found in its text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.occurrences import Entity
from operators.core.anonymisation.pseudonyms import pseudonym
from tests.core.mails import KEY, POLICY

ANONYMISER = Anonymiser(POLICY, KEY)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("customer K12345 wrote", "k12345"),
        ("see refK12345b", "K12345"),
        ("account 777, please", "777"),
        ("Blue\nHarbour Ltd called", "Blue Harbour Ltd"),
        ("客户王小明来电", "王小明"),
        ("İstanbul Ltd", "İstanbul Ltd"),
    ],
)
def test_a_value_of_a_column_is_found_in_the_text(text: str, value: str) -> None:
    """In any case, over a line's end, inside of words if it is long, in any script."""
    done = ANONYMISER.text(text, entities=[Entity("id", value)])

    assert value.casefold() not in done.casefold().replace("\n", " ")
    assert pseudonym("id", value, KEY) in done


@pytest.mark.parametrize(("text", "value"), [("1777 and 7771", "777"), ("no ok", "ok"), ("unread", "read")])
def test_short_values_are_no_parts_of_words(text: str, value: str) -> None:
    """Fewer than six characters count only on their own, fewer than three never."""
    assert ANONYMISER.text(text, entities=[Entity("id", value)]) == text


def test_parts_of_a_name_are_found_too() -> None:
    """A column that holds a name is looked for like a name of a header."""
    done = ANONYMISER.text("Robert wrote; thanks, Elz", entities=[Entity("name", "Robert Elz")])

    assert (done.count("name_"), "Robert" in done, "Elz" in done) == (2, False, False)


@given(st.text("ab _\n", max_size=40), st.text("ab _", min_size=3, max_size=8))
def test_no_value_is_left_and_a_second_pass_changes_nothing(text: str, value: str) -> None:
    """For any text and value: nothing is left outside of pseudonyms, and the result is stable."""
    entities = [Entity("id", value)]
    once = ANONYMISER.text(text, entities=entities)

    assert ANONYMISER.text(once, entities=entities) == once


@pytest.mark.parametrize("value", ["address", "name", "phone", "card_", "abcdefghij"])
def test_a_value_never_breaks_a_pseudonym(value: str) -> None:
    """A customer called Name does not turn other people's pseudonyms into new ones."""
    text = "from address_abcdefghij to name_abcdefghij"

    assert ANONYMISER.text(text, entities=[Entity("id", value)]) == text
