"""The versions of a bucket's objects, where it keeps them: locked against deletion, listed, deleted for good."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any, NamedTuple

from operators.core.storage.s3 import Refused, S3Client


class Version(NamedTuple):
    """One version of an object, or the mark of a deletion."""

    key: str
    id: str
    is_mark: bool


class S3Versions:
    """Versions in one bucket."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def lock(self, key: str, until: float) -> bool:
        """Have nobody delete the newest version of a key before a moment, the bucket's owner included.

        Args:
            key: Which.
            until: In seconds since 1970, by the server's clock; a lock that ends later stays.

        Returns:
            False where the key is absent.
        """
        moment = datetime.datetime.fromtimestamp(until, datetime.UTC).replace(microsecond=0)
        retention = {"Mode": "COMPLIANCE", "RetainUntilDate": moment}
        try:
            self._ask(f"cannot lock {key}", "put_object_retention", Key=key, Retention=retention)
        except Refused as refused:
            if refused.code in ("NoSuchKey", "MethodNotAllowed"):  # the second: a mark of a deletion is the newest
                return False
            if refused.code == "AccessDenied" and self._is_locked(key, moment):
                return True
            raise
        return True

    def below(self, prefix: str) -> Iterator[Version]:
        """Yield every version below a prefix, the newest of a key first."""
        more: dict[str, Any] = {}
        while True:
            page = self._ask("cannot list its versions", "list_object_versions", Prefix=prefix, **more)
            found = [(item, False) for item in page.get("Versions", [])]
            found += [(item, True) for item in page.get("DeleteMarkers", [])]
            # A newest version comes first; of two within one second the server's own order stands.
            found.sort(key=lambda one: (one[0]["Key"], not one[0]["IsLatest"], -one[0]["LastModified"].timestamp()))
            yield from (Version(item["Key"], item["VersionId"], is_mark) for item, is_mark in found)
            if not page.get("IsTruncated"):
                return
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def delete(self, version: Version) -> bool:
        """Delete one version for good; False where its lock forbids it."""
        try:
            self._ask(f"cannot delete {version.key}", "delete_object", Key=version.key, VersionId=version.id)
        except Refused as refused:
            if refused.code != "AccessDenied":
                raise
            return False
        return True

    def _is_locked(self, key: str, moment: datetime.datetime) -> bool:
        answer = self._ask(f"cannot tell the lock of {key}", "get_object_retention", Key=key)
        return bool(answer["Retention"]["RetainUntilDate"] >= moment)

    def _ask(self, what: str, operation: str, **arguments: Any) -> Any:
        return self._client.run(self._client.ask, what, operation, **arguments)
