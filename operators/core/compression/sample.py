"""Choosing the texts that stand for all of them."""

from __future__ import annotations


def spread(texts: list[str], count: int) -> list[str]:
    """Return at most `count` texts evenly spread over all by length, so that short and long ones are there alike."""
    ordered = sorted(texts, key=lambda text: (len(text), text))
    count = min(count, len(ordered))
    return [ordered[index * len(ordered) // count] for index in range(count)]
