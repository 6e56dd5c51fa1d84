"""Mail addresses: the one published pattern, and what it finds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from operators.core.anonymisation.occurrences import occurrences
from operators.core.anonymisation.spans import Span

ADDRESS_PATTERN = re.compile(
    r"""(?:"[^"\n@]{1,64}"|[\w!#$%&'*+/=?^`{|}~.-]{1,128})(?:(?:@|%40)(?:\[[^\]\s@]{1,64}\]|[\w-]+(?:\.[\w-]+)*))+"""
)
"""What counts as a mail address: any RFC 5322 atom or quoted word before an @, any word after it.

The domain need not be valid nor have a dot (`root@localhost`), may be a literal (`jm@[127.0.0.1]`), and the @ may be
written as in URLs (`%40`). At most 128 characters before the @ keep the search linear; RFC 5321 allows 64. It has no
context: text in which it finds nothing holds no string that matches it.
"""


def find_addresses(text: str, known: Iterable[str] = ()) -> Iterator[Span]:
    """Yield every match of the pattern, and every known address of another form, wherever it stands."""
    if "@" in text or "%40" in text:
        for match in ADDRESS_PATTERN.finditer(text):
            value = match[0].lstrip("/'`")
            # A URL's slashes and an opening quote touch the address, but are no part of the person's name.
            start = match.end() - len(value) if value[0] not in "@%" else match.start()
            yield Span(start=start, end=match.end(), kind="address", value=text[start : match.end()].rstrip("'"))
    for address in known:
        if not ADDRESS_PATTERN.fullmatch(address) and len(address) > 2:
            for start in occurrences(text, address):
                yield Span(start=start, end=start + len(address), kind="address", value=address)
