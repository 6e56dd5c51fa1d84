"""Numbers that states and banks give to one person: bank accounts, wallets, national identity numbers.

What is taken over from Presidio is what is exact enough to be looked for without a word beside it: a check digit, or a
shape that hardly anything else has. A number of nine digits is a US social security number only where it is written
like one. Two of these may claim one number; which of them does makes no difference to what leaves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from presidio_analyzer.predefined_recognizers import (
    CaSinRecognizer,
    CryptoRecognizer,
    DeSocialSecurityRecognizer,
    DeTaxIdRecognizer,
    EsNieRecognizer,
    EsNifRecognizer,
    FiPersonalIdentityCodeRecognizer,
    IbanRecognizer,
    InAadhaarRecognizer,
    InPanRecognizer,
    ItFiscalCodeRecognizer,
    KrRrnRecognizer,
    NhsRecognizer,
    PlPeselRecognizer,
    SePersonnummerRecognizer,
    ThTninRecognizer,
    TrNationalIdRecognizer,
    UkNinoRecognizer,
    UsItinRecognizer,
    UsSsnRecognizer,
)

from operators.core.anonymisation.lines import Finder
from operators.core.anonymisation.plain import plain
from operators.core.anonymisation.recognisers import matches
from operators.core.anonymisation.spans import Span

NATIONAL = {
    "CA": (CaSinRecognizer(),),
    "DE": (DeTaxIdRecognizer(), DeSocialSecurityRecognizer()),
    "ES": (EsNifRecognizer(), EsNieRecognizer()),
    "FI": (FiPersonalIdentityCodeRecognizer(),),
    "GB": (NhsRecognizer(), UkNinoRecognizer()),
    "IN": (InAadhaarRecognizer(), InPanRecognizer()),
    "IT": (ItFiscalCodeRecognizer(),),
    "KR": (KrRrnRecognizer(),),
    "PL": (PlPeselRecognizer(),),
    "SE": (SePersonnummerRecognizer(),),
    "TH": (ThTninRecognizer(),),
    "TR": (TrNationalIdRecognizer(),),
    "US": (UsSsnRecognizer(), UsItinRecognizer()),
}
"""All but five check a digit: US SSN and ITIN, UK NINO, Indian PAN and Korean RRN have their shape only.

South Africa's is left out, for Presidio asks the clock whether its date of birth is over: a row would leave otherwise
tomorrow.
"""
MIN_SCORE = 0.5
"""What Presidio gives a shape that it calls no weaker than medium; a right check digit gives 1."""
MIN_DIGITS = 4
"""An Indian PAN has four; no other number here has fewer, but for an Italian code, which is 16 characters long."""
_DIGIT = re.compile(r"\d")
_CODE = re.compile(r"[A-Za-z0-9]{16}")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
_MARKS = re.compile(r"[^A-Za-z0-9]")
_ETHEREUM = re.compile(r"(?<![A-Za-z0-9])0[xX][0-9A-Fa-f]{40}(?![A-Za-z0-9])")

_ibans = IbanRecognizer()
_wallets = CryptoRecognizer()


def find_ibans(text: str) -> Iterator[Span]:
    """Yield bank account numbers: right check digits, and the length that their country gives them.

    Presidio's own search loses one that capital words follow, and one in small letters: here each end is tried.
    """
    for match in _IBAN.finditer(plain(text)) if _DIGIT.search(text) else ():
        run = match[0]
        ends = [end for end in range(len(run), 14, -1) if end == len(run) or run[end] in " -"]
        for end in ends:
            value = _MARKS.sub("", run[:end]).upper()
            if _ibans.validate_result(value):
                yield Span(start=match.start(), end=match.start() + end, kind="iban", value=value)
                break


def find_wallets(text: str) -> Iterator[Span]:
    """Yield Bitcoin addresses whose checksum is right, and what has the shape of an Ethereum address."""
    if _DIGIT.search(text):
        for start, end in matches(_wallets, plain(text), MIN_SCORE):
            yield Span(start=start, end=end, kind="wallet", value=text[start:end])
        for match in _ETHEREUM.finditer(plain(text)):
            yield Span(start=match.start(), end=match.end(), kind="wallet", value=match[0])


def national_finder(countries: tuple[str, ...]) -> Finder:
    """Return a finder of identity numbers of some countries."""
    recognisers = [recogniser for country in countries for recogniser in NATIONAL[country]]

    def find_national(text: str) -> Iterator[Span]:
        form = plain(text)
        if len(_DIGIT.findall(form)) >= MIN_DIGITS or _CODE.search(form):
            for start, end in {place for recogniser in recognisers for place in matches(recogniser, form, MIN_SCORE)}:
                if _stands_alone(form, start, end):
                    value = _MARKS.sub("", form[start:end]).upper()
                    yield Span(start=start, end=end, kind="nationalid", value=value)

    return find_national


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Say whether a match is no piece of a longer number: some patterns do not ask."""
    return not text[start - 1 : start].isdecimal() and not text[end : end + 1].isdecimal()
