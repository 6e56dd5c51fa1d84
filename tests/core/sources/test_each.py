"""Files of a stage: one is read and one stored while another is made, and one that is refused stops no other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from functools import partial

import pytest

from operators.core.errors import DataError, SourceChanged
from operators.core.manifest import Made, StageCall
from operators.core.progress import no_progress
from operators.core.sources.each import FileWork, do_each
from operators.core.storage import Store

SECONDS = 60
"""Somebody waits that long for what never comes."""


def _work(
    path: str,
    read: Callable[[], str] = lambda: "rows",
    make: Callable[[], None] = lambda: None,
    put: Callable[[], None] = lambda: None,
) -> FileWork[str]:
    """Return work whose steps call back."""

    def pieces() -> Generator[str, None, None]:
        yield read()

    def made(pieces: Iterator[str]) -> Callable[[], Made]:
        make()
        rows = list(pieces)

        def stored() -> Made:
            put()
            return Made(facts={"path": path, "rows": rows})

        return stored

    return FileWork(path=path, call=StageCall(stage="s", revision=1, spec={"path": path}), read=pieces, make=made)


def test_a_file_is_read_and_another_stored_while_one_is_made(store: Store) -> None:
    """The second of three is made only when the third is being read and the first being stored."""
    is_stored, is_read = threading.Event(), threading.Event()
    meetings: list[bool] = []

    def read() -> str:
        is_read.set()
        return "rows"

    work = [
        _work("a", put=is_stored.set),
        _work("b", make=lambda: meetings.extend([is_read.wait(SECONDS), is_stored.wait(SECONDS)])),
        _work("c", read=read),
    ]
    results, refused = do_each(store, work, no_progress)

    assert meetings == [True, True]
    assert [result.manifest.facts["path"] for result in results] == ["a", "b", "c"]
    assert not refused


def test_no_more_than_one_file_is_read_ahead(store: Store) -> None:
    """When the first of many is made, the third has not been asked for: memory is that of two."""
    reads: list[str] = []

    def read(path: str) -> str:
        reads.append(path)
        return path

    at_make: list[list[str]] = []
    work = [_work(path, partial(read, path), make=lambda: at_make.append(list(reads))) for path in "abcd"]
    do_each(store, work, no_progress)

    assert all(len(seen) <= number + 2 for number, seen in enumerate(at_make))
    assert reads == ["a", "b", "c", "d"]


def test_a_file_that_is_refused_at_any_step_stops_no_other(store: Store) -> None:
    """Each refusal names its file once, in the order of the files; told results are those that there are."""

    def refuse() -> None:
        raise DataError("not sound")

    def refuse_reading() -> str:
        raise DataError("2.csv: not sound")

    told: list[str] = []
    work = [
        _work("1.csv"),
        _work("2.csv", read=refuse_reading),
        _work("3.csv", make=refuse),
        _work("4.csv", put=refuse),
        _work("5.csv"),
    ]
    results, refused = do_each(store, work, no_progress, lambda result: told.append(result.manifest.facts["path"]))

    assert told == [result.manifest.facts["path"] for result in results] == ["1.csv", "5.csv"]
    assert [str(error) for error in refused] == [f"{n}.csv: not sound" for n in (2, 3, 4)]


def _ends_as_another(path: str, make: Callable[[], None] = lambda: None) -> FileWork[str]:
    """Return work on a file of which the end says that it is not the one that was listed."""

    def pieces() -> Generator[str, None, None]:
        yield "rows"
        raise SourceChanged(f"{path}: its content is not what was listed")

    def made(pieces: Iterator[str]) -> Callable[[], Made]:
        next(pieces)
        make()
        return lambda: Made(facts={"path": path})

    return FileWork(path=path, call=StageCall(stage="s", revision=1, spec={"path": path}), read=pieces, make=made)


def test_a_file_that_is_another_at_its_end_is_refused_whatever_was_made_of_it(store: Store) -> None:
    """Also by who did not read so far, and by who found the content wanting; the next file is made."""

    def refuse() -> None:
        raise DataError("a label that nobody listed")

    results, refused = do_each(
        store, [_ends_as_another("1.csv"), _ends_as_another("2.csv", refuse), _work("3.csv")], no_progress
    )

    assert [result.manifest.facts["path"] for result in results] == ["3.csv"]
    assert [str(error) for error in refused] == [f"{n}.csv: its content is not what was listed" for n in (1, 2)]


def test_what_was_made_before_is_not_read(store: Store) -> None:
    """A second run reads the one file that is new, in its place."""
    do_each(store, [_work("a"), _work("c")], no_progress)

    def fail() -> str:
        raise AssertionError("read again")

    results, _ = do_each(store, [_work("a", read=fail), _work("b"), _work("c", read=fail)], no_progress)

    assert [(result.manifest.facts["path"], result.found) for result in results] == [
        ("a", True),
        ("b", False),
        ("c", True),
    ]


def test_another_error_stops_the_run_and_leaves_no_thread_at_work(store: Store) -> None:
    """It comes out as it is, when what was being stored is stored."""
    stored: list[str] = []

    def fail() -> None:
        raise RuntimeError("the machine is at fault")

    with pytest.raises(RuntimeError, match="at fault"):
        do_each(store, [_work("a", put=lambda: stored.append("a")), _work("b", make=fail), _work("c")], no_progress)

    assert stored == ["a"]
    assert not [t for t in threading.enumerate() if t.name.startswith(("read-ahead", "store-behind"))]
