"""The rival of `replicate`: boto3 writers, one for each server, that send the same files with a checksum.

Run by the rivals' own interpreter, which has boto3 and nothing of Nightshift.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config

AT_ONCE = 2
"""Files that each writer has on their way."""


def write_all(url: str, bucket: str, prefix: str, access: str, secret: str, files: list[Path]) -> None:
    """Send every file to one server."""
    config = Config(retries={"max_attempts": 1}, max_pool_connections=AT_ONCE)
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1",
        config=config,
    )  # fmt: skip

    def send(path: Path) -> None:
        client.put_object(
            Bucket=bucket, Key=f"{prefix}/{path.name}", Body=path.read_bytes(), ChecksumAlgorithm="SHA256"
        )

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, files))


if __name__ == "__main__":
    _, bucket, prefix, access, secret, folder, *urls = sys.argv
    files = sorted(Path(folder).iterdir())
    with ThreadPoolExecutor(len(urls)) as pool:
        list(pool.map(lambda url: write_all(url, bucket, prefix, access, secret, files), urls))
