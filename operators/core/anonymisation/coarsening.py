"""Values made coarser: what is left of one says less than it did, and is the same for the same value."""

from __future__ import annotations

import datetime
from decimal import ROUND_FLOOR, Decimal

from operators.core.anonymisation.spec import Period

HIDDEN = "****"


def mask(value: str, visible: int) -> str:
    """Return the last characters behind four stars, which tell no length; at most half of the value stays.

    What was masked before comes out as it is.
    """
    if value.startswith(HIDDEN) and len(value) <= len(HIDDEN) + visible:
        return value
    shown = min(visible, len(value) // 2)
    return HIDDEN + value[len(value) - shown :]


def range_of(value: float, width: float) -> str:
    """Return the half-open range of a number, `[30, 40)`; reckoned in decimals, so that 0.3 begins `[0.3, 0.4)`."""
    step = Decimal(repr(width))
    low = (Decimal(repr(value)) / step).to_integral_value(ROUND_FLOOR) * step
    return f"[{_plain(low)}, {_plain(low + step)})"


def period_of(value: datetime.datetime, period: Period) -> str:
    """Return the day, month or year of a moment in UTC, as ISO 8601 writes it."""
    return value.astimezone(datetime.UTC).isoformat()[: period.value]


def beginning_of(value: str, prefix: int) -> str:
    """Return the first characters of a code, blanks around it left out."""
    return value.strip()[:prefix]


def _plain(number: Decimal) -> str:
    # Adding zero turns -0 into 0; without trailing zeros 30 and 30.0 are one.
    return format((number + 0).normalize(), "f")
