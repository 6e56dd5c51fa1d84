"""The page of the morning: what is live, is the data safe, what did last night do and cost, what needs a person."""

from __future__ import annotations

import datetime
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.overview.availability import History
from operators.core.overview.live import ServerState, read_live, read_server, server_name
from operators.core.overview.night import read_night
from operators.core.overview.page import Card, Page, gaps_of, needs_of
from operators.core.overview.parts import Part, Parts
from operators.core.overview.prices import PriceList
from operators.core.overview.runs import Pipeline, Run
from operators.core.overview.safety import Safety, read_backup, read_safety
from operators.core.settings import ServingSettings

if TYPE_CHECKING:
    from operators.core.storage import Store

WAIT_SECONDS = 0.6
"""How long a page waits for its parts, all together; what is not there then is told with its age, or as missing."""

READ_SECONDS = 3.0
"""How long a page that shows one thing waits for it, and how long the first page of a process waits for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where the page reads. Each is called in a thread of its own, and may fail."""

    store: Callable[[], Store]
    backup: Callable[[], Store]
    serving: Callable[[], ServingSettings]
    prices: Callable[[], PriceList | None]
    availability: Callable[[], History | None]
    keepers: Callable[[], frozenset[str] | None]
    """Fingerprints of the recovery keys that somebody outside the platform has; None where that is not known here."""


class Overview:
    """Reads the parts of the page, several at once, and keeps what was read for the next who asks."""

    def __init__(
        self, sources: Sources, *, wait_seconds: float = WAIT_SECONDS, read_seconds: float = READ_SECONDS
    ) -> None:
        self._sources, self._wait, self._read_wait = sources, wait_seconds, read_seconds
        # The first page waits for imports and for the stores to be opened.
        self._next_wait = max(wait_seconds, read_seconds)
        self._parts = Parts()
        # A lock each: a backup store that hangs while it is opened keeps nobody from the other.
        self._locks = {"store": threading.Lock(), "backup": threading.Lock()}
        self._stores: dict[str, Store] = {}

    def page(self, pipelines: Sequence[Pipeline], now: datetime.datetime) -> Page:
        """Return the page, within little more than the wait that was agreed, whatever is away."""
        used = [one for one in pipelines if one.recipe and not one.is_asleep]
        parts = self._begin(used)
        cards = tuple(self._card(pipeline, parts) for pipeline in used)
        safety, keepers = parts("safety"), parts("keepers")
        prices, availability = parts("prices"), parts("availability")
        upkeep = tuple(one for one in pipelines if one.recipe is None)
        return Page(
            at=now,
            cards=cards,
            upkeep=upkeep,
            safety=safety,
            keepers=keepers.value,
            needs=needs_of(pipelines, cards, safety, keepers.value, now),
            prices=prices.value,
            availability=availability.value,
            gaps=gaps_of(
                {"the store": safety, "the price list": prices, "availability": availability, "recovery keys": keepers},
                cards,
            ),
        )

    def read(self, key: tuple[str, ...], read: Callable[[Store], Any], fresh_seconds: float = math.inf) -> Part:
        """Return what is read of the store for a page that shows one thing.

        Args:
            key: Of the reading; equal keys share one.
            read: Reads it.
            fresh_seconds: How long it is kept; what follows from a manifest never changes, and is kept for good.
        """
        self._parts.begin(key, lambda: read(self.store()), fresh_seconds)
        return self._parts.collect(key, self._parts.now() + self._read_wait)

    def store(self) -> Store:
        """Return the store, opened once."""
        return self._opened("store", self._sources.store)

    def _begin(self, pipelines: Sequence[Pipeline]) -> Callable[..., Part]:
        """Have every part read that is due, and return what collects one by its key."""
        self._parts.begin(("prices",), self._sources.prices, 60)
        self._parts.begin(("keepers",), self._sources.keepers, 60)
        self._parts.begin(("availability",), self._sources.availability, 10)
        self._parts.begin(("safety",), self._safety, 10)
        for pipeline in pipelines:
            self._begin_recipe(pipeline.recipe or "", pipeline.newest)
        until, self._next_wait = self._parts.now() + self._next_wait, self._wait
        return lambda *key: self._parts.collect(key, until)

    def _begin_recipe(self, recipe: str, run: Run | None) -> None:
        self._parts.begin(("live", recipe), lambda: read_live(self.store(), recipe), 5)
        self._parts.begin(("backup", recipe), lambda: read_backup(self._backup(), recipe), 30)
        for url, settings in self._servers():
            self._parts.begin(("server", url, recipe), partial(read_server, url, recipe, settings), 3)
        if run is not None:
            # Of a run that has ended nothing changes, unless somebody clears a task of it: then its end does, too.
            fresh = math.inf if run.has_ended else 5
            self._parts.begin(_night(run), lambda: read_night(self.store(), run), fresh)

    def _card(self, pipeline: Pipeline, parts: Callable[..., Part]) -> Card:
        recipe, run = pipeline.recipe or "", pipeline.newest
        asked = {url: parts("server", url, recipe) for url, _ in self._servers()}
        return Card(
            pipeline=pipeline,
            live=parts("live", recipe),
            backup=parts("backup", recipe),
            servers=tuple(_server(url, part) for url, part in asked.items()),
            night=parts(*_night(run)) if run else Part(),
        )

    def _servers(self) -> list[tuple[str, ServingSettings]]:
        try:
            settings = self._sources.serving()
        except Exception:  # no connection for servers: the page shows none
            return []
        return [(url, settings) for url in settings.servers]

    def _safety(self) -> Safety:
        """Return the store's state, and open the store anew where its members have changed."""
        store = self.store()
        found = read_safety(store)
        if store.membership.read_record() != store.record:
            with self._locks["store"]:
                self._stores.pop("store", None)
        return found

    def _backup(self) -> Store:
        return self._opened("backup", self._sources.backup)

    def _opened(self, name: str, open_it: Callable[[], Store]) -> Store:
        with self._locks[name]:
            if name not in self._stores:
                self._stores[name] = open_it()
            return self._stores[name]


def from_connections() -> Sources:
    """Return the sources that Airflow's connections name; none of them is asked yet."""
    from operators.core.storage import open_store

    return Sources(
        store=lambda: open_store(connections.store_settings().for_readers()),
        backup=lambda: open_store(connections.backup_settings().for_readers()),
        serving=connections.serving_settings,
        prices=connections.price_list,
        availability=connections.availability,
        keepers=connections.keepers,
    )


def _night(run: Run) -> tuple[str, ...]:
    return ("night", run.dag_id, run.run_id, run.state, f"{run.ended_at}")


def _server(url: str, part: Part) -> ServerState:
    if part.value is not None and not part.is_late:
        return part.value
    reason = part.error or "it has not answered yet"
    return ServerState(name=server_name(url), serving=None, counted={}, reason=reason)
