"""How a subject looks: in landing rows as it was typed, in stored rows as the policy left it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from operators.core.anonymisation.anonymiser import Anonymiser
from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN
from operators.core.anonymisation.spec import Action
from operators.core.erasure.subject import Subject
from operators.core.sources.contents import normalise, read_content
from operators.core.sources.spec import SourceSpec

_GAP = r"\W{1,3}"
"""Between two words of one name: as wide as the anonymiser allows it to be."""
_NO_LETTERS = re.compile(r"[^A-Za-z@]{6,}")


class Marks:
    """One subject under one recipe's policy.

    What the policy replaces is looked for as its pseudonym, what it leaves as it is is looked for as it is: the subject
    goes through the anonymiser that rows went through.
    """

    def __init__(self, subject: Subject, anonymiser: Anonymiser) -> None:
        self._subject = subject
        self._typed = _one_of([*map(_value_pattern, subject.values), *map(_name_pattern, _orders(subject.names))])
        self._left = _one_of(map(_left_pattern, _left_by(anonymiser, subject)))
        self._stored_ids = frozenset({*subject.row_ids, *(stored_id(anonymiser, value) for value in subject.row_ids)})

    def in_stored(self, day: str, row_id: str, text: str) -> bool:
        """Say whether a stored row is the subject's: by its id, or by what its texts hold."""
        named = self._subject.day in (None, day) and row_id in self._stored_ids
        return named or (self._left is not None and self._left.search(text) is not None)

    def in_landing(self, day: str, row: Mapping[str, Any], source: SourceSpec) -> bool:
        """Say whether a landing row is the subject's: by its id, or by any of its columns, decoded or not."""
        if self._subject.day in (None, day) and str(row.get(source.id_column)) in self._subject.row_ids:
            return True
        if self._typed is None:
            return False
        content = read_content(row, source)
        texts = [value for value in row.values() if isinstance(value, str)]
        texts += [str(value) for value in row.values() if isinstance(value, int | float)]
        return any(self._typed.search(text) for text in (*texts, content.text, *content.names, *content.addresses))


def stored_id(anonymiser: Anonymiser, value: object) -> str:
    """Return the id of a row as it is stored, given as the source has it."""
    return str(anonymiser.value(anonymiser.spec.policy("id"), str(value)))


def _left_by(anonymiser: Anonymiser, subject: Subject) -> Iterator[str]:
    """Yield what a policy leaves of a subject, in texts, in ids and in columns of pseudonyms."""
    columns = [policy for policy in anonymiser.spec.columns if policy.action is Action.PSEUDONYM]
    for value in subject.values:
        yield stored_id(anonymiser, value)
        yield from (str(anonymiser.value(policy, normalise(value))) for policy in columns)
        for form in {value, value.replace("@", "%40")}:
            yield anonymiser.text(form, addresses=[form] if "@" in form else [])
    for name in _orders(subject.names):
        yield anonymiser.text(name, names=[name])


def _one_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    alternatives = "|".join(patterns)
    return re.compile(alternatives, re.IGNORECASE) if alternatives else None


def _orders(names: Iterable[str]) -> list[str]:
    """Return each name as it was typed, and with its last word first, as directories have it."""
    words = [name.replace(",", " ").split() for name in names]
    return [" ".join(order) for name in words for order in (name, [name[-1], *name[:-1]])]


def _name_pattern(name: str) -> str:
    return _bounded(_GAP.join(map(re.escape, name.split())))


def _value_pattern(value: str) -> str:
    if _NO_LETTERS.fullmatch(value):
        # A telephone or card number: however its digits are grouped.
        return r"(?<!\d)" + r"[\s().\-/]*".join(re.findall(r"\d", value)) + r"(?!\d)"
    return _bounded(re.escape(value).replace("@", "(?:@|%40)").replace(r"\ ", r"\s+"))


def _left_pattern(text: str) -> str:
    if len(words := PSEUDONYM_PATTERN.findall(text)) == 1:
        # Whatever touches it in a text: the value's own brackets and signs may have stayed.
        return f"(?<![A-Za-z]){words[0]}(?![a-z])"
    return _bounded(re.escape(text))


def _bounded(pattern: str) -> str:
    """Return a pattern that does not end inside a longer address, number or word."""
    return rf"(?<![\w.+-]){pattern}(?![\w]|[.@-]\w)"
