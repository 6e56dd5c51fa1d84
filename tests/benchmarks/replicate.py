"""B3: replicated writes to two S3 servers, against boto3, `aws s3 sync` and rclone.

Large: 1 GiB in 64 files, ours acknowledged by both servers, against boto3 writers that send the same to the same two at
once. Small: 5,000 files of 20 KB, ours per copy against one copy by each rival. After every run each replica is hashed;
no ratio is printed when one differs.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from operators.core.manifest import sha256_of_file
from operators.core.settings import STORAGE_VARIABLE, StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.objects import object_key
from tests.benchmarks.timing import Sample, alternate, compare, disk_limit, measure, parse, publish
from tests.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

RIVALS = Path(os.environ.get("NIGHTSHIFT_RIVALS", ".venv-bench")) / "bin"
WRITERS = Path(__file__).parent
LARGE, SMALL = (64, 16 << 20), (5000, 20_000)
"""Files and bytes of each."""


class Bed:
    """Two servers, a store over them, and folders of files to send."""

    def __init__(self, folder: Path, servers: Sequence[Seaweed]) -> None:
        self.folder, self.servers = folder, servers
        self._runs = count()
        self._prefix = ""
        for variable, value in {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}.items():
            os.environ[variable] = value
        os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_MAX_ATTEMPTS": "1"}

    def fill(self, name: str, number: int, size: int) -> Path:
        """Make files of random bytes, the same in every run."""
        folder, draw = self.folder / name, random.Random(name)
        folder.mkdir()
        for index in range(number):
            (folder / f"{index:05d}").write_bytes(draw.randbytes(size))
        return folder

    def _empty(self) -> None:
        """Have each run begin on empty buckets, and give every run keys of its own."""
        for server in self.servers:
            server.empty()
        self._prefix = f"run-{next(self._runs)}"

    def ours(self, files: Path) -> Sample:
        """Write through the store, W = 2 of 2."""
        self._empty()
        settings = StorageSettings(endpoints=tuple(one.settings() for one in self.servers), acknowledge=2)
        initialise(settings, rounds=0)
        os.environ[STORAGE_VARIABLE] = settings.to_json()
        sample = measure([sys.executable, "-m", "tests.benchmarks.store_writer", str(files)])
        store = open_store(settings)
        try:
            for path in files.iterdir():
                digest = sha256_of_file(path)
                for line in store.record.members:
                    seen = store.membership.endpoints[line.name].digest(
                        f"{line.incarnation}/{object_key('obj', digest)}"
                    )
                    assert seen == digest, f"{path.name} on {line.name} is not what was written"
        finally:
            store.close()
        return sample

    def rival(self, command: Callable[[Path, str], list[str]], copies: int, files: Path) -> Sample:
        """Write with another tool, and check what it wrote."""
        self._empty()
        sample = measure(command(files, self._prefix))
        for server in self.servers[:copies]:
            for path in files.iterdir():
                data = server.files().cat_file(f"{BUCKET}/{self._prefix}/{path.name}")
                assert data == path.read_bytes(), f"{path.name} on {server.name} is not what was written"
        return sample

    def boto3(self, files: Path, prefix: str) -> list[str]:
        """Writers to both servers at once."""
        urls = [server.url for server in self.servers]
        script = str(WRITERS / "rival_writer.py")
        return [str(RIVALS / "python"), script, BUCKET, prefix, ACCESS_KEY, SECRET_KEY, str(files), *urls]

    def aws(self, files: Path, prefix: str) -> list[str]:
        """`aws s3 sync` to one server."""
        target = f"s3://{BUCKET}/{prefix}/"
        url = ["--endpoint-url", self.servers[0].url]
        return [str(RIVALS / "aws"), *url, "s3", "sync", "--only-show-errors", str(files), target]

    def rclone(self, files: Path, prefix: str) -> list[str]:
        """`rclone copy` to one server, with its own defaults."""
        remote = f":s3,provider=Other,env_auth=true,endpoint='{self.servers[0].url}':{BUCKET}/{prefix}"
        return [str(RIVALS / "rclone"), "copy", str(files), remote]


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        folder = Path(name)
        servers = [Seaweed(site, _made(folder / site)) for site in ("site_a", "site_b")]
        try:
            for server in servers:
                server.start()
            for server in servers:
                server.wait()
            bed = Bed(folder, servers)
            large = bed.fill("large", max(2, int(LARGE[0] * options.scale)), LARGE[1])
            ways = {"ours": partial(bed.ours, large), "boto3": partial(bed.rival, bed.boto3, 2, large)}
            samples = alternate(ways, options.pairs)
            small = bed.fill("small", max(2, int(SMALL[0] * options.scale)), SMALL[1])
            ways = {
                "ours": partial(bed.ours, small),
                "aws s3 sync": partial(bed.rival, bed.aws, 1, small),
                "rclone": partial(bed.rival, bed.rclone, 1, small),
            }
            many = alternate(ways, options.pairs)
            limit = {"one stream written and synced, MiB/s": disk_limit(folder)}
        finally:
            for server in servers:
                server.kill()
            shutil.rmtree(folder, ignore_errors=True)
    publish(compare("B3-large", samples, {"boto3": 1.25}, limit, scale=options.scale))
    publish(compare("B3-small", many, {"aws s3 sync": 1.0}, limit, share=0.5, scale=options.scale))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
