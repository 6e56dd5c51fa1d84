"""The policy at work: what leaves a row, with every piece of personal data that is found replaced by its pseudonym."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from operators.core.anonymisation.addresses import ADDRESS_PATTERN, find_addresses
from operators.core.anonymisation.names import find_names
from operators.core.anonymisation.pseudonyms import pseudonym
from operators.core.anonymisation.recognisers import find_cards, find_hosts, find_ips, phone_finder
from operators.core.anonymisation.spans import Span, settle
from operators.core.anonymisation.spec import Action, AnonymisationSpec, Recogniser
from operators.core.errors import DataError, PrivacyRiskTooHigh

MAX_ROUNDS = 6
"""A replacement can join its neighbours to something new, as in `a@b.c@d.e`; two rounds settle every mail seen."""
IDENTIFIER = re.compile(r"[A-Za-z0-9._/-]{1,200}")


class Anonymiser:
    """Applies one policy with one key. Use it for many rows: it remembers lines it has seen.

    Args:
        spec: The policy.
        key: The key of the pseudonyms, at least 16 secret bytes.
    """

    def __init__(self, spec: AnonymisationSpec, key: bytes) -> None:
        self._spec = spec
        self._key = key
        finders: dict[Recogniser, Callable[[str], Iterator[Span]]] = {
            Recogniser.CARD: find_cards,
            Recogniser.IP: find_ips,
            Recogniser.HOST: find_hosts,
            Recogniser.PHONE: phone_finder(spec.phone_regions),
        }
        self._finders = [finders[kind] for kind in spec.recognisers if kind in finders]

    def identifier(self, column: str, value: str) -> str:
        """Return an identifier or category as the policy of its column wants it.

        Raises:
            DataError: A category has a value that the policy does not list.
        """
        policy = self._spec.policy(column)
        if policy.action is Action.CATEGORY:
            if value not in policy.values:
                raise DataError(f"column {column}: a value that the policy does not list; it lists {policy.values}")
            return value
        if policy.action is Action.IDENTIFIER and IDENTIFIER.fullmatch(value):
            return value
        return pseudonym("id", value, self._key)

    def text(self, text: str, *, names: Iterable[str] = (), addresses: Iterable[str] = ()) -> str:
        """Return free text with what the recognisers find replaced, again and again until they find nothing.

        So a text that went through comes out unchanged, and holds no match of `ADDRESS_PATTERN`.

        Args:
            text: Normalised text.
            names: Names of people in the row's headers.
            addresses: Mail addresses in the row's headers.

        Raises:
            PrivacyRiskTooHigh: Personal data is still found after six rounds.
        """
        names, addresses = list(names), list(addresses)
        for _ in range(MAX_ROUNDS):
            spans = settle(self._find(text, names, addresses))
            if not spans:
                return text
            text = self._replaced(text, spans)
        raise PrivacyRiskTooHigh(f"a text still holds personal data after {MAX_ROUNDS} rounds of replacing it")

    def _find(self, text: str, names: list[str], addresses: list[str]) -> Iterator[Span]:
        if Recogniser.ADDRESS in self._spec.recognisers:
            yield from find_addresses(text, addresses)
        if Recogniser.NAME in self._spec.recognisers:
            yield from find_names(text, names, self._spec.min_name_characters)
        for find in self._finders:
            yield from find(text)

    def _replaced(self, text: str, spans: list[Span]) -> str:
        pieces: list[str] = []
        end = 0
        for span in spans:
            pieces += [text[end : span.start], pseudonym(span.kind, span.value, self._key)]
            end = span.end
        return "".join([*pieces, text[end:]])


def check_clean(text: str) -> None:
    """Have made sure that a text holds no mail address.

    Raises:
        PrivacyRiskTooHigh: It does; the message does not repeat it.
    """
    found = ADDRESS_PATTERN.search(text)
    if found:
        raise PrivacyRiskTooHigh(f"a mail address is left at character {found.start()} of an anonymised text")
