"""Profiles: what a set of rows looks like, in counts that can be added up and that name nobody.

A profile of a year is the sum of its days' profiles, so data of any size is compared without being read again. It is
taken of anonymised rows.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from operators.core.errors import DataError
from operators.core.labels import Task, names_in
from operators.core.manifest import canonical

PROFILE_NAME = "profile.json"
WORD_BUCKETS = 4096
"""Words are counted by a hash of 12 bits: enough to see another vocabulary, too little to find a word again."""
LABEL_BUCKETS = 64
"""Of labels, and of the words of each: so what goes with what takes no more room than the words themselves."""
_TEXTS_AT_ONCE = 256
_WORD = re.compile(r"\w+")

Counts = Counter[int]


def _count_bin(value: float) -> int:
    """Return the bin of a count or a length: four an octave, so that 19 % more is another bin at any size."""
    return int(4 * math.log2(1 + value))


def _share_bin(value: float) -> int:
    """Return the bin of a share from 0 to 1: finer near 0, where most shares of a text are."""
    return int(40 * math.sqrt(value))


MEASURES: Mapping[str, Callable[[str, list[str]], int]] = {
    "characters": lambda text, words: _count_bin(len(text)),
    "words": lambda text, words: _count_bin(len(words)),
    "lines": lambda text, words: _count_bin(text.count("\n")),
    "characters_a_word": lambda text, words: _count_bin(len(text) / max(1, len(words))),
    "distinct_words": lambda text, words: _share_bin(len(set(words)) / max(1, len(words))),
}
"""Numbers of a text, each as the bin that it falls into; given the text, never empty, and its words."""
CLASSES: Mapping[str, Callable[[str], bool]] = {
    "letters": str.isalpha,
    "capitals": str.isupper,
    "digits": str.isdigit,
    "not_ascii": lambda character: character > "\x7f",
    "punctuation": lambda character: character in '<>&;="{}\\|',
}
"""Kinds of characters, whose share of a text is measured too."""
_NAMES = (*MEASURES, *CLASSES)


@dataclass(kw_only=True, slots=True)
class Profile:
    """Counts over rows. Adding two profiles gives the profile of both sets of rows."""

    rows: int = 0
    repeated: int = 0
    """Rows whose text stood in an earlier row of the same file."""
    labels: Counter[str] = field(default_factory=Counter)
    """Of a text its label, of tokens the name of each span; rows without any count as the empty name."""
    measures: dict[str, Counts] = field(default_factory=lambda: {name: Counter() for name in _NAMES})
    """For each of `MEASURES` and `CLASSES`, the number of rows in each bin."""
    words: Counts = field(default_factory=Counter)
    """Number of rows that hold a word of a bucket."""
    label_words: Counts = field(default_factory=Counter)
    """Number of rows with a label and a word of two buckets, under `label * LABEL_BUCKETS + word`."""

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]], task: Task = "text_classification") -> Profile:
        """Return the profile of a file's rows; each has a `text` that is not empty and a `label` of the task."""
        profile = cls()
        seen: set[str] = set()
        pending: list[str] = []
        for row in rows:
            text = row["text"]
            pending.append(text)
            if len(pending) == _TEXTS_AT_ONCE:
                profile._count_classes(pending)
                pending.clear()
            words = _WORD.findall(text.casefold())
            profile.rows += 1
            profile.repeated += text in seen
            names = names_in(row["label"], task) or ("",)
            profile.labels.update(names)
            for name, measure in MEASURES.items():
                profile.measures[name][measure(text, words)] += 1
            buckets = {zlib.crc32(word.encode()) % WORD_BUCKETS for word in words}
            profile.words.update(buckets)
            firsts = {zlib.crc32(name.encode()) % LABEL_BUCKETS * LABEL_BUCKETS for name in names}
            profile.label_words.update({first + bucket % LABEL_BUCKETS for first in firsts for bucket in buckets})
            seen.add(text)
        if pending:
            profile._count_classes(pending)
        return profile

    def _count_classes(self, texts: Sequence[str]) -> None:
        """Count the shares of `CLASSES` in texts, together: an eighth of the time of asking each character."""
        codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
        lengths = np.array([len(text) for text in texts])
        present = np.flatnonzero(np.bincount(codes))
        for name, test in CLASSES.items():
            is_in = np.zeros(present[-1] + 1, np.uint8)
            is_in[present] = [test(chr(code)) for code in present]
            counts = np.add.reduceat(is_in[codes], np.cumsum(lengths) - lengths, dtype=np.int64)
            self.measures[name].update(_share_bin(share) for share in (counts / lengths).tolist())

    def add(self, other: Profile) -> None:
        """Count the rows of another profile, too."""
        self.rows += other.rows
        self.repeated += other.repeated
        self.labels += other.labels
        self.words += other.words
        self.label_words += other.label_words
        for name, bins in other.measures.items():
            self.measures[name] += bins

    def encode(self) -> bytes:
        """Return the document that is stored; equal profiles give equal bytes."""
        return canonical(
            {
                "rows": self.rows,
                "repeated": self.repeated,
                "labels": dict(self.labels),
                "measures": {name: sorted(bins.items()) for name, bins in self.measures.items()},
                "words": sorted(self.words.items()),
                "label_words": sorted(self.label_words.items()),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Profile:
        """Read back what `encode` wrote.

        Raises:
            DataError: The bytes are no profile, or one with other measures.
        """
        try:
            document = json.loads(data)
            if set(document["measures"]) != set(_NAMES):
                raise DataError(f"a profile of {sorted(document['measures'])}, not of {sorted(_NAMES)}: ingest anew")
            return cls(
                rows=document["rows"],
                repeated=document["repeated"],
                labels=Counter(document["labels"]),
                measures={name: Counter(dict(bins)) for name, bins in document["measures"].items()},
                words=Counter(dict(document["words"])),
                # What an older revision ingested has none.
                label_words=Counter(dict(document.get("label_words", []))),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a profile: {type(error).__name__}") from error
