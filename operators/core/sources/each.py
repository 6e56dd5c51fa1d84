"""One result a file: a file that is refused stops no other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from operators.core.errors import DataError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.storage import Result, Store


@dataclass(frozen=True, kw_only=True, slots=True)
class FileWork:
    """What a stage does with one file."""

    path: str
    call: StageCall
    make: Callable[[], Made]


def each_result(store: Store, work: Sequence[FileWork]) -> Iterator[Result | DataError]:
    """Yield each file's result, found or made, or why it is refused, which names it; in the order of the work.

    Raises:
        NightshiftError: Something else than a file is wrong.
    """
    for item, found in zip(work, store.find_all(item.call.run_key for item in work), strict=True):
        outcome: Result | DataError
        try:
            outcome = found or store.commit(Manifest.of(item.call, item.make()))
        except DataError as error:
            outcome = error if item.path in str(error) else type(error)(f"{item.path}: {error}")
        yield outcome
