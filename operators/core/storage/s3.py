"""An endpoint in an S3 bucket, through s3fs: the only module that speaks to an S3 client.

Nothing is ever streamed into a final key, and s3fs's own create mode is never used: on a lost reply it takes its own
object for another's, and for an empty body it overwrites. Bodies go in one conditional or checksummed `put_object`.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import s3fs
from aiobotocore.session import AioSession
from fsspec.asyn import sync

from operators.core.settings import EndpointSettings
from operators.core.storage.endpoint import EndpointAway, Listed, check_key

_TRIES = 2
_TIMEOUTS_SECONDS = {"connect_timeout": 3, "read_timeout": 30}
_LARGEST_PUT_BYTES = 5 * 1024**3
_PAGE_KEYS = 1000


@functools.cache
def _session() -> AioSession:
    """Return one session for all endpoints: each new one reads the S3 service description again, 0.4 s of CPU."""
    return AioSession()


class S3Endpoint:
    """One bucket of one S3 server."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.name = settings.name
        self._bucket = settings.url.removeprefix("s3://")
        client: dict[str, Any] = {"endpoint_url": settings.endpoint_url, "region_name": "us-east-1"}
        if settings.ca_file:
            client["verify"] = settings.ca_file
        self._files = s3fs.S3FileSystem(
            key=settings.access_key,
            secret=settings.secret_key,
            client_kwargs=client,
            # The protocol decides what a retry means; the client must not repeat a conditional put behind its back.
            config_kwargs={**_TIMEOUTS_SECONDS, "retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}},
            session=_session(),
            skip_instance_cache=True,
            use_listings_cache=False,
        )
        self._files.retries = _TRIES

    def create_bucket(self) -> None:
        """Make the bucket where it is missing."""
        try:
            self._files.call_s3("create_bucket", Bucket=self._bucket)
        except FileExistsError:
            return
        except Exception as error:
            raise self._away("cannot create its bucket", error) from error

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Put with `If-None-Match: *`. Anything but a clean 200 is unknown: a lost reply looks like a lost race."""
        try:
            self._put(key, data, IfNoneMatch="*")
        except EndpointAway:
            return False
        return True

    def put(self, key: str, data: bytes | Path) -> None:
        """Put with a SHA-256 that the server checks; where it does not say that it did, read back and compare."""
        if isinstance(data, Path):
            if data.stat().st_size > _LARGEST_PUT_BYTES:
                raise ValueError(f"{data} is larger than one S3 put takes ({_LARGEST_PUT_BYTES} bytes): split it")
            data = data.read_bytes()
        checked = self._put(key, data)
        if not checked and self.get(key) != data:
            raise EndpointAway(f"endpoint {self.name}: {key} does not read back as it was written")

    def get(self, key: str) -> bytes | None:
        """Return the bytes, None on a 404 of the key."""
        try:
            body: bytes = sync(self._files.loop, self._read, key)
            return body
        except FileNotFoundError as error:
            self._refuse_missing_bucket(error)
            return None
        except Exception as error:
            raise self._away(f"cannot read {key}", error) from error

    def size(self, key: str) -> int | None:
        """Return the size in bytes, None on a 404 of the key."""
        try:
            return int(self._files.call_s3("head_object", Bucket=self._bucket, Key=check_key(key))["ContentLength"])
        except FileNotFoundError:
            # The answer to a HEAD has no body that would say what is missing, the key or the bucket.
            self._check_bucket()
            return None
        except Exception as error:
            raise self._away(f"cannot look up {key}", error) from error

    def list(self, prefix: str, *, after: str = "", limit: int | None = None) -> list[Listed]:
        """Return the keys below the prefix, page by page, past every cache."""
        found: list[Listed] = []
        more: dict[str, Any] = {"StartAfter": after} if after else {}
        if limit is not None:
            more["MaxKeys"] = min(limit, _PAGE_KEYS)
        while True:
            try:
                page = self._files.call_s3("list_objects_v2", Bucket=self._bucket, Prefix=prefix, **more)
            except Exception as error:
                raise self._away(f"cannot list {prefix}", error) from error
            found += [_listed(item) for item in page.get("Contents", [])]
            if not page.get("IsTruncated") or (limit is not None and len(found) >= limit):
                return sorted(found)[:limit]
            more["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, key: str) -> None:
        """Delete the object; one that is not there is no error."""
        try:
            self._files.call_s3("delete_object", Bucket=self._bucket, Key=check_key(key))
        except Exception as error:
            raise self._away(f"cannot delete {key}", error) from error

    def clock(self) -> float:
        """Return the time in the header of an answer, in whole seconds."""
        try:
            answer = self._files.call_s3("head_bucket", Bucket=self._bucket)
            return parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"]).timestamp()
        except Exception as error:
            raise self._away("cannot tell its time", error) from error

    def _put(self, key: str, data: bytes, **conditions: str) -> bool:
        """Return whether the server says that it checked our SHA-256."""
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        try:
            answer = self._files.call_s3(
                "put_object", Bucket=self._bucket, Key=check_key(key), Body=data, ChecksumSHA256=digest, **conditions
            )
        except Exception as error:
            raise self._away(f"cannot write {key}", error) from error
        return bool(answer.get("ChecksumSHA256") == digest)

    async def _read(self, key: str) -> bytes:
        """Get in one request; s3fs's own `cat_file` asks for the size first, and each request costs 4 ms of CPU."""
        answer = await self._files._call_s3("get_object", Bucket=self._bucket, Key=check_key(key))
        async with answer["Body"] as body:
            return bytes(await body.read())

    def _check_bucket(self) -> None:
        try:
            self._files.call_s3("head_bucket", Bucket=self._bucket)
        except Exception as error:
            raise self._away(f"has no bucket {self._bucket}", error) from error

    def _refuse_missing_bucket(self, error: FileNotFoundError) -> None:
        """A missing bucket is an endpoint that is away, not one without this key."""
        if "NoSuchBucket" in repr(error.__cause__):
            raise self._away(f"has no bucket {self._bucket}", error) from error

    def _away(self, what: str, error: Exception) -> EndpointAway:
        return EndpointAway(f"endpoint {self.name} {what}: {type(error).__name__}: {error}")


def _listed(item: Mapping[str, Any]) -> Listed:
    return Listed(item["Key"], item["Size"], item["LastModified"].timestamp())
