"""Thirty ways in which real data goes wrong on its way: rows in, rows (or the bytes of a file) out, seeded."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from tests.core.mails import pack

Rows = list[dict[str, Any]]
Corruption = Callable[[Rows, Random], Rows | bytes]


def _each(share: float, change: Callable[[dict[str, Any], Random], dict[str, Any]]) -> Corruption:
    """Change some of the rows."""
    return lambda rows, draw: [{**row, **change(row, draw)} if draw.random() < share else row for row in rows]


def _text(share: float, change: Callable[[str], str]) -> Corruption:
    return _each(share, lambda row, draw: {"text": change(row["text"])})


def _flipped(rows: Rows, draw: Random) -> Rows:
    """Five of a hundred labels become the label of a neighbour in the list: as a shifted column in a join does."""
    names = sorted({row["label"] for row in rows})
    return _each(0.05, lambda row, draw: {"label": names[0]})(rows, draw)


def _without_most_common_class(rows: Rows, draw: Random) -> Rows:
    names = [row["label"] for row in rows]
    common = max(set(names), key=names.count)
    return [row for row in rows if row["label"] != common]


def _mojibake(text: str) -> str:
    return text.replace("'", "\u2019").replace("?", "é?").encode().decode("cp1252", "replace")


def _shuffled_labels(rows: Rows, draw: Random) -> Rows:
    labels = [row["label"] for row in rows]
    draw.shuffle(labels)
    return [{**row, "label": label} for row, label in zip(rows, labels, strict=True)]


CORRUPTIONS: dict[str, Corruption] = {
    "text is null": _each(0.05, lambda row, draw: {"text": None}),
    "text is empty": _text(0.05, lambda text: ""),
    "text is blank": _text(0.05, lambda text: " \n\t "),
    "text is a number": _each(0.05, lambda row, draw: {"text": draw.random()}),
    "label is null": _each(0.05, lambda row, draw: {"label": None}),
    "label is its number": _each(1.0, lambda row, draw: {"label": str(len(row["label"]))}),
    "label in capitals": _each(0.05, lambda row, draw: {"label": row["label"].upper()}),
    "label with a blank": _each(0.05, lambda row, draw: {"label": row["label"] + " "}),
    "5 % of labels flipped": _flipped,
    "a class dropped": _without_most_common_class,
    "half of the classes dropped": lambda rows, draw: [row for row in rows if row["label"] < "g"],
    "one label for all": lambda rows, draw: [{**row, "label": rows[0]["label"]} for row in rows],
    "labels shuffled": _shuffled_labels,
    "columns swapped": lambda rows, draw: [{**row, "text": row["label"], "label": row["text"]} for row in rows],
    "a column is missing": lambda rows, draw: [{"id": row["id"], "label": row["label"]} for row in rows],
    "a column is renamed": lambda rows, draw: [
        {"id": row["id"], "utterance": row["text"], "label": row["label"]} for row in rows
    ],
    "ids repeated": lambda rows, draw: [{**row, "id": rows[number // 2]["id"]} for number, row in enumerate(rows)],
    "ids null": _each(0.05, lambda row, draw: {"id": None}),
    "a block of rows twice": lambda rows, draw: [
        *rows,
        *({**row, "id": f"again-{row['id']}"} for row in rows[: len(rows) // 3]),
    ],
    "the file cut in the middle": lambda rows, draw: pack(rows)[: len(pack(rows)) // 2],
    "a byte of the file changed": lambda rows, draw: (
        (data := bytearray(pack(rows))).__setitem__(len(data) // 2, data[len(data) // 2] ^ 8) or bytes(data)
    ),
    "an empty file": lambda rows, draw: [],
    "mojibake": _text(1.0, _mojibake),
    "characters replaced by \ufffd": _text(0.1, lambda text: text[:3] + "\ufffd" + text[4:]),
    "HTML left in": _text(0.3, lambda text: f'<p class="q">{text}</p>'),
    "entities left in": _text(1.0, lambda text: text.replace("'", "&#39;").replace(" ", "&nbsp;")),
    "texts cut at 20 characters": _text(1.0, lambda text: text[:20]),
    "texts run together": lambda rows, draw: [
        {**row, "text": " ".join(other["text"] for other in draw.sample(rows, 6))} for row in rows
    ],
    "all in capitals": _text(1.0, str.upper),
    "blanks lost": _text(1.0, lambda text: text.replace(" ", "")),
    "another language": _text(1.0, lambda text: text.translate(str.maketrans("aeinostr", "éüñíößţř"))),
    "log lines among the texts": lambda rows, draw: [
        {**row, "text": f"2026-11-22T03:{number % 60:02d}:11Z WARN worker-{number} retry={number % 7} took {number} ms"}
        if number % 2
        else row
        for number, row in enumerate(rows)
    ],
}
"""By name; the share of rows is what such a fault does to them at its usual size."""
