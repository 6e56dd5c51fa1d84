"""Presidio's pattern recognisers, each behind a test that is cheap and cannot lose a match.

Their `analyze` is called directly: the analyser around them would need a language model, which finds nothing that these
look for.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import tldextract
from presidio_analyzer import EntityRecognizer
from presidio_analyzer.predefined_recognizers import CreditCardRecognizer, IpRecognizer, PhoneRecognizer, UrlRecognizer

from operators.core.anonymisation.lines import Finder
from operators.core.anonymisation.plain import plain
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN
from operators.core.anonymisation.spans import Span

MIN_PHONE_DIGITS = 6
"""Fewer digits are no phone number: Germany has local ones of five, which any price or postcode would match."""
MIN_SCORE = 0.3
"""Below lies only the IPv6 address `::` on its own, which is C++ in most mails that have it."""
MAX_CARD_DIGITS = 19
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"[0-9]+")
_CARD_RUN = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,}")
_SIX = re.compile(r":[0-9A-Fa-f]{0,4}:")
_LABEL = re.compile(r"\b[A-Za-z0-9]{1,40}:")
_NOT_HEX = re.compile(r"[G-Zg-z]")
_SCHEME = re.compile(r"(?i)(?<![a-z0-9])[a-z][a-z0-9+.-]{1,20}://([^\s/?#<>\"'\\]+)")
_HOST_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*")
_PUBLIC_SUFFIXES = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
"""Reads the snapshot inside the package: it must not fetch the list at the first URL."""

_urls = UrlRecognizer()
_ips = IpRecognizer()
_cards = CreditCardRecognizer()


def find_cards(text: str) -> Iterator[Span]:
    """Yield numbers of payment cards: 14 to 19 digits, or Visa's 13, whose check digit is right.

    Presidio's own pattern knows neither Mastercard's numbers from 2221 on nor those of 19 digits.
    """
    for run in _CARD_RUN.finditer(plain(text)) if _DIGIT.search(text) else ():
        groups = [(group.start() + run.start(), group.end() + run.start()) for group in _DIGITS.finditer(run[0])]
        for first, (start, _) in enumerate(groups):
            # The longest from each group on: by chance a number before it makes one with the first half of another.
            window = groups[first : first + MAX_CARD_DIGITS]
            end = next((end for _, end in reversed(window) if _is_card(run, start, end)), None)
            if end is not None:
                yield Span(start=start, end=end, kind="card", value=_digits(run, start, end))


def _digits(run: re.Match[str], start: int, end: int) -> str:
    return "".join(_DIGITS.findall(run.string[start:end]))


def _is_card(run: re.Match[str], start: int, end: int) -> bool:
    digits = _digits(run, start, end)
    fits = (digits[0] in "123456" and 14 <= len(digits) <= MAX_CARD_DIGITS) or (digits[0] == "4" and len(digits) == 13)
    return fits and bool(_cards.validate_result(digits))


def find_ips(text: str) -> Iterator[Span]:
    """Yield IPv4 and IPv6 addresses."""
    if "::" in text or _DIGIT.search(text):
        form = plain(text)
        if _SIX.search(form):
            # What says that an address follows is no part of it: `IP:2001:db8::1`.
            form = _LABEL.sub(lambda label: label[0][:-1] + " " if _NOT_HEX.search(label[0]) else label[0], form)
        for start, end in matches(_ips, form, MIN_SCORE):
            yield Span(start=start, end=end, kind="ip", value=text[start:end])


def find_hosts(text: str) -> Iterator[Span]:
    """Yield the hosts of URLs: all that follows a scheme, and whatever Presidio takes for a URL, up to its path."""
    for match in _SCHEME.finditer(text):
        if not PSEUDONYM_PATTERN.fullmatch(match[1]):
            yield Span(start=match.start(1), end=match.end(1), kind="host", value=match[1])
    if "." in text:
        # As it stands for hosts in other scripts, in ASCII for those that touch a word in another script.
        for form in dict.fromkeys((text, plain(text))):
            for start, _ in matches(_urls, form, MIN_SCORE):
                yield from _host_at(form, start)


def phone_finder(regions: tuple[str, ...]) -> Finder:
    """Return a finder of phone numbers in the national formats of some regions and in the international one."""
    recogniser = PhoneRecognizer(supported_regions=regions)

    def find_phones(text: str) -> Iterator[Span]:
        if len(_DIGIT.findall(text)) >= MIN_PHONE_DIGITS:
            for start, end in matches(recogniser, text, MIN_SCORE):
                value = "".join(_DIGIT.findall(text[start:end]))
                if len(value) >= MIN_PHONE_DIGITS:
                    yield Span(start=start, end=end, kind="phone", value=value)

    return find_phones


def matches(recogniser: EntityRecognizer, text: str, min_score: float) -> list[tuple[int, int]]:
    """Return where one of Presidio's recognisers is sure enough of a match."""
    found = recogniser.analyze(text, recogniser.supported_entities)
    return sorted({(result.start, result.end) for result in found if result.score >= min_score})


def _host_at(text: str, start: int) -> Iterator[Span]:
    # Presidio's pattern ends inside words: `fork.com` in `fork.community`, `notes.no` in `notes.nothing`. Take the
    # whole run of host characters, then drop labels from its end until a public suffix is left; none, then no host.
    if text.startswith(("http://", "https://", '"', "'"), start):
        return  # The part behind a scheme is a span of its own; a quoted URL is found without its quote as well.
    while start > 0 and (text[start - 1].isascii() and (text[start - 1].isalnum() or text[start - 1] in ".-")):
        start -= 1
    run = _HOST_RUN.search(text, start)
    if run is None:
        return
    labels = run[0].rstrip(".-").split(".")
    while len(labels) > 1 and not (labels[-1] and _is_public(".".join(labels))):
        labels.pop()
    if len(labels) > 1:
        host = ".".join(labels)
        yield Span(start=run.start(), end=run.start() + len(host), kind="host", value=host)


@functools.lru_cache(maxsize=50_000)
def _is_public(host: str) -> bool:
    parts = _PUBLIC_SUFFIXES(host.lower())
    return bool(parts.suffix and parts.domain)
