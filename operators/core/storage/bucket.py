"""An endpoint in an S3 bucket.

Nothing is ever streamed into a final key, and s3fs's own create mode is never used: on a lost reply it takes its own
object for another's, and for an empty body it overwrites. Bodies go in one conditional or checksummed `put_object`, or
in checked parts that become the object at once.
"""

from __future__ import annotations

import datetime
import functools
import logging
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal

from operators.core.manifest import sha256_of_file
from operators.core.settings import EndpointSettings
from operators.core.storage.endpoint import EndpointAway, Listed, check_key
from operators.core.storage.patience import Patience
from operators.core.storage.s3 import Refused, S3Client
from operators.core.storage.transfers import RANGE_BYTES, Range, checksum, download, upload
from operators.core.storage.versions import S3Versions

_PAGE_KEYS = 1000
_WHOLE_BYTES = 32 * 1024**2
_DEAD_UPLOAD = datetime.timedelta(days=1)

log = logging.getLogger(__name__)


class S3Endpoint:
    """One bucket of one S3 server."""

    def __init__(self, settings: EndpointSettings, patience: Patience | None = None) -> None:
        self.name = settings.name
        self._client = S3Client(settings, patience or Patience())
        self.versions = S3Versions(self._client)
        self._is_swept = False

    def create_bucket(self) -> None:
        """Make the bucket where it is missing."""
        try:
            self._ask("cannot create its bucket", "create_bucket")
        except Refused as refused:
            if refused.code == "BucketAlreadyExists":  # so SeaweedFS calls one of ours that has other properties
                self._ask(f"may not use bucket {self._client.bucket}", "head_bucket")
            elif refused.code != "BucketAlreadyOwnedByYou":
                raise

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Put with `If-None-Match: *`, once. Anything but a clean 200 is unknown: a lost reply looks like a lost race.

        Raises:
            ValueError: No bytes: a key that decides something must not look like an object that was cut short.
        """
        if not data:
            raise ValueError(f"{key}: an empty value decides nothing")
        try:
            self._put(key, data, repeat=False, IfNoneMatch="*")
        except EndpointAway as error:
            if not (isinstance(error, Refused) and error.code == "PreconditionFailed"):
                log.warning("whether %s was created is not known: %s", key, error)
            return False
        return True

    def put(self, key: str, data: bytes | Path) -> None:
        """Put with a SHA-256 that the server checks; where it does not say that it did, read back and compare."""
        if isinstance(data, Path) and data.stat().st_size > _WHOLE_BYTES:
            self._put_large(key, data)
            return
        body = data.read_bytes() if isinstance(data, Path) else data
        if not self._put(key, body) and self.get(key) != body:
            raise EndpointAway(f"endpoint {self.name}: {key} does not read back as it was written")

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None where the key is absent. A checksum that the server sends is checked."""
        try:
            answer = self._ask(f"cannot read {key}", "get_object", read=True, Key=check_key(key))
        except Refused as refused:
            _raise_unless_absent(refused)
            return None
        body: bytes = answer["Body"]
        return body

    def size(self, key: str) -> int | None:
        """Return the size in bytes, None on a 404 of the key."""
        try:
            return int(self._ask(f"cannot look up {key}", "head_object", Key=check_key(key))["ContentLength"])
        except Refused as refused:
            if refused.status != 404:
                raise
        # The answer to a HEAD has no body that would say what is missing, the key or the bucket.
        self._ask(f"has no bucket {self._client.bucket}", "head_bucket")
        return None

    def digest(self, key: str) -> str | None:
        """Return the SHA-256 of what lies under the key, None where it is absent; memory is bounded."""
        return self._download(key, None)

    def fetch(self, key: str, target: BinaryIO) -> str | None:
        """Write a key's bytes there and return their SHA-256, None where it is absent; memory is bounded."""
        return self._download(key, target)

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
        """Return the keys below the prefix, page by page, past every cache."""
        found: dict[str, Listed] = {}
        more: dict[str, Any] = {"StartAfter": after} if after else {}
        if limit is not None:
            more["MaxKeys"] = min(limit, _PAGE_KEYS)
        while limit is None or len(found) < limit:
            page = self._ask(f"cannot list {prefix}", "list_objects_v2", Prefix=prefix, **more)
            items = page.get("Contents", [])
            known = len(found)
            found |= {item["Key"]: _listed(item) for item in items}
            if len(found) != known + len(items) or (page.get("IsTruncated") and not items):
                raise EndpointAway(f"endpoint {self.name}: its listing of {prefix} goes in circles")
            if not page.get("IsTruncated"):
                break
            more["ContinuationToken"] = page["NextContinuationToken"]
        return sorted(item for item in found.values() if item.key > after)[:limit]

    def delete(self, key: str) -> None:
        """Delete the object; one that is not there is no error."""
        self._ask(f"cannot delete {key}", "delete_object", Key=check_key(key))

    def clock(self) -> float:
        """Return the time in the header of an answer, in whole seconds."""
        answer = self._ask("cannot tell its time", "head_bucket")
        return parsedate_to_datetime(_headers(answer)["date"]).timestamp()

    # What a probe asks besides -----------------------------------------------------------------------------------

    def traits(self) -> dict[str, str]:
        """Return what is known of the server and of the bucket: `server`, `transport`, `versioning`, `object_lock`."""
        answer = self._ask(f"has no bucket {self._client.bucket}", "head_bucket")
        traits = {"server": _headers(answer).get("server", "unknown"), "transport": self._client.transport}
        for name, operation, field in (
            ("versioning", "get_bucket_versioning", "Status"),
            ("object_lock", "get_object_lock_configuration", "ObjectLockConfiguration"),
        ):
            try:
                value = self._ask(f"cannot tell its {name}", operation).get(field)
                traits[name] = str(value.get("ObjectLockEnabled") if isinstance(value, dict) else value or "off")
            except Refused as refused:
                traits[name] = "off" if refused.status == 404 else f"unknown ({refused.code})"
        return traits

    def try_wrong_checksum(self, key: str) -> Literal["refused", "stored", "vouched"]:
        """Put bytes under the SHA-256 of others; return what came of it. `vouched`: stored, and called right."""
        try:
            is_checked = self._put(key, b"these bytes", ChecksumSHA256=checksum(b"are not these"))
        except Refused as refused:
            if refused.status is None or refused.status >= 500:
                raise
            return "refused"
        return "vouched" if is_checked else "stored"

    # -------------------------------------------------------------------------------------------------------------

    def _ask(self, what: str, operation: str, **arguments: Any) -> Any:
        return self._client.run(self._client.ask, what, operation, **arguments)

    def _put(self, key: str, data: bytes, **arguments: Any) -> bool:
        """Return whether the server says that it checked the SHA-256."""
        named = {"ChecksumSHA256": checksum(data), **arguments}
        answer = self._ask(f"cannot write {key}", "put_object", size=len(data), Key=check_key(key), Body=data, **named)
        return bool(answer.get("ChecksumSHA256") == named["ChecksumSHA256"])

    def _put_large(self, key: str, path: Path) -> None:
        """Put in parts. An unclear end, and a server that checks nothing, are settled by reading what is there."""
        self._sweep_uploads()
        ask = functools.partial(self._client.ask, f"cannot write {key}", Key=check_key(key))
        try:
            if self._client.run(upload, ask, path):
                return
        except Refused as refused:
            is_unclear = refused.status is None or refused.status >= 500
            if not is_unclear or self.digest(key) != sha256_of_file(path):
                raise
            return
        if self.digest(key) != sha256_of_file(path):
            raise EndpointAway(f"endpoint {self.name}: {key} does not read back as it was written")

    def _sweep_uploads(self) -> None:
        """Give up what uploads of processes that died left in the bucket; once in this one's life."""
        if self._is_swept:
            return
        self._is_swept = True
        try:
            listed = self._ask("cannot list its uploads", "list_multipart_uploads").get("Uploads", [])
            before = datetime.datetime.fromtimestamp(self.clock(), datetime.UTC) - _DEAD_UPLOAD
            for dead in (item for item in listed if item["Initiated"] < before):
                self._ask("cannot end an upload", "abort_multipart_upload", Key=dead["Key"], UploadId=dead["UploadId"])
        except EndpointAway as error:
            log.warning("what dead uploads hold is not freed: %s", error)

    def _download(self, key: str, target: BinaryIO | None) -> str | None:
        check_key(key)
        try:
            return download(lambda number: self._client.begin(self._range(key, number)), target)
        except ValueError as error:
            raise EndpointAway(f"endpoint {self.name} cannot read {key}: {error}") from error

    async def _range(self, key: str, number: int) -> Range | None:
        start = number * RANGE_BYTES
        span = f"bytes={start}-{start + RANGE_BYTES - 1}"
        try:
            answer = await self._client.ask(f"cannot read {key}", "get_object", read=True, Key=key, Range=span)
        except Refused as refused:
            if refused.code == "InvalidRange" and number == 0:
                return Range(b"", 0)  # an object without bytes has no range
            _raise_unless_absent(refused)
            return None
        return _as_range(answer, start)


def _as_range(answer: Mapping[str, Any], start: int) -> Range:
    """Return a range, or refuse an answer that is another one or cut short.

    Raises:
        ValueError: It is; a server that knows no ranges sends the whole object, which is one where it is small.
    """
    data, said = answer["Body"], answer.get("ContentRange")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", said or f"bytes 0-{len(data) - 1}/{len(data)}")
    if match is None:
        raise ValueError(f"it answers with range {said!r}")
    first, last, total = (int(number) for number in match.groups())
    if (first, last) != (start, min(start + RANGE_BYTES, total) - 1) or len(data) != last + 1 - first:
        raise ValueError(
            f"it answers with range {said!r} and {len(data)} bytes where those from {start} were asked for"
        )
    return Range(data, total)


def _raise_unless_absent(refused: Refused) -> None:
    """Pass where the key is absent. A missing bucket, and a 404 by something that is no S3 server, are away."""
    if refused.code != "NoSuchKey":
        raise refused


def _headers(answer: Mapping[str, Any]) -> Mapping[str, str]:
    headers: Mapping[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return headers


def _listed(item: Mapping[str, Any]) -> Listed:
    return Listed(item["Key"], item["Size"], item["LastModified"].timestamp())
