"""The steps of an erasure as tests take them, and the search for traces of the person afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from operators.core.anonymisation.pseudonyms import pseudonym
from operators.core.erasure.erase import Found, forget_files, look_again, look_for, put_rows_on_record
from operators.core.erasure.subject import Subject
from operators.core.progress import no_progress
from operators.core.settings import StorageSettings
from operators.core.storage import Store, open_store
from operators.core.storage.collect import Collector
from operators.core.storage.collection import CollectSpec
from tests.core.erasure.nights import ADDRESS, NUMBER, place
from tests.core.mails import KEY
from tests.core.storage.test_collect import aged
from tests.leaks import objects_of, texts_of

PSEUDONYM = pseudonym("address", ADDRESS, KEY)
TRACES = (PSEUDONYM, f"New Sequences Window {NUMBER}\n", ADDRESS)
"""What would show that something still holds the row: its pseudonym, its text, its address."""
SPEC = CollectSpec(grace_seconds=0.2, skew_seconds=0.0, max_share=0.99)


def look(store: Store, landing: Path, *words: str, row: str | None = None, day: str | None = None) -> Found:
    """Return where a subject is."""
    subject = Subject.parse(list(words), [row] if row else [], day)
    return look_for(store, [place(landing)], subject, KEY, no_progress)


def record(store: Store, backup: Store, found: Found) -> None:
    """Have what was found on record."""
    put_rows_on_record(store, backup, found, reason="request 7", by="tester")


def forget(store: Store, found: Found) -> int:
    """Forget what was made of what was found, as it stands now."""
    return forget_files(store, look_again(store, found), reason="request 7", by="tester")


def collect(settings: StorageSettings) -> None:
    """Collect everything that nothing keeps, as if its grace were over."""
    aged(settings)
    store = open_store(settings)
    Collector(store, SPEC).mark()
    time.sleep(SPEC.grace_seconds + 0.1)
    Collector(store, SPEC).sweep()
    store.close()


def traces_in(store: Store, traces: Iterable[str] = TRACES) -> set[str]:
    """Return the objects of any endpoint that, decoded, hold a trace of the row."""
    return {
        place
        for place, data in objects_of(store.membership)
        if any(trace in text for text in texts_of(data) for trace in traces)
    }
