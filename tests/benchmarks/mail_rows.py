"""The mail of four weeks as a data set: what a mail says, spam or ham; no row twice, a fifth of them held out."""

from __future__ import annotations

import datetime
import hashlib
import io
import os

import pyarrow as pa
import pyarrow.parquet as pq

from operators.core.manifest import Made, StageCall
from operators.core.sources.mail import Undecodable, read_mail
from operators.core.storage import Store
from operators.local.corpus import arrival_day, fetch_corpus, read_mails
from operators.local.layout import Layout

LAST_DAY, DAYS, MOST_CHARACTERS = datetime.date(2002, 9, 26), 28, 4000
"""The demonstration's day, and of the mail recipe's sixty days the newest."""


def publish_mail(store: Store, scale: float = 1.0) -> str:
    """Return the digest of the data set; what a mail says is as it was written, not anonymised.

    Args:
        store: Takes it.
        scale: Of the training rows.
    """
    splits = _splits()
    splits["train"] = splits["train"][: int(len(splits["train"]) * scale)]
    files = tuple(
        store.put_bytes(f"{split}/00000.parquet", _shard(rows), rows=len(rows)) for split, rows in splits.items()
    )
    facts = {"labels": ["ham", "spam"], "splits": {split: len(rows) for split, rows in splits.items()}}
    call = StageCall(stage="publish_dataset", revision=1, spec={"days": DAYS, "last": LAST_DAY.isoformat()})
    return store.once(call, lambda: Made(files=files, facts=facts)).digest


def _splits() -> dict[str, list[dict[str, str]]]:
    splits: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    seen = set[str]()
    first = LAST_DAY - datetime.timedelta(days=DAYS - 1)
    for row in read_mails(fetch_corpus(Layout.from_environment(os.environ).home / "downloads")):
        day = arrival_day(row["headers"])
        if day is None or not first <= day <= LAST_DAY:
            continue
        try:
            mail = read_mail(headers=row["headers"], body=row["body"])
        except Undecodable:
            continue
        text = f"{mail.subject}\n{mail.body}"[:MOST_CHARACTERS]
        digest = hashlib.sha256(text.encode(errors="replace")).digest()
        if text.strip() and text not in seen:
            seen.add(text)
            splits["test" if digest[0] < 256 / 5 else "train"].append({"text": text, "label": row["label"]})
    return splits


def _shard(rows: list[dict[str, str]]) -> bytes:
    sink = io.BytesIO()
    numbered = [{"id": f"{number:05d}", "day": LAST_DAY, **row} for number, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(numbered), sink)
    return sink.getvalue()
