"""Rounds of tests: nothing happens at once, so that effects have an order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from operators.core.storage.endpoint import Endpoint, EndpointAway

Answer = TypeVar("Answer")
Item = TypeVar("Item")


class OneByOne:
    """Asks one endpoint after the other."""

    def ask(self, endpoints: Iterable[Endpoint], question: Callable[[Endpoint], Answer]) -> dict[str, Answer]:
        """Return the answers by endpoint name; an endpoint that is away is left out."""
        answers: dict[str, Answer] = {}
        for endpoint in endpoints:
            try:
                answers[endpoint.name] = question(endpoint)
            except EndpointAway:
                continue
        return answers

    def hedge(
        self, endpoints: Sequence[Endpoint], question: Callable[[Endpoint], Answer], seconds: float
    ) -> Iterator[tuple[Endpoint, Answer | EndpointAway]]:
        """Yield what each said; nobody is slow."""
        for endpoint in endpoints:
            try:
                yield endpoint, question(endpoint)
            except EndpointAway as error:
                yield endpoint, error

    def map(self, work: Callable[[Item], Answer], items: Iterable[Item]) -> Iterator[Answer]:
        """Yield the results."""
        return map(work, items)

    def close(self) -> None:
        """Nothing is open."""
