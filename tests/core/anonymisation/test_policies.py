"""What each action makes of a value, and which policies are refused when they are written."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.coarsening import HIDDEN, mask, period_of, range_of
from operators.core.anonymisation.pseudonyms import KINDS, PSEUDONYM_PATTERN, pseudonym
from operators.core.anonymisation.spans import RANK
from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy, Period, Recogniser
from tests.core.mails import KEY, POLICY

ANONYMISER = Anonymiser(POLICY, KEY)
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1), st.floats(-1e15, 1e15, allow_nan=False, allow_subnormal=False).map(float)
)


@given(st.text(max_size=30), st.integers(0, 8))
@example("****", 8)
def test_a_mask_shows_at_most_half_and_masks_once(value: str, visible: int) -> None:
    """At most `visible` characters and at most half of them stay; a second pass changes nothing."""
    masked = mask(value, visible)

    assert mask(masked, visible) == masked
    if not value.startswith(HIDDEN):
        assert len(masked) - len(HIDDEN) == min(visible, len(value) // 2)


@given(st.text("abc", min_size=17, max_size=40), st.text("abc", min_size=17, max_size=40))
def test_masks_tell_no_length(one: str, two: str) -> None:
    """Two values of different lengths that end alike are masked alike."""
    assert mask(one + "wxyz", 4) == mask(two + "wxyz", 4)


@given(NUMBERS, st.one_of(st.integers(1, 1000), st.sampled_from([0.1, 0.25, 2.5])))
@example(0.3, 0.1)
@example(-0.0, 10)
def test_a_number_lies_in_its_range(value: float, width: float) -> None:
    """The range is as wide as the policy says, begins at a multiple of it, and holds the number."""
    match = re.fullmatch(r"\[(-?[0-9.]+), (-?[0-9.]+)\)", range_of(value, width))
    assert match is not None
    low, high = Decimal(match[1]), Decimal(match[2])

    assert low <= Decimal(repr(value)) < high
    assert (high - low, low % Decimal(repr(width))) == (Decimal(repr(width)), 0)


@given(st.datetimes(timezones=st.just(datetime.UTC)), st.sampled_from(Period))
def test_a_moment_begins_with_its_period(value: datetime.datetime, period: Period) -> None:
    """A day, month or year is the beginning of the moment as ISO 8601 writes it."""
    assert value.isoformat().startswith(period_of(value, period))
    assert period_of(value, Period.YEAR) == f"{value.year:04d}"


@given(st.text(max_size=30), st.sampled_from([Recogniser.PHONE, Recogniser.NAME, None]))
def test_a_pseudonym_stands_for_itself(value: str, holds: Recogniser | None) -> None:
    """A column's value becomes one word of its kind, which a second pass leaves alone."""
    policy = ColumnPolicy(column="customer", action=Action.PSEUDONYM, holds=holds)
    word = ANONYMISER.value(policy, value)

    assert PSEUDONYM_PATTERN.fullmatch(word)
    assert ANONYMISER.value(policy, word) == word


def test_a_phone_number_has_one_pseudonym_however_it_is_written() -> None:
    """The column's pseudonym is the one that a text's number gets."""
    policy = ColumnPolicy(column="phone", action=Action.PSEUDONYM, holds=Recogniser.PHONE)

    assert ANONYMISER.value(policy, "(650) 253-0000") == ANONYMISER.text("650 253 0000")


WITH_OPTIONS = {Action.CATEGORY, Action.GENERALISE, Action.MASK, Action.SPANS}


@pytest.mark.parametrize("action", [action for action in Action if action not in WITH_OPTIONS])
def test_what_is_missing_stays_missing(action: Action) -> None:
    """No action makes a value of none."""
    assert ANONYMISER.value(ColumnPolicy(column="x", action=action), None) is None


def test_every_kind_has_a_rank_and_every_recogniser_a_kind() -> None:
    """A kind that one of the three lists forgets would escape the pattern or break the settling."""
    assert set(KINDS) == set(RANK) == {"id", *(recogniser.value for recogniser in Recogniser)}
    assert all(PSEUDONYM_PATTERN.fullmatch(pseudonym(kind, "x", KEY)) for kind in KINDS)


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ({"column": "day", "action": Action.KEEP}, "data set's own"),
        ({"column": "text", "action": Action.PSEUDONYM}, "does not fit"),
        ({"column": "id", "action": Action.DROP}, "does not fit"),
        ({"column": "label", "action": Action.CATEGORY}, "CATEGORY takes one of"),
        ({"column": "x", "action": Action.KEEP, "values": ("a",)}, "takes no option"),
        ({"column": "x", "action": Action.MASK}, "MASK takes one of"),
        ({"column": "x", "action": Action.MASK, "visible": 9}, "visible=9"),
        ({"column": "x", "action": Action.GENERALISE}, "GENERALISE takes one of"),
        ({"column": "x", "action": Action.GENERALISE, "width": 0.0}, "width=0.0"),
        ({"column": "x", "action": Action.GENERALISE, "prefix": 11}, "prefix=11"),
        ({"column": "x", "action": Action.GENERALISE, "width": 1.0, "prefix": 1}, "GENERALISE takes one of"),
        ({"column": "x", "action": Action.KEEP, "holds": Recogniser.NAME}, "holds=NAME"),
    ],
)
def test_a_wrong_column_policy_is_refused(policy: dict[str, Any], why: str) -> None:
    """Options belong to their action and have their ranges; own columns take only what fits them."""
    with pytest.raises(ValueError, match=why):
        ColumnPolicy(**policy)


def test_a_column_has_one_policy() -> None:
    """Two policies of one column contradict each other."""
    twice = ColumnPolicy(column="age", action=Action.KEEP)

    with pytest.raises(ValueError, match="none twice"):
        AnonymisationSpec(columns=(*POLICY.columns, twice, twice))
