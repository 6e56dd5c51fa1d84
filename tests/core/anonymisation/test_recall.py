"""How much of what is there is found, on labelled synthetic records: printed for each kind of personal data.

A value counts as missed when any five characters of it that stand together are left, a name when any word of it is.
`pytest -rA` shows the shares.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

import pytest

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.numbers import NATIONAL as RECOGNISED
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN
from operators.core.anonymisation.spec import ID_COUNTRIES
from operators.core.sources.contents import normalise
from tests.core.anonymisation.personal import NATIONAL, Maker, base58check, iban, luhn, verhoeff
from tests.core.mails import KEY, POLICY

FLOOR = 0.98
ANONYMISER = Anonymiser(POLICY, KEY)
CARRIERS = [
    "Please note {} and call back.",
    "Meine Daten: {}. Vielen Dank!",
    "请记下{}谢谢",
    "Запишите: {}, спасибо",
    "اكتب {} من فضلك",
    "({})",
    "id={};",
    "Nr.{},",
    "<{}>",
    "mailto:{}",
    "see http://{}/a?b=c now",
    "{}",
]
STRUCTURED = ["address", "phone", "card", "iban", "wallet", "ip", "host"]


def _is_left(value: str, text: str) -> bool:
    bare, rest = (re.sub(r"[\W_]", "", form).lower() for form in (normalise(value), PSEUDONYM_PATTERN.sub(" ", text)))
    return any(bare[place : place + 5] in rest for place in range(len(bare) - 4))


def _recall(make: Callable[[Maker], str], count: int, seed: str) -> float:
    maker = Maker(random.Random(seed))
    left = 0
    for _ in range(count):
        value = make(maker)
        text = normalise(maker.chance.choice(CARRIERS).format(value))
        left += _is_left(value, ANONYMISER.text(text))
    return 1 - left / count


@pytest.mark.parametrize("kind", STRUCTURED)
def test_structured_identifiers_are_found(kind: str) -> None:
    """At least 98 of 100, in every form that people write, in five scripts, with and without blanks around."""
    share = _recall(lambda maker: str(getattr(maker, kind)()), 150, kind)
    print(f"recall {kind}: {share:.3f} of 150")

    assert share >= FLOOR


@pytest.mark.parametrize("kind", sorted(NATIONAL))
def test_national_numbers_are_found(kind: str) -> None:
    """At least 98 of 100 for each country's number, too."""
    share = _recall(NATIONAL[kind], 50, kind)
    print(f"recall {kind}: {share:.3f} of 50")

    assert share >= FLOOR


def _mentions(name: str) -> Iterator[str]:
    first, _, last = name.partition(" ")
    yield from (f"Dear {name},", f"{name.upper()} wrote:")
    if last:
        yield from (f"thanks, {first}", f"{last}, {first}", f"{last}'s order")


@pytest.mark.parametrize(("named_by", "floor"), [("a header", FLOOR), ("nothing", 0.0)])
def test_names_are_found_where_the_record_names_them(named_by: str, floor: float) -> None:
    """A name that a header gives is found whole and in parts; one that nothing gives is not found at all."""
    maker = Maker(random.Random("names"))
    found, total = 0, 0
    for _ in range(60):
        name = maker.name()
        for text in _mentions(name):
            done = ANONYMISER.text(normalise(text), names=[normalise(name)] if named_by == "a header" else [])
            found += not any(word.lower() in PSEUDONYM_PATTERN.sub(" ", done).lower() for word in name.split())
            total += 1
    print(f"recall of names in free text that {named_by} names: {found / total:.3f} of {total}")

    assert found / total >= floor


def test_the_recognised_countries_are_the_policy_s() -> None:
    """The spec lists what there is, though it must not import it."""
    assert tuple(sorted(RECOGNISED)) == ID_COUNTRIES


def test_check_digits_agree_with_published_examples() -> None:
    """The records' own arithmetic is right: examples of ISO 13616, Verhoeff, Luhn and of Bitcoin's first block."""
    assert iban("GB", "WEST12345698765432") == "GB82WEST12345698765432"
    assert verhoeff("236") == "2363"
    assert luhn("7992739871") == "79927398713"
    assert (
        base58check(bytes.fromhex("0062e907b15cbf27d5425399ebf6f0fb50ebb88f18")) == "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
    )
