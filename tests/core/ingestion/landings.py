"""Landing files as they come, drawn by hypothesis, with what must become of every row; and a night over them."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import strategies as st

from operators.core.anonymisation.pseudonyms import key_id
from operators.core.anonymisation.spec import AnonymisationSpec, Recogniser
from operators.core.ingestion.ingest import ingest
from operators.core.ingestion.publish import publish_dataset
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.progress import no_progress
from operators.core.sources.discover import discover
from operators.core.sources.spec import Column, Content, SourceSpec
from operators.core.storage import Result, Store
from operators.core.storage.erasures import ErasedRow, Erasure, put_on_record
from operators.core.validation.spec import Expectation, ValidationSpec
from operators.core.validation.validate import validate
from tests.core.mails import DAY, KEY, at, pack
from tests.core.mails import POLICY as MAIL_POLICY

SOURCE = SourceSpec(
    folder="notes",
    content=Content.PLAIN,
    columns=(Column("id"), Column("label"), Column("text")),
    id_column="id",
    label_column="label",
    text_columns=("text",),
)
SUITE = ValidationSpec(
    expectations=(
        Expectation.of_rows("id", "not_be_null", "id_missing"),
        Expectation.of_rows("id", "be_unique", "id_repeated"),
        Expectation.of_rows("label", "be_in_set", "label_unknown", value_set=("ham", "spam")),
        Expectation.of_rows("label", "not_be_null", "label_missing"),
        Expectation.of_rows("text_characters", "be_between", "text_empty", min_value=1),
    ),
    max_quarantined_share=1.0,
)
POLICY = AnonymisationSpec(columns=MAIL_POLICY.columns, recognisers=(Recogniser.ADDRESS,))
"""Addresses are enough here: what else is found in texts has tests of its own."""
STORIES = 30
"""Texts of one story are near-copies of each other, those of two have nothing in common."""
DAMAGE: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"id": None}, "id_missing"),
    "an id of another type": ({"id": 7}, "id_missing"),
    "no label": ({"label": None}, "label_missing"),
    "another label": ({"label": "éggs"}, "label_unknown"),
    "no text": ({"text": None}, "text_empty"),
    "blanks for a text": ({"text": " \u200b\n"}, "text_empty"),
    "a number for a text": ({"text": 7}, "text_empty"),
}
"""What is wrong with a row, and the reason under which it is held back."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One row to land."""

    story: int
    version: int = 0
    """Which near-copy of the story."""
    look: str = "plain"
    """`plain`, `wide` or `blank`: texts that are equal once they are normalised."""
    damage: str | None = None
    takes_first_id: bool = False
    """Whether it has the id of its file's first row, in other letters."""
    is_erased: bool = False
    """Whether somebody had the row of this id and day erased before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """One landing file."""

    days_ago: int
    rows: tuple[Row, ...]


ROWS = st.builds(
    Row,
    story=st.integers(0, STORIES - 1),
    version=st.integers(0, 2),
    look=st.sampled_from(["plain", "plain", "wide", "blank"]),
    damage=st.sampled_from([None] * 12 + sorted(DAMAGE)),
    takes_first_id=st.sampled_from([False] * 9 + [True]),
    is_erased=st.sampled_from([False] * 9 + [True]),
)
FILES = st.lists(
    st.builds(File, days_ago=st.integers(0, 3), rows=st.lists(ROWS, min_size=1, max_size=12).map(tuple)),
    min_size=1,
    max_size=4,
)
LATEST = File(days_ago=0, rows=tuple(Row(story=STORIES + number) for number in range(30)))
"""Lands with the others: a window has a file of its last day, and enough texts for both splits."""


class Landing:
    """Landed files, and by its own count what must become of their rows."""

    def __init__(self, folder: Path, files: Sequence[File]) -> None:
        self.folder = folder
        self.rows = 0
        self.quarantined: Counter[str] = Counter()
        self.texts: set[tuple[int, int]] = set()
        """Story and version of every row that goes on."""
        self.erased: set[ErasedRow] = set()
        for number, file in enumerate([*files, LATEST]):
            self._land(number, file)

    def _land(self, number: int, file: File) -> None:
        day = DAY - datetime.timedelta(days=file.days_ago)
        rows = [_fields(row, f"n{number}-{place}", f"n{number}-0") for place, row in enumerate(file.rows)]
        path = self.folder / "notes" / f"dt={day}" / f"{number}.jsonl.zst"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack(rows))
        ids = [_plain(row["id"]) for row in rows]
        self.rows += len(rows)
        # Whoever asks for a row's erasure knows the id that is stored: one row's alone.
        names = {ids[place] for place, row in enumerate(file.rows) if row.is_erased and ids[place]}
        self.erased |= {ErasedRow(source="notes", day=day.isoformat(), id=name, key=key_id(KEY)) for name in names}
        for row, name in zip(file.rows, ids, strict=True):
            reason = "erased" if name in names else _reason(row, name, ids)
            if reason:
                self.quarantined[reason] += 1
            else:
                self.texts.add((row.story, row.version))

    def erase(self, store: Store) -> None:
        """Have a store know which rows may not come back."""
        if self.erased:
            put_on_record(store, Erasure(reason="request 7", by="tester", rows=tuple(sorted(self.erased))))

    @property
    def stories(self) -> int:
        """Texts that are no near-copy of each other."""
        return len({story for story, _ in self.texts})


def night(
    store: Store,
    landing: Landing,
    *,
    workers: int = 1,
    near_duplicates: float | None = None,
    order: Random | None = None,
) -> Result:
    """Take landed files from discovery to a data set, in that many groups and threads, groups in any order."""
    zone = at(landing.folder)
    listings = discover(
        store, landing=zone, spec=SOURCE, first_day=DAY - datetime.timedelta(days=9), last_day=DAY,
        progress=no_progress, groups=workers,
    )  # fmt: skip
    if order is not None:
        order.shuffle(listings)
    parts = [_part(store, landing, listing.digest) for listing in listings]
    return publish_dataset(
        store, parts=parts, recipe="notes", day=DAY, spec=DatasetSpec(test_share=0.4, near_duplicates=near_duplicates),
        key=KEY, progress=no_progress, workers=workers,
    )  # fmt: skip


def _part(store: Store, landing: Landing, listing: str) -> str:
    common: dict[str, Any] = {"landing": at(landing.folder), "source": SOURCE, "progress": no_progress}
    valid = validate(store, listing=listing, spec=SUITE, **common)
    spec = IngestionSpec()
    return ingest(store, validation=valid.digest, anonymisation=POLICY, spec=spec, key=KEY, **common).digest


def _fields(row: Row, name: str, first: str) -> dict[str, Any]:
    """Return a row as it lies in its file."""
    # Fullwidth: another text, and after NFKC the same id.
    shown = "\uff4e" + first[1:] if row.takes_first_id else name
    changes = DAMAGE[row.damage][0] if row.damage else {}
    return {"id": shown, "label": "spam" if row.story % 3 else "ham", "text": _text(row), "more": [1], **changes}


def _text(row: Row) -> str:
    draw = Random(row.story)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyzéü邮", k=8)) for _ in range(40)]
    text = " ".join(["Ring", *words, *["again"] * row.version, f"writer{row.story}@example.org"])
    return {"plain": text, "wide": text.replace("R", "\uff32"), "blank": text.replace(" ", " \u200b\t ")}[row.look]


def _plain(name: object) -> str | None:
    return name.replace("\uff4e", "n") if isinstance(name, str) else None


def _reason(row: Row, name: str | None, ids: Iterable[str | None]) -> str | None:
    """Return why a row must be held back: the first of the suite's reasons, in its order."""
    if name is None:
        return "id_missing"
    if list(ids).count(name) > 1:
        return "id_repeated"
    return DAMAGE[row.damage][1] if row.damage else None
