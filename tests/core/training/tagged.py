"""A data set whose words say what they are: beginnings and ends of one kind of span, spans of another, the rest."""

from __future__ import annotations

import datetime
import io
import itertools

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.labels import LabelledSpan, encode_spans
from operators.core.manifest import Made, StageCall
from operators.core.storage import Store
from tests.core.training.tiny import WORDS

LABELS = ("pair", "single")


def publish_tagged(store: Store, *, train: int = 400, test: int = 40) -> str:
    """Return the digest of the data set."""
    splits = {"train": range(train), "test": range(train, train + test)}
    files = tuple(
        store.put_bytes(f"{split}/00000.parquet", _shard(split, rows), rows=len(rows)) for split, rows in splits.items()
    )
    facts = {
        "task": "token_classification",
        "labels": list(LABELS),
        "recipe": "mail",
        "day": "2002-09-26",
        "splits": {split: len(rows) for split, rows in splits.items()},
    }
    call = StageCall(stage="publish_dataset", revision=1, spec={"tagged": [train, test]})
    return store.once(call, lambda: Made(files=files, facts=facts)).digest


def sentence(number: int) -> tuple[str, str]:
    """Return a text and its label."""
    text, spans = "", []
    for place in range(2 + number % 6):
        kind = (number * 7 + place * 5) % 4
        pick = (number + place * 3) % 15
        words = {0: [WORDS[pick], WORDS[15 + pick]], 1: [WORDS[30 + pick]]}.get(kind, [WORDS[45 + pick]])
        start = len(text) + bool(text)
        text = f"{text} {' '.join(words)}".strip()
        if kind < 2:
            spans.append(LabelledSpan(start, len(text), LABELS[kind]))
    return text, encode_spans(spans)


def _shard(split: str, rows: range) -> bytes:
    texts, labels = zip(*map(sentence, rows), strict=True)
    days = itertools.repeat(datetime.date(2002, 9, 26), len(rows))
    columns = {"id": [f"{split}-{n}" for n in rows], "day": list(days), "text": texts, "label": labels}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
