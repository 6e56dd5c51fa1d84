"""Profiles: what a set of rows looks like, in counts that can be added up and that name nobody.

A profile of a year is the sum of its days' profiles, so data of any size is compared without being read again. It is
taken of anonymised rows.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from operators.core.errors import DataError
from operators.core.labels import Task, names_in
from operators.core.manifest import canonical
from operators.core.profiling.texts import CLASSES, LABEL_BUCKETS, MEASURES, hashes, measure, spread

if TYPE_CHECKING:
    from operators.core.profiling.texts import Numbers

PROFILE_NAME = "profile.json"
MOST_ROWS = 4096
"""Rows of a file whose texts are looked at. Chance sets samples of this size 0.05 apart at most: no level is so low."""
_BYTES_AT_ONCE = 1 << 18
"""Of texts, that are looked at together: what is made of them fits a processor's cache."""
_NAMES = (*MEASURES, *CLASSES)

Counts = Counter[int]


@dataclass(kw_only=True, slots=True)
class Profile:
    """Counts over rows. Adding two profiles gives the profile of both sets of rows."""

    rows: int = 0
    repeated: int = 0
    """Rows whose text stood in an earlier row of the same file."""
    labels: Counter[str] = field(default_factory=Counter)
    """Of a text its label, of tokens the name of each span; rows without any count as the empty name."""
    measures: dict[str, Counts] = field(default_factory=lambda: {name: Counter() for name in _NAMES})
    """For each of `MEASURES` and `CLASSES`, the number of rows in each bin; of each file `MOST_ROWS` at most."""
    words: Counts = field(default_factory=Counter)
    """Number of those rows that hold a word of a bucket."""
    label_words: Counts = field(default_factory=Counter)
    """Number of those rows with a label and a word of two buckets, under `label * LABEL_BUCKETS + word`."""

    def count(self, bins: Mapping[str, Numbers], words: Numbers, label_words: Numbers) -> None:
        """Count texts that were measured: the bins of each, and the buckets of its words."""
        counters = [(self.measures[name], values) for name, values in bins.items()]
        for counter, values in [*counters, (self.words, words), (self.label_words, label_words)]:
            counts = np.bincount(values)
            there = np.flatnonzero(counts)
            counter.update(dict(zip(there.tolist(), counts[there].tolist(), strict=True)))

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
                "word_buckets": sorted(self.words.items()),
                "label_word_buckets": sorted(self.label_words.items()),
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
                # What an older revision ingested has none, or has them in buckets of another hash.
                words=Counter(dict(document.get("word_buckets", []))),
                label_words=Counter(dict(document.get("label_word_buckets", []))),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a profile: {type(error).__name__}") from error


class Profiler:
    """Takes the profile of a file's rows as they come; what is kept of a row is 8 bytes, and some texts for a while.

    Args:
        rows: How many rows will come, at most: which texts are looked at depends on it.
        task: What their labels are for.
    """

    def __init__(self, rows: int, task: Task = "text_classification") -> None:
        self._task = task
        self._profile = Profile()
        self._looked_at = _sample(rows)
        self._hashes: list[Numbers] = []
        self._texts: list[str] = []
        self._labels: list[str] = []
        self._bytes = 0

    def add(self, texts: pa.StringArray, labels: pa.StringArray) -> None:
        """Count more rows.

        Args:
            texts: Their texts, none empty or missing.
            labels: Their labels, as many.
        """
        start = self._profile.rows
        self._profile.rows += len(texts)
        for found in pc.value_counts(labels).to_pylist():
            for name in names_in(found["values"], self._task) or ("",):
                self._profile.labels[name] += found["counts"]
        self._hashes.append(hashes(texts))
        first, last = np.searchsorted(self._looked_at, (start, start + len(texts)))
        chosen = pa.array(self._looked_at[first:last] - start)
        self._texts += (some := texts.take(chosen)).to_pylist()
        self._labels += labels.take(chosen).to_pylist()
        self._bytes += some.nbytes
        if self._bytes >= _BYTES_AT_ONCE:
            self._look()

    def profile(self) -> Profile:
        """Return the profile of all rows."""
        self._look()
        if self._hashes:
            ordered = np.sort(np.concatenate(self._hashes))
            self._profile.repeated = int(np.count_nonzero(ordered[1:] == ordered[:-1]))
        return self._profile

    def _look(self) -> None:
        """Measure the texts that wait."""
        if self._texts:
            found = measure(self._texts)
            label_words = found.of_labels(*_label_buckets(pa.array(self._labels, pa.string()), self._task))
            self._profile.count(found.bins, found.words, label_words)
        self._texts, self._labels, self._bytes = [], [], 0


def _sample(rows: int) -> Numbers:
    """Return the numbers of the rows that are looked at: all, or one of each run of as many as it takes."""
    stride = max(1, -(-rows // MOST_ROWS))
    starts = np.arange(0, rows, stride)
    # Not the first of each run: rows that take turns would always be of one kind.
    chosen: Numbers = starts + (np.arange(len(starts)) * 2_654_435_761 >> 16) % stride
    return np.minimum(chosen, rows - 1)


def _label_buckets(labels: pa.StringArray, task: Task) -> tuple[Numbers, Numbers]:
    """Return the pairs of a row and the bucket of a name in its label, each once, by row."""
    coded = labels.dictionary_encode()
    buckets = [
        sorted({zlib.crc32(name.encode()) % LABEL_BUCKETS for name in names_in(label, task) or ("",)})
        for label in coded.dictionary.to_pylist()
    ]
    counts = np.array([len(some) for some in buckets])
    of_rows = coded.indices.to_numpy()
    rows, places = spread(np.cumsum(counts)[of_rows] - counts[of_rows], counts[of_rows])
    return rows, np.array([bucket for some in buckets for bucket in some])[places]
