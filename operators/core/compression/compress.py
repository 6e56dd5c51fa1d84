"""Stage `compress`: the candidate that was chosen, as the model that goes on."""

from __future__ import annotations

from operators.core.errors import DataError
from operators.core.manifest import Made, StageCall
from operators.core.storage import Result, Store

REVISION = 11


def compress(store: Store, candidate: str, choice: str) -> Result:
    """Return the chosen candidate as a model of its own; its files are the candidate's, not uploaded again.

    Args:
        store: The store.
        candidate: Digest of the candidate.
        choice: Digest of the choice that fell on it: its facts are the model's.

    Raises:
        DataError: The choice was made among others.
    """
    call = StageCall(
        stage="compress",
        revision=REVISION,
        inputs=(store.as_input("candidate", candidate), store.as_input("choice", choice)),
    )

    def make() -> Made:
        chosen, made = store.manifest(choice), store.manifest(candidate)
        measured = chosen.input("measurement").manifest
        among = store.manifest(measured).inputs_of("candidate") if measured else ()
        if made.identity not in {item.identity for item in among}:
            raise DataError(f"{candidate[:12]} is none of the candidates that {choice[:12]} chose from")
        return Made(files=made.files, facts=chosen.facts)

    return store.once(call, make)
