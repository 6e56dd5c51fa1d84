"""Replicated storage: several endpoints, one truth. The protocol is section 3 of docs/architecture.md."""

from operators.core.storage.founding import initialise
from operators.core.storage.store import Result, Store, open_store
from operators.core.storage.streams import Entry, Stream

__all__ = ["Entry", "Result", "Store", "Stream", "initialise", "open_store"]
