"""What the protocol asks of an endpoint, and the step that asks several of them at once."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol, TypeVar

from operators.core.errors import StorageError
from operators.core.settings import EndpointSettings

KEY_PATTERN = re.compile(r"[a-z0-9._-]{1,128}(/[a-z0-9._-]{1,128}){0,7}")
Answer = TypeVar("Answer")
Item = TypeVar("Item")
_WORKERS = 4

log = logging.getLogger(__name__)


class EndpointAway(StorageError):
    """An endpoint did not answer, or refused; what was asked may still have taken effect."""


class Listed(NamedTuple):
    """One key of a listing."""

    key: str
    bytes: int
    modified: float
    """When it was last written, in seconds since 1970 by the endpoint's clock; whole seconds on S3."""


class Endpoint(Protocol):
    """One S3 bucket or one directory. Every method but `put_if_absent` raises `EndpointAway` when it cannot tell."""

    name: str

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Create the key. True: created now. False: it exists, or nobody knows; read back and compare."""

    def put(self, key: str, data: bytes | Path) -> None:
        """Hold these bytes under the key, on disk and verified, whatever was there before."""

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where the key is absent."""

    def digest(self, key: str) -> str | None:
        """Return the SHA-256 of the bytes, None where the key is absent; memory is bounded."""

    def fetch(self, key: str, target: BinaryIO) -> str | None:
        """Write the bytes there and return their SHA-256, None where the key is absent; memory is bounded."""

    def size(self, key: str) -> int | None:
        """Return the stored size in bytes, None where the key is absent."""

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
        """Return the keys that start with `prefix` (which ends with `/` or is empty), in the order of their names.

        Args:
            prefix: Where to look.
            after: Only keys whose names come after this one.
            limit: At most that many, the first ones.

        With `after` or `limit`, no name below the prefix may be the beginning of another at its level, as names of one
        length never are: SeaweedFS lists `a/x` before `a-b`, and would leave keys out.
        """

    def delete(self, key: str) -> None:
        """Hold nothing under the key, whatever was there before. For the collector, and a rotation of keys, only."""

    def clock(self) -> float:
        """Return the endpoint's own time, in seconds since 1970: what `Listed.modified` is measured by."""


def check_key(key: str) -> str:
    """Return the key, or refuse one that could leave its prefix.

    Raises:
        ValueError: A part is empty, `.` or `..`, or holds other characters than a-z, 0-9, '.', '_', '-'.
    """
    if not KEY_PATTERN.fullmatch(key) or any(part in (".", "..") for part in key.split("/")):
        raise ValueError(f"not a storage key: {key!r}")
    return key


def open_endpoint(settings: EndpointSettings) -> Endpoint:
    """Return the endpoint that the settings describe; nothing is contacted yet."""
    if settings.url.startswith("file://"):
        from operators.core.storage.directory import DirectoryEndpoint

        return DirectoryEndpoint(settings.name, Path(settings.url.removeprefix("file://")))
    from operators.core.storage.bucket import S3Endpoint

    return S3Endpoint(settings)


class Round(Protocol):
    """How several endpoints are asked at once: threads, or the simulator's scheduler."""

    def ask(self, endpoints: Iterable[Endpoint], question: Callable[[Endpoint], Answer]) -> dict[str, Answer]:
        """Return the answers by endpoint name; an endpoint that is away is left out."""

    def hedge(
        self, endpoints: Sequence[Endpoint], question: Callable[[Endpoint], Answer], seconds: float
    ) -> Iterator[tuple[Endpoint, Answer | EndpointAway]]:
        """Ask one endpoint after the other and yield what each said, until the caller has what it wants.

        One that has not answered within so many seconds is not waited for alone: the next is asked too.
        """

    def map(self, work: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield what the work gives for each item, in their order; several are worked on at once.

        The work may ask and hedge. It must not map: it would wait for a thread that waits for it.
        """

    def close(self) -> None:
        """End what answers the questions; one still open is waited for."""


class ThreadRound:
    """Asks each endpoint in a thread; says once that one went away, with the reason, and once that it is back."""

    def __init__(self, size: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2 * size, thread_name_prefix="endpoint")
        self._away: set[str] = set()
        # Apart from the other: work may ask endpoints, and must not wait for a thread that waits for it.
        self._workers = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="store")

    def ask(self, endpoints: Iterable[Endpoint], question: Callable[[Endpoint], Answer]) -> dict[str, Answer]:
        """Return the answers by endpoint name; an endpoint that is away is left out."""
        futures = {endpoint.name: self._pool.submit(question, endpoint) for endpoint in endpoints}
        answers: dict[str, Answer] = {}
        for name, future in futures.items():
            try:
                answers[name] = future.result()
            except EndpointAway as error:
                if name not in self._away:
                    log.warning("%s; going on without it", error)
                self._away.add(name)
            else:
                if name in self._away:
                    log.info("endpoint %s answers again", name)
                self._away.discard(name)
        return answers

    def hedge(
        self, endpoints: Sequence[Endpoint], question: Callable[[Endpoint], Answer], seconds: float
    ) -> Iterator[tuple[Endpoint, Answer | EndpointAway]]:
        """Ask one endpoint after the other, and the next beside it where one is slow."""
        left = list(endpoints)
        asked: dict[Future[Answer], Endpoint] = {}
        while left or asked:
            done, _ = wait(asked, timeout=seconds if left else None, return_when=FIRST_COMPLETED)
            if not done:
                if asked:
                    slow = ", ".join(endpoint.name for endpoint in asked.values())
                    log.info("%s has not answered for %.1f s: asking %s too", slow, seconds, left[0].name)
                endpoint = left.pop(0)
                asked[self._pool.submit(question, endpoint)] = endpoint
            for future in done:
                endpoint, away = asked.pop(future), future.exception()
                yield endpoint, away if isinstance(away, EndpointAway) else future.result()

    def map(self, work: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield what the work gives for each item, in their order."""
        return self._workers.map(work, items)

    def close(self) -> None:
        """End the threads; a question still open is waited for."""
        self._workers.shutdown()
        self._pool.shutdown()
