"""What is counted of many texts together is what each text by itself says."""

from __future__ import annotations

import math
import re

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as some

from operators.core.profiling.profile import MOST_ROWS, Profiler
from operators.core.profiling.texts import CLASSES, LABEL_BUCKETS, measure

TEXTS = some.lists(some.text(some.characters(codec="utf-8") | some.sampled_from("ab \n_É9"), min_size=1), min_size=1)


def _plainly(text: str) -> dict[str, int]:
    """Return the bins of a text, one number after the other."""
    words = re.findall(r"\w+", text)
    folded = {"".join(c.casefold() if len(c.casefold()) == 1 else c for c in word) for word in words}
    numbers = {
        "characters": len(text),
        "words": len(words),
        "lines": text.count("\n"),
        "characters_a_word": len(text) / max(1, len(words)),
    }
    shares = {name: sum(map(test, text)) / len(text) for name, test in CLASSES.items()}
    shares["distinct_words"] = len(folded) / max(1, len(words))
    bins = {name: math.floor(4 * math.log2(1 + number) + 1e-9) for name, number in numbers.items()}
    return bins | {name: int(40 * math.sqrt(share)) for name, share in shares.items()}


@given(TEXTS)
def test_texts_counted_together_count_as_each_by_itself(texts: list[str]) -> None:
    """Lengths, words, lines and kinds of characters, of any characters there are."""
    found = measure(texts).bins

    assert [{name: int(bins[row]) for name, bins in found.items()} for row in range(len(texts))] == [
        _plainly(text) for text in texts
    ]


@given(some.lists(some.text("abcXYZ_09", min_size=1), min_size=1))
def test_a_word_is_in_one_bucket_wherever_it_stands(words: list[str]) -> None:
    """Order, neighbours and case change no bucket, and each counts once a text."""
    found = measure([" ".join(words), f"<{'>'.join(reversed(words)).upper()}>", *words])
    count = found.bins["words"].tolist()
    alone = measure([word.lower() for word in words])

    assert count[0] == count[1] == math.floor(4 * math.log2(1 + len(words)) + 1e-9)
    assert sorted(found.words.tolist()) == sorted([*2 * sorted(set(alone.words.tolist())), *alone.words.tolist()])


def test_unlike_words_are_in_buckets_as_chance_would_have_it() -> None:
    """Of 1,000 words that differ in a digit or two, dealt out to 4,096 buckets, about 887 buckets have one."""
    found = measure([f"word{number}" for number in range(1000)])

    assert 850 < len(set(found.words.tolist())) < 920


@given(some.lists(some.lists(some.text("ab", min_size=1, max_size=3)), max_size=4))
def test_repeated_texts_are_counted_across_batches(batches: list[list[str]]) -> None:
    """Each row whose text an earlier row has, in its batch or another."""
    texts = [text for batch in batches for text in batch]
    profiler = Profiler(len(texts))
    for batch in batches:
        # A slice, which shares what it does not show.
        profiler.add(pa.array(["x", *batch], pa.string()).slice(1), pa.array(["a"] * len(batch), pa.string()))

    assert profiler.profile().repeated == len(texts) - len(set(texts))


@given(some.lists(some.tuples(some.text("ab \n", min_size=1), some.sampled_from(["ham", "spam"]))), some.integers(1, 9))
def test_a_profile_does_not_say_in_which_batches_rows_came(rows: list[tuple[str, str]], size: int) -> None:
    """One batch or many: the same counts, and the same texts are looked at."""
    whole, piecewise = Profiler(len(rows)), Profiler(len(rows))
    texts, labels = (pa.array([row[side] for row in rows], pa.string()) for side in (0, 1))
    whole.add(texts, labels)
    for start in range(0, len(rows), size):
        piecewise.add(texts.slice(start, size), labels.slice(start, size))

    assert piecewise.profile().encode() == whole.profile().encode()


def test_of_many_rows_some_texts_are_looked_at_and_all_labels() -> None:
    """Rows that take turns are all among those that are; none is looked at twice."""
    rows = 5 * MOST_ROWS + 3
    texts, labels = [f"word{n % 5}" for n in range(rows)], [f"label{n % 5}" for n in range(rows)]
    profiler = Profiler(rows)
    profiler.add(pa.array(texts), pa.array(labels))
    profile = profiler.profile()

    assert profile.rows == rows == profile.labels.total()
    assert profile.repeated == rows - 5
    assert MOST_ROWS / 2 < profile.measures["words"].total() <= MOST_ROWS
    assert len(profile.words) == 5
    assert min(profile.words.values()) > 0.9 * MOST_ROWS / 6
    assert profile.words.total() == profile.label_words.total() == profile.measures["words"].total()
    assert max(profile.label_words) < LABEL_BUCKETS**2
