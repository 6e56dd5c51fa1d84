"""One result a file: a file that is refused stops no other."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from operators.core.errors import DataError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.progress import Progress
from operators.core.storage import Result, Store

Read = TypeVar("Read")
Found = TypeVar("Found")
Put = Callable[[], Made]
"""What puts a file's result into the store."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileWork(Generic[Read]):
    """What a stage does with one file, in three steps: while one file is made, the next is read and the last stored."""

    path: str
    call: StageCall
    read: Callable[[], Read]
    """Gets what the file holds; called in a thread that reads."""
    make: Callable[[Read], Put]
    """Works on it; what it returns is called in a thread that writes."""


def do_each(
    store: Store, work: Sequence[FileWork[Any]], progress: Progress, each: Callable[[Result], None] | None = None
) -> tuple[list[Result], list[DataError]]:
    """Return the results, found or made, in the order of the work, and why files were refused, each with its name.

    Files are made one after the other, and so stored. What is in memory is what two files hold, and a third's result.

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
    with _thread("read-ahead") as reader, _thread("store-behind") as writer:
        contents = _one_behind(reader.submit(item.read) for item in new)
        for item, found in zip(work, known, strict=True):
            if found is not None:
                yield _known(found)
                continue
            try:
                put = item.make(next(contents).result())
            except DataError as error:
                yield _known(error)
            else:
                yield writer.submit(_stored, store, item.call, put)


def _thread(name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix=name)


def _one_behind(futures: Iterator[Future[Found]]) -> Iterator[Future[Found]]:
    """Yield futures, each when the one after it was begun."""
    for future, _ in itertools.pairwise(itertools.chain(futures, [None])):
        assert future is not None
        yield future


def _stored(store: Store, call: StageCall, put: Put) -> Result:
    return store.commit(Manifest.of(call, put()))


def _known(outcome: Result | DataError) -> Future[Result]:
    future: Future[Result] = Future()
    if isinstance(outcome, Result):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
    return future
