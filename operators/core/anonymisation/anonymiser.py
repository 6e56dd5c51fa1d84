"""The policy at work: what leaves a row, with every piece of personal data that is found replaced by its pseudonym."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from operators.core.anonymisation.addresses import ADDRESS_PATTERN, find_addresses
from operators.core.anonymisation.coarsening import beginning_of, mask, period_of, range_of
from operators.core.anonymisation.lines import Finder, by_line
from operators.core.anonymisation.moving import Replaced, move_spans
from operators.core.anonymisation.names import find_names, finder_by_model
from operators.core.anonymisation.occurrences import Entity, find_entities
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN, normal_form, pseudonym
from operators.core.anonymisation.spans import Span, settle
from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy, Recogniser
from operators.core.errors import DataError, PrivacyRiskTooHigh
from operators.core.labels import LabelledSpan, decode_spans

MAX_ROUNDS = 6
"""A replacement can join its neighbours to something new, as in `a@b.c@d.e`; two rounds settle every mail seen."""
IDENTIFIER = re.compile(r"[A-Za-z0-9._/-]{1,200}")


class Anonymiser:
    """Applies one policy with one key. Use it for many rows: it remembers lines it has seen.

    Args:
        spec: The policy.
        key: The key of the pseudonyms, at least 16 secret bytes.
        find_names: Gives the places of names in a line, where a model looks for them.
    """

    def __init__(
        self, spec: AnonymisationSpec, key: bytes, find_names: Callable[[str], Iterable[tuple[int, int]]] | None = None
    ) -> None:
        self.spec = spec
        self._key = key
        by_model = [] if find_names is None else [finder_by_model(find_names, spec.min_name_characters)]
        self._find_patterns = by_line([*_pattern_finders(spec), *by_model])
        self._originals: dict[str, str] = {}

    def value(self, policy: ColumnPolicy, value: Any) -> Any:
        """Return what a policy other than TEXT makes of a value of the source's type; what is missing stays so.

        Raises:
            DataError: A category, or the name of a span, is none that the policy lists.
        """
        if value is None or policy.action is Action.KEEP:
            return value
        if policy.action is Action.GENERALISE:
            return _coarse(policy, value)
        word = str(value)
        if policy.action is Action.MASK:
            assert policy.visible is not None
            return mask(word, policy.visible)
        if policy.action in (Action.CATEGORY, Action.SPANS):
            names = [span.name for span in decode_spans(word)] if policy.action is Action.SPANS else [word]
            if not set(names) <= set(policy.values):
                raise DataError(
                    f"column {policy.column}: a value that the policy does not list; it lists {policy.values}"
                )
            return word
        if policy.action is Action.IDENTIFIER and IDENTIFIER.fullmatch(word):
            return word
        # A pseudonym stands for itself: rows that went through once come out unchanged.
        return word if PSEUDONYM_PATTERN.fullmatch(word) else self._word(policy.kind, normal_form(policy.kind, word))

    def text(
        self, text: str, *, names: Iterable[str] = (), addresses: Iterable[str] = (), entities: Iterable[Entity] = ()
    ) -> str:
        """Return free text with what the recognisers find replaced, again and again until they find nothing.

        So a text that went through comes out unchanged, and holds no match of `ADDRESS_PATTERN`.

        Args:
            text: Normalised text.
            names: Names of people in the row's headers.
            addresses: Mail addresses in the row's headers.
            entities: Values of the row's columns that must not stand in it, normalised as it is.

        Raises:
            PrivacyRiskTooHigh: Personal data is still found after six rounds.
        """
        return self.labelled_text(text, (), names=names, addresses=addresses, entities=entities)[0]

    def labelled_text(
        self,
        text: str,
        spans: tuple[LabelledSpan, ...],
        *,
        names: Iterable[str] = (),
        addresses: Iterable[str] = (),
        entities: Iterable[Entity] = (),
    ) -> tuple[str, tuple[LabelledSpan, ...]]:
        """Return what `text` does, and where labelled spans of the text lie in it."""
        entities = list(entities)
        names = [*names, *(entity.value for entity in entities if entity.kind == Recogniser.NAME.value)]
        addresses = list(addresses)
        for _ in range(MAX_ROUNDS):
            found = settle(self._find(text, names, addresses, entities))
            if not found:
                return text, spans
            words = [self._word(span.kind, span.value) for span in found]
            spans = move_spans(
                spans, [Replaced(s.start, s.end, len(word)) for s, word in zip(found, words, strict=True)]
            )
            text = _with_words(text, found, words)
        raise PrivacyRiskTooHigh(f"a text still holds personal data after {MAX_ROUNDS} rounds of replacing it")

    def _find(self, text: str, names: list[str], addresses: list[str], entities: list[Entity]) -> Iterator[Span]:
        if Recogniser.ADDRESS in self.spec.recognisers:
            yield from find_addresses(text, addresses)
        if Recogniser.NAME in self.spec.recognisers:
            yield from find_names(text, names, self.spec.min_name_characters)
        if entities:
            yield from find_entities(text, entities, self.spec.min_name_characters)
        yield from self._find_patterns(text)

    def _word(self, kind: str, value: str) -> str:
        word = pseudonym(kind, value, self._key)
        if self.spec.reversible:
            self._originals[word] = value
        return word

    def take_originals(self) -> dict[str, str]:
        """Return what each pseudonym stands for that was made since the last call; nothing unless reversible."""
        taken, self._originals = self._originals, {}
        return taken


def _with_words(text: str, spans: Iterable[Span], words: Iterable[str]) -> str:
    pieces: list[str] = []
    end = 0
    for span, word in zip(spans, words, strict=True):
        pieces += [text[end : span.start], word]
        end = span.end
    return "".join([*pieces, text[end:]])


def _pattern_finders(spec: AnonymisationSpec) -> list[Finder]:
    if all(policy.action is not Action.TEXT for policy in spec.columns):
        return []
    # Here, not at the top: Presidio takes seconds to import, and only free text needs it.
    from operators.core.anonymisation import numbers, recognisers

    finders: dict[Recogniser, Finder] = {
        Recogniser.CARD: recognisers.find_cards,
        Recogniser.IP: recognisers.find_ips,
        Recogniser.HOST: recognisers.find_hosts,
        Recogniser.PHONE: recognisers.phone_finder(spec.phone_regions),
        Recogniser.IBAN: numbers.find_ibans,
        Recogniser.WALLET: numbers.find_wallets,
        Recogniser.NATIONAL_ID: numbers.national_finder(spec.id_countries),
    }
    return [finders[kind] for kind in spec.recognisers if kind in finders]


def _coarse(policy: ColumnPolicy, value: Any) -> str:
    if policy.width is not None:
        return range_of(value, policy.width)
    if policy.period is not None:
        return period_of(value, policy.period)
    assert policy.prefix is not None
    return beginning_of(value, policy.prefix)


def check_clean(text: str, column: str) -> None:
    """Have made sure that what leaves a column holds no mail address.

    Raises:
        PrivacyRiskTooHigh: It does; the message does not repeat it.
    """
    found = ADDRESS_PATTERN.search(text) if "@" in text or "%40" in text else None
    if found:
        raise PrivacyRiskTooHigh(
            f"column {column}: a mail address is left at character {found.start()}; give the column another action"
        )
