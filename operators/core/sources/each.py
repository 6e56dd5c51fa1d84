"""One result a file: a file that is refused stops no other."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from operators.core.errors import DataError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.progress import Progress
from operators.core.sources.ahead import Ahead, Piece
from operators.core.storage import Result, Store

Found = TypeVar("Found")
Put = Callable[[], Made]
"""What puts a file's result into the store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileWork(Generic[Piece]):
    """What a stage does with one file, in three steps that go on at once: its pieces are read ahead of who makes.

    While the end of one file is made, the next is begun to be read, and the last is stored.
    """

    path: str
    call: StageCall
    read: Callable[[], Generator[Piece, None, None]]
    """Gets what the file holds, piece by piece, in a thread that reads. Where it raises, nothing of the file counts."""
    make: Callable[[Iterator[Piece]], Put]
    """Works on the pieces; what it returns is called in a thread that writes."""


def do_each(
    store: Store, work: Sequence[FileWork[Any]], progress: Progress, each: Callable[[Result], None] | None = None
) -> tuple[list[Result], list[DataError]]:
    """Return the results, found or made, in the order of the work, and why files were refused, each with its name.

    Files are made one after the other, and so stored. What waits in memory is a bounded number of bytes of two files.

    Args:
        store: Where results are and go.
        work: The files.
        progress: Told after each file.
        each: Given each result as soon as it is there.

    Raises:
        NightshiftError: Something else than a file is wrong.
    """
    results: list[Result] = []
    refused: list[DataError] = []
    known = list(store.find_all(item.call.run_key for item in work))
    with contextlib.closing(_begun(store, work, known)) as begun:
        for number, (item, stored) in enumerate(zip(work, _one_behind(begun), strict=True), start=1):
            try:
                results.append(stored.result())
            except DataError as error:
                refused.append(error if item.path in str(error) else type(error)(f"{item.path}: {error}"))
            else:
                if each is not None:
                    each(results[-1])
            progress(number, len(work), "files")
    return results, refused


def _begun(
    store: Store, work: Sequence[FileWork[Any]], known: Sequence[Result | None]
) -> Generator[Future[Result], None, None]:
    """Yield each file's result, found or begun to be stored, or why there is none."""
    new = [item for item, found in zip(work, known, strict=True) if found is None]
    with _thread("read-ahead") as reader, _thread("store-behind") as writer, contextlib.ExitStack() as stack:
        files = _one_behind(_read_ahead(item, reader, stack) for item in new)
        for item, found in zip(work, known, strict=True):
            if found is not None:
                yield _known(found)
                continue
            try:
                put = _made(item, next(files))
            except DataError as error:
                yield _known(error)
            else:
                yield writer.submit(_stored, store, item.call, put)


def _read_ahead(item: FileWork[Piece], reader: Executor, stack: contextlib.ExitStack) -> Ahead[Piece]:
    pieces = Ahead(item.read, reader)
    stack.callback(pieces.give_up)
    return pieces


def _made(item: FileWork[Piece], pieces: Iterator[Piece]) -> Put:
    """Return what a file came to, once it was read to its end: there it may turn out to be none, or another."""
    try:
        put = item.make(pieces)
    except DataError:
        _finish(pieces)
        raise
    _finish(pieces)
    return put


def _finish(pieces: Iterator[Any]) -> None:
    for _ in pieces:
        pass


def _thread(name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=name)


def _one_behind(begun: Iterator[Found]) -> Iterator[Found]:
    """Yield what was begun, each when the one after it was too."""
    for one, _ in itertools.pairwise(itertools.chain(begun, [None])):
        assert one is not None
        yield one


def _stored(store: Store, call: StageCall, put: Put) -> Result:
    return store.commit(Manifest.of(call, put()))


def _known(outcome: Result | DataError) -> Future[Result]:
    future: Future[Result] = Future()
    if isinstance(outcome, Result):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
    return future
