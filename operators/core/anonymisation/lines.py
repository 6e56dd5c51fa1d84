"""Looking at one line at a time, and at no line twice: mails quote each other, and changed texts are searched again."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from operators.core.anonymisation.spans import Span

Finder = Callable[[str], Iterator[Span]]
MAX_LINES = 20_000
"""Lines that are remembered."""


def by_line(finders: Sequence[Finder]) -> Finder:
    """Return a finder of all that several find, for finders of what never crosses a line's end."""

    @functools.lru_cache(maxsize=MAX_LINES)
    def in_line(line: str) -> tuple[Span, ...]:
        return tuple(span for find in finders for span in find(line))

    def find_by_line(text: str) -> Iterator[Span]:
        offset = 0
        for line in text.split("\n"):
            for span in in_line(line):
                yield replace(span, start=offset + span.start, end=offset + span.end)
            offset += len(line) + 1

    return find_by_line
