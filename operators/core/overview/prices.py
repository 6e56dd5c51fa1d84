"""What a night is worth in money: a price list that people set, since no machine knows its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

JOULES_PER_KILOWATT_HOUR = 3.6e6


@dataclass(frozen=True, kw_only=True, slots=True)
class PriceList:
    """Prices of the connection `nightshift_prices`."""

    currency: str
    """As people write it: `EUR`."""
    machine_hour: float = 0.0
    """Of the platform's machines together, while a run goes on."""
    kilowatt_hour: float = 0.0
    """Of energy that a training drew, measured or estimated."""

    def __post_init__(self) -> None:
        if not isinstance(self.currency, str) or not 1 <= len(self.currency) <= 8:
            raise ValueError(f"price list: currency {self.currency!r} must be 1 to 8 characters, such as EUR")
        for name in ("machine_hour", "kilowatt_hour"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise ValueError(f"price list: {name} {value!r} must be a number that is not negative")

    def money(self, run_seconds: float, joules: float) -> float:
        """Return what a run of so many seconds and so much energy costs, in the list's currency."""
        return self.machine_hour * run_seconds / 3600 + self.kilowatt_hour * joules / JOULES_PER_KILOWATT_HOUR
