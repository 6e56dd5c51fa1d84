"""Figures as people read them."""

from __future__ import annotations

import datetime
import json
import math

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))
BYTES = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def duration(seconds: float | None) -> str:
    """Return a duration in its largest two units: `2 h 5 min`, `14 min`, `3.2 s`."""
    if seconds is None:
        return "not known"
    if seconds < 0.05:
        return "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    left, parts = round(seconds), list[str]()
    for size, unit in UNITS:
        count, left = divmod(left, int(size))
        if count or parts:
            parts.append(f"{count} {unit}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0 "))


def age(at: datetime.datetime | None, now: datetime.datetime) -> str:
    """Return how long ago something was, in its largest unit: `3 h ago`."""
    if at is None:
        return "at an unknown time"
    seconds = max(0.0, (now - at).total_seconds())
    if seconds < 60:
        return "just now"
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= size)
    return f"{seconds / size:.0f} {unit} ago"


def size(count: float) -> str:
    """Return a number of bytes: `14.2 MB`."""
    for scale, unit in BYTES:
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return f"{count:.0f} bytes"


def energy(joules: float) -> str:
    """Return an energy in watt-hours, or in kilowatt-hours, in which it is paid for."""
    hours = joules / 3600
    return f"{hours / 1000:.2f} kWh" if hours >= 100 else f"{hours:.2g} Wh"


def share(value: float | None) -> str:
    """Return a share of 1 in per cent."""
    if value is None:
        return "not known"
    return "100 %" if value == 1 else f"{100 * value:.1f} %"


def uptime(value: float | None) -> str:
    """Return a share of 1 in per cent, never more than it is: 100 % is all of it."""
    if value is None:
        return "not known"
    return "100 %" if value == 1 else f"{math.floor(value * 10_000) / 100:.2f} %"


def instant(at: datetime.datetime | None) -> str:
    """Return a time in coordinated universal time."""
    return "not known" if at is None else f"{at.astimezone(datetime.UTC):%Y-%m-%d %H:%M} UTC"


def pretty(value: object) -> str:
    """Return a document on as many lines as it needs."""
    return json.dumps(value, indent=1, ensure_ascii=False)


def shown(value: object) -> str:
    """Return a single value of a document: no more digits than mean something, and no word of a language's."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:.6g}" if isinstance(value, float) else f"{value}"


def plain(name: object) -> str:
    """Return a name of ours without underscores."""
    return str(name).replace("_", " ")
