"""How torch's agent meets the agents of other machines: there are none.

torch's own ways open a port on every interface, or unpickle the state of the meeting from wherever it lies.
"""

from __future__ import annotations

from torch.distributed import HashStore, PrefixStore  # type: ignore[attr-defined]
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

BACKEND = "alone"


class Alone(RendezvousHandler):
    """Lets one agent begin round after round, in memory of its own."""

    def __init__(self, run_id: str) -> None:
        self._run_id, self._rounds, self._is_closed = run_id, 0, False
        self._store = HashStore()

    def get_backend(self) -> str:
        """Return the name it is chosen by."""
        return BACKEND

    def next_rendezvous(self) -> RendezvousInfo:
        """Return at once, with keys that no former round has used.

        Address and port are told to the ranks, which do not use them: they meet through a file (see `worker`).
        """
        store = PrefixStore(str(self._rounds), self._store)
        self._rounds += 1
        return RendezvousInfo(store, 0, 1, RendezvousStoreInfo("127.0.0.1", 0))

    def is_closed(self) -> bool:
        """Return whether the agent has closed it."""
        return self._is_closed

    def set_closed(self) -> None:
        """Close it."""
        self._is_closed = True

    def num_nodes_waiting(self) -> int:
        """Return that no other agent waits."""
        return 0

    def get_run_id(self) -> str:
        """Return the run's id."""
        return self._run_id

    def shutdown(self) -> bool:
        """Close it; return that it is closed."""
        self.set_closed()
        return True


def register() -> str:
    """Have torch know this way of meeting; return the name that chooses it."""
    rendezvous_handler_registry.register(BACKEND, _of)
    return BACKEND


def _of(parameters: RendezvousParameters) -> Alone:
    return Alone(parameters.run_id)
