"""What a person types, as a digest: whole, short, a run key, or the newest of a stream."""

from __future__ import annotations

import re

from operators.cli.answer import WrongUse
from operators.core.storage import Store
from operators.core.storage.listing import manifest_digests, run_keys

LATEST = "latest:"
NAME_HELP = "digest or run key (8 digits are enough where they are clear), or latest:<stream>"


def resolve(store: Store, name: str) -> str:
    """Return the digest of the manifest that a name means.

    Args:
        store: The store.
        name: A manifest's digest or a run key, whole or at least its first 8 digits, or `latest:<stream>`.

    Raises:
        WrongUse: It means nothing here, or more than one thing.
    """
    if name.startswith(LATEST):
        stream = name.removeprefix(LATEST)
        head = store.stream(stream).head()
        if head is None:
            hint = "backups are listed with --backup-store" if stream.startswith("backup-") else "see `ls streams`"
            raise WrongUse(f"stream {stream!r} has no entries here; {hint}")
        return head.manifest
    if not re.fullmatch(r"[0-9a-f]{8,64}", name):
        raise WrongUse(f"{name!r}: give a digest or run key (at least 8 hexadecimal digits) or {LATEST}<stream>")
    found = manifest_digests(store, name)
    if not found:
        results = [store.find(run_key) for run_key in run_keys(store, name)]
        found = sorted({result.digest for result in results if result is not None})
    if len(found) != 1:
        what = "names nothing in this store" if not found else f"is the beginning of {len(found)} digests, type more"
        raise WrongUse(f"{name} {what}")
    return found[0]
