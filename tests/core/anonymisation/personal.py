"""Personal data of nobody: values of every kind in the forms that people write, with right check digits, from a seed.

The check digits are computed here, from the bodies that define them, and not by the library that looks for them.
"""

from __future__ import annotations

import hashlib
import random
import string
from collections.abc import Callable
from dataclasses import dataclass

import phonenumbers

REGIONS = ("US", "GB", "IE", "DE", "FR")
FIRST = ["Maria", "Jürgen", "Siobhán", "Dmitri", "Aiko", "Fatima", "Owen", "Zoë", "Priya", "Łukasz", "Chiara", "Bjørn"]
LAST = ["Kowalska", "Müller", "O'Brien", "Ivanov", "Tanaka", "Al-Sayed", "Fitzgerald", "Núñez", "Raghavan", "Lindqvist"]
SCRIPTS = [("王小明", "李芳"), ("Дмитрий Соколов", "Анна Кузнецова"), ("محمد العلي", "فاطمة حسن")]
DOMAINS = ["example.com", "mail.example.org", "beispiel.de", "exemple.fr", "post.example.co.uk", "münchen.example"]

CARDS = [("4", 16, (4, 4, 4)), ("51", 16, (4, 4, 4)), ("2221", 16, (4, 4, 4)), ("37", 15, (4, 6))]
CARDS += [("6011", 16, (4, 4, 4)), ("3528", 16, (4, 4, 4)), ("62", 19, (4, 4, 4, 4))]
"""How numbers of each network begin, how long they are, and in which groups they are written."""
ACCOUNTS = {"DE": (0, 18), "ES": (0, 20), "PL": (0, 24), "CH": (0, 17), "GB": (4, 14), "NL": (4, 10), "IT": (1, 22)}
"""Letters and digits of a bank account's number, by country."""


def luhn(body: str) -> str:
    """Return digits with their check digit (ISO/IEC 7812-1, annex B)."""
    total = 0
    for place, digit in enumerate(reversed(body)):
        doubled = int(digit) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return body + str(-total % 10)


def iban(country: str, account: str) -> str:
    """Return an account number with its check digits (ISO 13616, ISO 7064 MOD 97-10)."""
    number = "".join(str(int(character, 36)) for character in f"{account}{country}00")
    return f"{country}{98 - int(number) % 97:02d}{account}"


def verhoeff(body: str) -> str:
    """Return digits with their check digit (J. Verhoeff, Error Detecting Decimal Codes, 1969), over the group D5."""

    def times(left: int, right: int) -> int:
        if left < 5:
            return (left + right) % 5 + (0 if right < 5 else 5)
        return (left - right) % 5 + (5 if right < 5 else 0)

    permuted, table = list(range(10)), [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]
    sums = 0
    for digit in f"{body}0"[::-1]:
        sums = times(sums, permuted[int(digit)])
        permuted = [permuted[table[place]] for place in range(10)]
    return body + str(next(digit for digit in range(10) if times(digit, sums) == 0))


def base58check(payload: bytes) -> str:
    """Return a Bitcoin address of the first kinds."""
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    data = payload + hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, word = int.from_bytes(data, "big"), ""
    while number:
        number, place = divmod(number, 58)
        word = alphabet[place] + word
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + word


def bech32(program: list[int]) -> str:
    """Return a Bitcoin address of BIP 173, version 0."""
    alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
    values = [3, 3, 0, 2, 3, *program, *[0] * 6]
    check = 1
    for value in values:
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate([0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3]):
            check ^= generator if top >> bit & 1 else 0
    digits = [*program, *(((check ^ 1) >> 5 * (5 - place)) & 31 for place in range(6))]
    return "bc1" + "".join(alphabet[digit] for digit in digits)


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes values from one stream of chance."""

    chance: random.Random

    def digits(self, count: int) -> str:
        """Return that many digits, the first no zero."""
        return self.chance.choice("123456789") + "".join(self.chance.choices(string.digits, k=count - 1))

    def letters(self, count: int) -> str:
        """Return that many capitals."""
        return "".join(self.chance.choices(string.ascii_uppercase, k=count))

    def spaced(self, value: str, *groups: int) -> str:
        """Return a value as it is, or in groups with one of the usual marks between them."""
        mark = self.chance.choice(["", " ", "-"])
        pieces, rest = [], value
        for size in groups:
            pieces, rest = [*pieces, rest[:size]], rest[size:]
        return mark.join([*pieces, rest] if rest else pieces)

    def name(self) -> str:
        """Return a person's name, one in five in another script than Latin."""
        if self.chance.random() < 0.2:
            return self.chance.choice(self.chance.choice(SCRIPTS))
        return f"{self.chance.choice(FIRST)} {self.chance.choice(LAST)}"

    def address(self) -> str:
        """Return a mail address."""
        first, last = self.chance.choice(FIRST).lower(), self.chance.choice(LAST).lower()
        local = self.chance.choice(
            [f"{first}.{last}", f"{first}+{self.digits(2)}", f"{first[0]}{last}", f'"{first} {last}"', self.digits(7)]
        )
        address = f"{local}@{self.chance.choice(DOMAINS)}"
        return self.chance.choice([address, address, address.upper()])

    def phone(self) -> str:
        """Return a valid number of one of the regions, in one of the forms that are written there."""
        region = self.chance.choice(REGIONS)
        kind = self.chance.choice([phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE])
        example = phonenumbers.example_number_for_type(region, kind)
        while True:
            national = str(example.national_number)[:-5] + self.digits(5)
            number = phonenumbers.PhoneNumber(country_code=example.country_code, national_number=int(national))
            if phonenumbers.is_valid_number(number):
                break
        formats = phonenumbers.PhoneNumberFormat
        forms = [formats.NATIONAL, formats.INTERNATIONAL, formats.E164, formats.RFC3966]
        written = phonenumbers.format_number(number, self.chance.choice(forms))
        return self.chance.choice([written, written, written.replace(" ", "."), written.replace(" ", "-")])

    def card(self) -> str:
        """Return a payment card's number."""
        start, length, groups = self.chance.choice(CARDS)
        return self.spaced(luhn(start + self.digits(length - 1 - len(start))), *groups)

    def iban(self) -> str:
        """Return a bank account's number, whole, in groups of four, or in small letters."""
        country = self.chance.choice(sorted(ACCOUNTS))
        letters, digits = ACCOUNTS[country]
        account = self.letters(letters) + self.digits(digits)
        value = iban(country, account)
        grouped = " ".join(value[place : place + 4] for place in range(0, len(value), 4))
        return self.chance.choice([value, grouped, value.lower()])

    def wallet(self) -> str:
        """Return an address of Bitcoin or Ethereum."""
        payload = self.chance.randbytes(20)
        program = [0, *(self.chance.randrange(32) for _ in range(32))]
        return self.chance.choice(
            [base58check(b"\0" + payload), base58check(b"\5" + payload), bech32(program), f"0x{payload.hex()}"]
        )

    def ip(self) -> str:
        """Return an IPv4 or IPv6 address."""
        four = ".".join(str(self.chance.randrange(1, 255)) for _ in range(4))
        six = [f"{self.chance.randrange(1, 2**16):x}" for _ in range(8)]
        return self.chance.choice([four, ":".join(six), f"{':'.join(six[:3])}::{six[7]}", f"::ffff:{four}"])

    def host(self) -> str:
        """Return the host of a URL."""
        first, last = self.chance.choice(["www", "shop", "intra"]), self.chance.choice(["com", "de", "co.uk", "io"])
        return f"{first}.{self.letters(7).lower()}.{last}"

    def nationalid(self) -> str:
        """Return an identity number of one of the countries."""
        return self.chance.choice(sorted(NATIONAL.items()))[1](self)


def _date(maker: Maker) -> tuple[str, str, str]:
    year, month, day = (maker.chance.randrange(*limits) for limits in ((0, 100), (1, 13), (1, 29)))
    return f"{year:02d}", f"{month:02d}", f"{day:02d}"


def _nhs(maker: Maker) -> str:
    while True:
        body = maker.digits(9)
        check = 11 - sum(int(digit) * (10 - place) for place, digit in enumerate(body)) % 11
        if check != 10:
            return maker.spaced(f"{body}{check % 11}", 3, 3)


def _tax_id(maker: Maker) -> str:
    body = maker.chance.choice(string.digits[1:]) + "".join(maker.chance.sample(string.digits, 9))
    product = 10
    for digit in body:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return f"{body}{(11 - product) % 10}"


def _pesel(maker: Maker) -> str:
    body = "".join(_date(maker)) + maker.digits(4)
    weights = (1, 3, 7, 9) * 3
    return f"{body}{-sum(int(d) * w for d, w in zip(body, weights, strict=False)) % 10}"


def _codice_fiscale(maker: Maker) -> str:
    year, _, day = _date(maker)
    body = f"RSSMRA{year}{maker.chance.choice('ABCDEHLMPRST')}{day}H{maker.chance.randrange(100, 1000)}"
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    order = [int(character) if character.isdigit() else ord(character) - ord("A") for character in body]
    total = sum(odd[value] if place % 2 == 0 else value for place, value in enumerate(order))
    return body + chr(ord("A") + total % 26)


def _hetu(maker: Maker) -> str:
    year, month, day = _date(maker)
    serial = f"{maker.chance.randrange(2, 900):03d}"
    check = "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(f"{day}{month}{year}{serial}") % 31]
    return f"{day}{month}{year}-{serial}{check}"


def _tckn(maker: Maker) -> str:
    body = maker.digits(9)
    tenth = (sum(map(int, body[0::2])) * 7 - sum(map(int, body[1::2]))) % 10
    return f"{body}{tenth}{(sum(map(int, body)) + tenth) % 10}"


def _rentenversicherung(maker: Maker) -> str:
    year, month, day = _date(maker)
    area, letter, serial = maker.digits(2), maker.letters(1), f"{maker.chance.randrange(100):02d}"
    digits = f"{area}{day}{month}{year}{ord(letter) - ord('A') + 1:02d}{serial}"
    products = (int(digit) * weight for digit, weight in zip(digits, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1), strict=True))
    check = sum(product // 10 + product % 10 for product in products) % 10
    return f"{area}{day}{month}{year}{letter}{serial}{check}"


def _nif(maker: Maker) -> str:
    number = maker.digits(8)
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def _nie(maker: Maker) -> str:
    first, number = maker.chance.randrange(3), maker.digits(7)
    return "XYZ"[first] + number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{first}{number}") % 23]


def _tnin(maker: Maker) -> str:
    body = maker.chance.choice("12345678") + f"{maker.chance.randrange(10, 28)}" + maker.digits(9)
    total = sum(int(digit) * (13 - place) for place, digit in enumerate(body))
    return f"{body}{(11 - total % 11) % 10}"


def _rrn(maker: Maker) -> str:
    return "".join(_date(maker)) + "-" + maker.chance.choice("1234") + maker.digits(6)


NATIONAL: dict[str, Callable[[Maker], str]] = {
    "CA SIN": lambda m: (n := luhn(m.chance.choice("1234567") + m.digits(7)))[:3] + f"-{n[3:6]}-{n[6:]}",
    "DE tax": _tax_id,
    "DE insurance": _rentenversicherung,
    "ES NIF": _nif,
    "ES NIE": _nie,
    "FI HETU": _hetu,
    "GB NHS": _nhs,
    "GB NINO": lambda m: f"{m.chance.choice(['AB', 'CE', 'JK'])}{m.spaced(m.digits(6), 2, 2).replace('-', ' ')}A",
    "IN Aadhaar": lambda m: m.spaced(verhoeff(m.chance.choice("23456789") + m.digits(10)), 4, 4),
    "IN PAN": lambda m: f"{m.letters(3)}P{m.letters(1)}{m.digits(4)}{m.letters(1)}",
    "IT codice fiscale": _codice_fiscale,
    "KR RRN": _rrn,
    "PL PESEL": _pesel,
    "SE personnummer": lambda m: (n := luhn("".join(_date(m)) + m.digits(3)))[:6] + "-" + n[6:],
    "TH TNIN": _tnin,
    "TR TCKN": _tckn,
    "US SSN": lambda m: f"{m.chance.randrange(100, 600)}-{m.chance.randrange(10, 99)}-{m.digits(4)}",
    "US ITIN": lambda m: f"9{m.chance.randrange(10, 99)}-{m.chance.randrange(70, 89)}-{m.digits(4)}",
}
"""A number of each kind, as it is usually written."""
