"""The readable content of a row: subject and body as text, who is named in it, when it says it was sent."""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from operators.core.sources.mail import Undecodable, read_mail
from operators.core.sources.nfkc import nfkc
from operators.core.sources.spec import Content, SourceSpec

INVISIBLE = frozenset({"Cf", "Cs", "Co", "Cn"})
"""Unicode categories of characters that show nothing: format, surrogate, private use, unassigned."""
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowContent:
    """What a row says, decoded but not yet anonymised: never stored, never logged."""

    text: str
    """Subject and body, one per line, normalised by `normalise`; empty where the row has none."""
    names: tuple[str, ...] = ()
    """Names of people in From, To and Cc."""
    addresses: tuple[str, ...] = ()
    """Mail addresses in any header."""
    sent: datetime.datetime | None = None
    """What its Date header says, in UTC; None where it says nothing readable."""
    decodable: bool = True
    """Whether the text could be decoded; if not, the text is empty."""


def read_content(row: Mapping[str, Any], spec: SourceSpec) -> RowContent:
    """Return what a row says; one that cannot be decoded is marked, not raised for: one mail must not stop a night."""
    values = [row.get(name) for name in spec.text_columns]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) != len(values):
        return RowContent(text="", decodable=False)
    if spec.content is Content.PLAIN:
        return RowContent(text=normalise("\n".join(texts)))
    try:
        mail = read_mail(headers=texts[0], body=texts[1])
    except Undecodable:
        return RowContent(text="", decodable=False)
    text = normalise(f"{mail.subject}\n{mail.body}".strip())
    names = tuple(normalise(name) for name in mail.names)
    return RowContent(text=text, names=names, addresses=tuple(normalise(a) for a in mail.addresses), sent=mail.sent)


def normalise(text: str) -> str:
    """Return text in one form, so that no look-alike hides personal data from a recogniser.

    NFKC makes a fullwidth @ an @; format characters (zero-width spaces, soft hyphens, direction marks) and lone
    surrogates go; controls become blanks, line ends newlines, runs of blanks one blank; empty lines go. A text in that
    form stays as it is.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii():
        seen = (c for c in nfkc(text) if unicodedata.category(c) not in INVISIBLE)
        # Again: what stood on both sides of one that shows nothing may be one character.
        text = nfkc("".join(seen))
    text = CONTROL.sub(" ", text)
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)
