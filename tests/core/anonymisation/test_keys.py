"""One key, one pseudonym, whatever is tried again or dealt out anew; another key, other pseudonyms."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.occurrences import Entity
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN
from operators.core.anonymisation.spec import Action, ColumnPolicy
from tests.core.anonymisation.personal import Maker
from tests.core.mails import KEY, POLICY

OTHER = b"another key for tests, 32 bytes."
KINDS = ("address", "phone", "card", "iban", "wallet", "ip", "host", "nationalid", "name")


@st.composite
def letters(draw: st.DrawFn) -> tuple[str, str]:
    """Return a text with personal data of several kinds, and the name that its header gives."""
    maker = Maker(random.Random(draw(st.integers(0, 10**6))))
    name = maker.name()
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
    return "\n".join(f"{kind}: {getattr(maker, kind)()}" for kind in kinds) + f"\nyours, {name}", name


def _done(letter: tuple[str, str], key: bytes = KEY) -> str:
    text, name = letter
    return Anonymiser(POLICY, key).text(text, names=[name], entities=[Entity("id", "yours")])


@settings(max_examples=60, deadline=None)
@given(letters())
def test_a_second_pass_changes_nothing(letter: tuple[str, str]) -> None:
    """Pseudonyms are never taken for data again, with the same names and values still looked for."""
    once = _done(letter)

    assert _done((once, letter[1])) == once


@settings(max_examples=30, deadline=None)
@given(st.lists(letters(), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_order_and_workers_make_no_difference(all_letters: list[tuple[str, str]], chance: Any) -> None:
    """Many rows by one anonymiser, in any order, or each by one of its own: the same texts."""
    shared = Anonymiser(POLICY, KEY)
    shuffled = chance.sample(all_letters, len(all_letters))
    together = {
        letter: shared.text(letter[0], names=[letter[1]], entities=[Entity("id", "yours")]) for letter in shuffled
    }

    assert together == {letter: _done(letter) for letter in all_letters}


@settings(max_examples=60, deadline=None)
@given(letters())
def test_another_key_changes_every_pseudonym_and_nothing_else(letter: tuple[str, str]) -> None:
    """The two results share no pseudonym, and are equal once pseudonyms are taken out."""
    one, two = _done(letter), _done(letter, OTHER)
    found = [[match[0] for match in PSEUDONYM_PATTERN.finditer(text)] for text in (one, two)]

    assert found[0] and not set(found[0]) & set(found[1])
    assert PSEUDONYM_PATTERN.sub("", one) == PSEUDONYM_PATTERN.sub("", two)


@given(st.text(min_size=1, max_size=20))
def test_columns_follow_the_key_too(value: str) -> None:
    """A column's pseudonym is another under another key, and the same under the same."""
    policy = ColumnPolicy(column="customer", action=Action.PSEUDONYM)
    words = [Anonymiser(POLICY, key).value(policy, value) for key in (KEY, KEY, OTHER)]

    assert words[0] == words[1] != words[2]
