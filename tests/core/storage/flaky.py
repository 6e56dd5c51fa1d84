"""An endpoint that fails on schedule: a second implementation of the protocol's seam, around a real one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from operators.core.storage import Store
from operators.core.storage.endpoint import Endpoint, EndpointAway, Listed

Answer = TypeVar("Answer")
Kind = Literal["refuse", "lose_reply", "lose_call", "run"]


@dataclass(kw_only=True)
class Fault:
    """One thing that goes wrong, as often as it says."""

    verb: str
    """`put`, `put_if_absent`, `get`, `size`, `list`, or `*`."""
    key: str
    """Part of the key."""
    kind: Kind
    """`lose_reply`: the effect happens, the answer does not come. `lose_call`: neither. `refuse`: at once, as a closed
    port does. `run`: `action` happens first, then all goes well."""
    times: int = 1
    """How often; -1 for always."""
    action: Callable[[], None] | None = None
    fired: int = field(default=0, init=False)

    def meets(self, verb: str, key: str) -> bool:
        """Say whether this call is one to fail."""
        return self.verb in (verb, "*") and self.key in key and self.fired != self.times


class FlakyEndpoint:
    """Passes every call on to a real endpoint, unless a fault is due."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.name = endpoint.name
        self.faults: list[Fault] = []
        self._lock = threading.Lock()

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Return False where the reply is lost: nobody knows."""
        try:
            return self._do("put_if_absent", key, lambda: self.endpoint.put_if_absent(key, data))
        except EndpointAway:
            return False

    def put(self, key: str, data: bytes | Path) -> None:
        """Pass on, or fail."""
        self._do("put", key, lambda: self.endpoint.put(key, data))

    def get(self, key: str) -> bytes | None:
        """Pass on, or fail."""
        return self._do("get", key, lambda: self.endpoint.get(key))

    def digest(self, key: str) -> str | None:
        """Pass on, or fail."""
        return self._do("get", key, lambda: self.endpoint.digest(key))

    def fetch(self, key: str, target: BinaryIO) -> str | None:
        """Pass on, or fail."""
        return self._do("get", key, lambda: self.endpoint.fetch(key, target))

    def size(self, key: str) -> int | None:
        """Pass on, or fail."""
        return self._do("size", key, lambda: self.endpoint.size(key))

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
        """Pass on, or fail."""
        return self._do("list", prefix, lambda: self.endpoint.list(prefix, after=after, limit=limit))

    def delete(self, key: str) -> None:
        """Pass on, or fail."""
        self._do("delete", key, lambda: self.endpoint.delete(key))

    def clock(self) -> float:
        """Pass on, or fail."""
        return self._do("clock", "", self.endpoint.clock)

    def _do(self, verb: str, key: str, call: Callable[[], Answer]) -> Answer:
        with self._lock:
            fault = next((item for item in self.faults if item.meets(verb, key)), None)
            if fault is not None:
                fault.fired += 1
        if fault is not None and fault.action is not None:
            fault.action()
        answer = call() if fault is None or fault.kind in ("lose_reply", "run") else None
        if fault is not None and fault.kind != "run":
            raise EndpointAway(f"endpoint {self.name}: {fault.kind} {verb} {key}")
        return answer  # type: ignore[return-value]


def make_flaky(store: Store, name: str, *faults: Fault) -> FlakyEndpoint:
    """Put faults before one endpoint of an open store."""
    endpoint = store.membership.endpoints[name]
    flaky = endpoint if isinstance(endpoint, FlakyEndpoint) else FlakyEndpoint(endpoint)
    flaky.faults += faults
    store.membership.endpoints[name] = flaky
    return flaky


def cut_off(store: Store, *names: str) -> None:
    """Take endpoints away: each refuses everything from now on."""
    for name in names:
        make_flaky(store, name, Fault(verb="*", key="", kind="refuse", times=-1))


def bring_back(store: Store, *names: str) -> None:
    """Let endpoints answer again."""
    for name in names:
        make_flaky(store, name).faults.clear()
