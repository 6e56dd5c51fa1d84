"""Personal data planted in landing files, and the search for what of it is left, in whatever form it is written."""

from __future__ import annotations

import base64
import json
import quopri
import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from email.header import Header
from typing import Any
from urllib.parse import quote

from tests.core.anonymisation.personal import Maker
from tests.leaks import texts_of

KINDS = ("address", "phone", "card", "iban", "wallet", "ip", "host", "nationalid")
SAID = {
    "en": "Hello, as we said on the phone my new one is {} from today, please change it.",
    "de": "Guten Tag, wie besprochen gilt ab heute {}; bitte ändern Sie das für uns.",
    "zh": "您好，从今天起请使用{}谢谢，请尽快更新。",  # noqa: RUF001
    "ru": "Здравствуйте, с сегодняшнего дня верно {}, исправьте, пожалуйста.",  # noqa: RUF001
}
"""What stands around a planted value, in four languages and three scripts."""
_SYLLABLES = [a + b for a in "bdfgklmnprtvz" for b in ("ax", "ev", "io", "oq", "uz", "yl")]
_FULLWIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


@dataclass(frozen=True, slots=True)
class Canary:
    """One planted value."""

    value: str
    place: str
    """Where it was planted."""
    in_text: bool = True
    """Whether it would be in the data set if nothing were looked for."""


def _raw(said: str) -> tuple[str, str]:
    return "", said


def _base64(said: str) -> tuple[str, str]:
    headers = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64"
    return headers, base64.encodebytes(said.encode()).decode()


def _quoted(said: str) -> tuple[str, str]:
    headers = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable"
    return headers, quopri.encodestring(said.encode()).decode()


def _html(said: str) -> tuple[str, str]:
    half = len(said) // 2
    # Tags inside the value, and characters of it as entities.
    entities = "".join(f"&#{ord(c)};" if c in "@.-" else c for c in said[half:])
    page = f"<html><body><table><tr><td><div>{said[:half]}<b></b><span>{entities}</span></div></td></tr></table>"
    return "Content-Type: text/html; charset=utf-8", page


def _nested(said: str) -> tuple[str, str]:
    inner_headers, inner = _base64(said)
    body = (
        "--A\nContent-Type: multipart/alternative; boundary=B\n\n"
        f"--B\n{inner_headers}\n\n{inner}\n--B--\n--A\nContent-Type: application/pdf\n"
        f"Content-Disposition: attachment; filename=x.pdf\nContent-Transfer-Encoding: base64\n\n{inner}\n--A--\n"
    )
    return "Content-Type: multipart/mixed; boundary=A", body


def _fullwidth(said: str) -> tuple[str, str]:
    return "", said.translate(_FULLWIDTH)


def _invisible(said: str) -> tuple[str, str]:
    return "", "\u200b".join(said)


WRITTEN: dict[str, Callable[[str], tuple[str, str]]] = {
    "plain": _raw,
    "base64": _base64,
    "quoted-printable": _quoted,
    "html": _html,
    "nested": _nested,
    "fullwidth": _fullwidth,
    "invisible": _invisible,
}
"""Headers and body of a mail that says something, by how it is written."""


class Planted:
    """Rows of a mail source with further columns, and every canary in them."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._maker = Maker(self._chance)
        self.canaries: list[Canary] = []
        self.rows = [*self._bodies(), *self._headers(), *self._held_back()]

    def _plant(self, value: str, place: str, in_text: bool = True) -> str:
        self.canaries.append(Canary(value, place, in_text))
        return value

    def _value(self, kind: str, place: str, in_text: bool = True) -> str:
        return self._plant(str(getattr(self._maker, kind)()), f"{kind} {place}", in_text)

    def _name(self, place: str, in_text: bool = True) -> tuple[str, str]:
        first, last = ("".join(self._chance.choices(_SYLLABLES, k=3)).title() for _ in range(2))
        return self._plant(first, f"name {place}", in_text), self._plant(last, f"name {place}", in_text)

    def _row(self, headers: str, body: str, label: str = "ham", **changes: Any) -> dict[str, Any]:
        number = self._chance.randrange(10**9)
        return {
            "id": f"mail/{number:09d}",
            "label": label,
            "headers": f"{headers}\nSubject: change {number}\nDate: Thu, 26 Sep 2002 18:26:25 +0700".strip(),
            "body": body,
            **self._columns(),
            **changes,
        }

    def _columns(self) -> dict[str, str]:
        return {
            name: self._plant(f"{self._maker.letters(4)}-{self._maker.digits(8)}", f"column {name}", in_text=False)
            for name in ("customer", "account", "secret", "unnamed")
        }

    def _bodies(self) -> Iterator[dict[str, Any]]:
        for place, write in WRITTEN.items():
            for language, said in SAID.items():
                for kind in KINDS:
                    headers, body = write(said.format(self._value(kind, f"{language} {place}")))
                    yield self._row(headers, body)

    def _headers(self) -> Iterator[dict[str, Any]]:
        for language, said in SAID.items():
            first, last = self._name(f"{language} From, text")
            address = self._value("address", f"{language} From", in_text=False)
            person = Header(f"{first} {last}", "utf-8").encode()
            yield self._row(f"From: {person} <{address}>", said.format(f"{last}, {first}"))
            row = self._row("", said.format("it"))
            sought = f"{row['customer']} {row['account']} {row['secret']}"
            yield {**row, "body": said.format(sought)}
            yield self._row(
                "", "x " * 1990 + said.format(self._value("address", f"{language} beyond the cut", in_text=False))
            )
            hidden = self._value("phone", f"{language} X-Caller", in_text=False)
            yield self._row(f"X-Caller: {hidden}", said.format("this"))
            yield self._row("", said.format("that"), id=f"<{self._value('address', f'{language} id', in_text=False)}>")

    def _held_back(self) -> Iterator[dict[str, Any]]:
        for kind in KINDS:
            label = self._value(kind, "label of a row held back", in_text=False)
            yield self._row("", SAID["en"].format(self._value(kind, "row held back", in_text=False)), label=label)


class CanarySearch:
    """Finds planted values in bytes, however they are written there."""

    def __init__(self, canaries: Iterable[Canary]) -> None:
        self._forms = {canary.value: _forms(canary.value) for canary in canaries}

    def found_in(self, data: bytes) -> set[str]:
        """Return the planted values that stand in what some bytes say."""
        text = "\n".join(texts_of(data)).lower()
        bare = re.sub(r"[\s.:/()_-]", "", text)
        return {value for value, forms in self._forms.items() if any(form in text or form in bare for form in forms)}


def _forms(value: str) -> set[str]:
    """Return a value as it is, without marks, as JSON, in a URL, in base64 at any offset, as quoted-printable."""
    raw = value.encode()
    forms = {value, re.sub(r"[\s.:/()_-]", "", value), json.dumps(value)[1:-1], quote(value), raw.decode("latin-1")}
    forms |= {base64.b64encode(b"\0" * skip + raw).decode()[4 if skip else 0 : -4] for skip in range(3)}
    forms.add(quopri.encodestring(raw).decode().replace("=\n", ""))
    return {form.lower() for form in forms if len(form) >= 6}
