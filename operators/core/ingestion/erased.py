"""Stage `find_erased`: which rows of a landing file are on the record of erasures.

A stage of its own, so that of a file's run key only what the file really holds of them is part: a file without an
erased row keeps its key, its part and all that was made of it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import pyarrow as pa

from operators.core.anonymisation.pseudonyms import PSEUDONYM_PATTERN, key_id
from operators.core.anonymisation.spec import AnonymisationSpec
from operators.core.errors import DataError
from operators.core.manifest import Input, Made, StageCall, canonical, spec_json
from operators.core.sources.landing import LandingZone
from operators.core.sources.listing import SourceFile, source_key
from operators.core.sources.reader import read_listed
from operators.core.sources.spec import SourceSpec
from operators.core.sources.texts import column_of
from operators.core.storage import Store
from operators.core.storage.erasures import ErasedRow, erased_rows

REVISION = 9
ERASED = "erased"
"""Why a row is quarantined that is on the record of erasures."""


class ErasedRows:
    """Knows which rows of one source may not come back.

    Args:
        store: Holds the record, and what was found in files before.
        zone: Where the files are.
        source: What the source looks like.
        anonymisation: The policy, by which ids are stored.
        key: The key of the pseudonyms.

    Raises:
        DataError: Rows are on record under pseudonyms of another key: whether they come back cannot be told.
    """

    def __init__(
        self, store: Store, zone: LandingZone, source: SourceSpec, anonymisation: AnonymisationSpec, key: bytes
    ) -> None:
        self._store, self._zone = store, zone
        self._source, self._anonymisation, self._key = source, anonymisation, key
        self._ids = _by_day((row for row in erased_rows(store) if row.source == source.folder), key_id(key))

    def of_all(self, files: Iterable[SourceFile]) -> tuple[dict[SourceFile, tuple[int, ...]], list[DataError]]:
        """Return the numbers of each file's erased rows, and why files could not be looked at; those have none."""
        found: dict[SourceFile, tuple[int, ...]] = {}
        refused: list[DataError] = []
        for file in files:
            try:
                found[file] = self.of(file)
            except DataError as error:
                refused.append(error)
        return found, refused

    def of(self, file: SourceFile) -> tuple[int, ...]:
        """Return the numbers of a file's erased rows, from 0; a file of a day without erasures is not read.

        Raises:
            SourceChanged: The file is not the one that was listed.
            DataError: It cannot be read.
        """
        ids = self._ids.get(file.day.isoformat())
        if not ids:
            return ()
        call = StageCall(
            stage="find_erased",
            revision=REVISION,
            inputs=(Input(role="source", identity=file.sha256),),
            spec={
                "source": source_key(self._source),
                "policy": spec_json(self._anonymisation.policy("id")),
                "key": key_id(self._key),
                # A manifest is readable to all who read the store: which ids they are stays a secret of the key.
                "ids": hmac.digest(self._key, canonical(sorted(ids)), hashlib.sha256).hex(),
            },
        )
        return tuple(self._store.once(call, lambda: self._make(file, ids)).manifest.facts["rows"])

    def _make(self, file: SourceFile, ids: frozenset[str]) -> Made:
        # Not before a file needs it: Presidio takes seconds to import.
        from operators.core.anonymisation.anonymiser import Anonymiser

        anonymiser = Anonymiser(self._anonymisation, self._key)
        policy = self._anonymisation.policy("id")
        rows: list[int] = []
        start = 0
        for part in read_listed(self._zone, file, self._source):
            if isinstance(part, tuple):
                continue
            named = column_of(part, self._source.id_column, pa.string()).to_pylist()
            stored = (None if value is None else str(anonymiser.value(policy, value)) for value in named)
            rows += [number for number, value in enumerate(stored, start) if value in ids]
            start += part.num_rows
        return Made(facts={"rows": rows})


def _by_day(rows: Iterable[ErasedRow], key: str) -> Mapping[str, frozenset[str]]:
    ids: dict[str, set[str]] = defaultdict(set)
    under_others: Counter[str] = Counter()
    for row in rows:
        if row.key == key or not PSEUDONYM_PATTERN.fullmatch(row.id):
            ids[row.day].add(row.id)
        else:
            under_others[row.day] += 1
    for day, count in under_others.items():
        if len(ids[day]) < count:
            raise DataError(
                f"{count} rows of {day} were erased under pseudonyms of another key than {key}, {len(ids[day])} under "
                "this one: whether the others come back cannot be told. Run `nightshift forget` for them under this key"
            )
    return {day: frozenset(found) for day, found in ids.items()}
