"""Mail as RFC 822 text: subject and body decoded, and the people in its headers."""

from __future__ import annotations

import base64
import datetime
import email
import email.policy
import quopri
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.errors import MessageError
from email.header import decode_header
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime

from operators.core.sources.html import html_to_text

NAME_HEADERS = ("From", "To", "Cc")
MAX_HEADER_CHARACTERS = 102_400
"""Of all headers of a mail, as servers that carry mail have it: Python's readers of them take time by the square."""
MAX_MULTIPARTS = 20
"""Of a mail: with each that lies in another a line takes its parser longer."""
MAX_PARTS = 200
"""Parts of a multipart mail that are looked at."""
FALLBACK_CHARSET = "windows-1252"
"""For bytes that are no UTF-8 and name no charset: what mailers of that kind meant."""


_MULTIPART = re.compile(r"^content-type:\s*multipart/", re.IGNORECASE | re.MULTILINE)


class Undecodable(Exception):
    """The mail's text cannot be had: an unknown charset, a broken structure, more of it than any mail needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mail:
    """The parts of a mail that matter here, decoded."""

    subject: str
    body: str
    """Plain text; of HTML what its reader sees."""
    names: tuple[str, ...]
    """Names in From, To and Cc, as written."""
    addresses: tuple[str, ...]
    """Every mail address in any header, as written."""
    sent: datetime.datetime | None
    """The Date header in UTC; None where it is missing or unreadable."""


def read_mail(*, headers: str, body: str) -> Mail:
    """Return a mail's readable parts.

    Raises:
        Undecodable: Its text, or who is named in it, cannot be had.
    """
    if len(headers) > MAX_HEADER_CHARACTERS:
        raise Undecodable(f"{len(headers)} characters of headers")
    try:
        # compat32 keeps what it cannot parse; the default policy raises from inside on headers that spam really has.
        # Bytes, since a text parser would take each non-ASCII character for one undecoded byte.
        whole = f"{headers}\n\n{body}"
        if len(_MULTIPART.findall(whole)) > MAX_MULTIPARTS:
            raise ValueError
        return _mail(email.message_from_bytes(whole.encode(), policy=email.policy.compat32))
    except Exception as error:
        # Whoever writes a mail chooses what its parsers stumble over, and they raise what they happen to.
        raise Undecodable(type(error).__name__) from None


def _mail(message: Message) -> Mail:
    people = _pairs(value for name in NAME_HEADERS for value in message.get_all(name, []))
    everyone = _pairs(message.values())
    return Mail(
        subject=decoded_header(_header(message, "Subject")),
        body=_text_of(message),
        names=tuple(dict.fromkeys(name for name, _ in people if name)),
        addresses=tuple(dict.fromkeys(address for _, address in everyone if "@" in address)),
        sent=_sent(message),
    )


def decoded_header(value: str) -> str:
    """Return a header with its encoded words decoded, and those of unknown charsets as they are.

    So is one that is broken, or longer than all headers of a mail may be.
    """
    if "=?" not in value or len(value) > MAX_HEADER_CHARACTERS:
        return value
    try:
        parts = decode_header(value)
    except (ValueError, MessageError):
        return value
    return "".join(part if isinstance(part, str) else _decode(part, charset) for part, charset in parts)


def _decode(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8", errors="replace")
    except (LookupError, ValueError):
        return data.decode("utf-8", errors="replace")


def _header(message: Message, name: str) -> str:
    return _as_text(message.get(name, ""))


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    # compat32 hands out a Header where there were bytes beyond ASCII; they are UTF-8, since the landing file is.
    parts = decode_header(value)  # type: ignore[arg-type]
    return "".join(part if isinstance(part, str) else part.decode("utf-8", errors="replace") for part, _ in parts)


def _pairs(headers: Iterable[object]) -> list[tuple[str, str]]:
    """Return the names and addresses that stand in headers."""
    values = [_as_text(value) for value in headers]
    # One value at a time: a broken one must not swallow the next. Decoded too: whole lists hide in encoded words.
    pairs = [pair for value in values for pair in getaddresses([value])]
    pairs += [pair for value in values if "=?" in value for pair in getaddresses([decoded_header(value)])]
    return [(" ".join(decoded_header(name).split()), address) for name, address in pairs]


def _sent(message: Message) -> datetime.datetime | None:
    try:
        sent = parsedate_to_datetime(_header(message, "Date"))
        return sent.replace(tzinfo=sent.tzinfo or datetime.UTC).astimezone(datetime.UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _text_of(message: Message) -> str:
    plain: list[str] = []
    html: list[str] = []
    for part in _text_parts(message):
        (html if part.get_content_subtype() == "html" else plain).append(_payload(part))
    text = "\n".join(plain)
    return text if text.strip() else "\n".join(html_to_text(piece) for piece in html)


def _text_parts(message: Message) -> Iterator[Message]:
    for number, part in enumerate(message.walk()):
        if number == MAX_PARTS:
            return
        attached = part.get_content_disposition() == "attachment"
        if part.get_content_maintype() == "text" and not part.is_multipart() and not attached:
            yield part


def _payload(part: Message) -> str:
    raw = str(part.get_payload()).encode("utf-8", "surrogateescape")
    encoding = str(part.get("Content-Transfer-Encoding", "")).strip().lower()
    if encoding == "base64":
        # What is no base64 is skipped, as mail readers do; a tail cut off is left out.
        packed = re.sub(rb"[^A-Za-z0-9+/]", b"", raw)
        return _decode_text(base64.b64decode(packed[: len(packed) // 4 * 4] + _tail(packed)), _charset(part))
    if encoding == "quoted-printable":
        return _decode_text(quopri.decodestring(raw), _charset(part))
    # Unencoded text is UTF-8 already: the landing file is. Its declared charset describes bytes that are gone, and
    # without `decode` the parser would read them by it, or lose all that is not ASCII.
    unencoded = part.get_payload(decode=True)
    assert isinstance(unencoded, bytes)
    return unencoded.decode("utf-8", errors="replace")


def _tail(packed: bytes) -> bytes:
    rest = packed[len(packed) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _charset(part: Message) -> str | None:
    charset = part.get_content_charset()
    return charset.strip("\"' ") if charset else None


def _decode_text(data: bytes, charset: str | None) -> str:
    if charset is not None:
        return data.decode(charset, errors="replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(FALLBACK_CHARSET, errors="replace")
