"""One result a file: a file that is refused stops no other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from operators.core.errors import DataError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.progress import Progress
from operators.core.storage import Result, Store


@dataclass(frozen=True, kw_only=True, slots=True)
class FileWork:
    """What a stage does with one file."""

    path: str
    call: StageCall
    make: Callable[[], Made]


def do_each(
    store: Store, work: Sequence[FileWork], progress: Progress, each: Callable[[Result], None] | None = None
) -> tuple[list[Result], list[DataError]]:
    """Return the results, found or made, in the order of the work, and why files were refused, each with its name.

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
    known = store.find_all(item.call.run_key for item in work)
    for number, (item, found) in enumerate(zip(work, known, strict=True), start=1):
        try:
            results.append(found or store.commit(Manifest.of(item.call, item.make())))
        except DataError as error:
            refused.append(error if item.path in str(error) else type(error)(f"{item.path}: {error}"))
        else:
            if each is not None:
                each(results[-1])
        progress(number, len(work), "files")
    return results, refused
