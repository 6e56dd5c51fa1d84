"""B11: a backup of 2 GiB, one after 2 % changed, and a restore, against restic and rclone.

256 files of 8 MiB. Ours is the platform's backup of an encrypted store in a directory into another: everything new is
read back and hashed, and a share of the rest. restic (encrypted, its defaults) and rclone (`sync`, not encrypted, sizes
and times compared) back the same files up from a folder. After each restore every file is hashed.

For ours the bytes that the incremental one read from the store, wrote to the backup and read back there are counted at
the endpoints. A rival that is not installed is left out, and it is said: `apt-get install restic`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from operators.core.manifest import Made, StageCall, sha256_of_file
from operators.core.recovery.back_up_platform import Surroundings, back_up_platform
from operators.core.recovery.backups import choose
from operators.core.recovery.restore_platform import restore_platform
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.endpoint import Endpoint
from tests.benchmarks.timing import Sample, alternate, compare, disk_limit, measure, parse, publish
from tests.core.signers import SIGNER
from tests.encryption import ENCRYPTION

RIVALS = Path(os.environ.get("NIGHTSHIFT_RIVALS", ".venv-bench")) / "bin"
FILES, FILE_BYTES = 256, 8 << 20
CHANGED = 0.02
MOST = 0.05
"""Of the store, that an incremental backup may read there and write to the backup."""


def place(folder: Path) -> StorageSettings:
    """Return the settings of a store in one directory."""
    folder.mkdir(parents=True, exist_ok=True)
    endpoint = EndpointSettings(name=folder.name, url=folder.absolute().as_uri())
    return StorageSettings(endpoints=(endpoint,), acknowledge=1, encryption=ENCRYPTION)


@dataclass
class Counted:
    """An endpoint that counts the bytes of what is read and written there."""

    endpoint: Endpoint
    read: int = field(default=0)
    written: int = field(default=0)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.endpoint, name)
        if name not in ("get", "digest", "fetch", "put", "put_if_absent"):
            return call

        def counted(key: str, *rest: Any) -> Any:
            answer = call(key, *rest)
            size = self.endpoint.size(key) or 0
            if name.startswith("put"):
                self.written += size
            else:
                self.read += size
            return answer

        return counted


def counted(store: Store) -> Counted:
    """Have a store's only endpoint counted."""
    ((name, endpoint),) = store.membership.endpoints.items()
    watched = Counted(endpoint)
    store.membership.endpoints[name] = watched
    return watched


def child(action: str, source: Path, target: Path, told: Path) -> None:
    """Back up or restore, and tell what was read and written; the other end of `Bed.ours`."""
    store, other = open_store(place(source)), open_store(place(target))
    read, written = counted(store), counted(other)
    if action == "back_up":
        back_up_platform(store, other, Surroundings(store=place(source)), signer=SIGNER)
    else:
        restore_platform(store, other, choose(store).backup)
    told.write_text(json.dumps({"store": read.read, "backup": written.written, "read_back": written.read}))
    store.close()
    other.close()


class Bed:
    """2 GiB of files in a folder and in a store, and 2 % of other files that take the place of some of them."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self.files = folder / "files"
        self.files.mkdir()
        self.changed = max(1, round(number * CHANGED))
        self._write("first", range(number))
        initialise(place(folder / "store"), rounds=0)
        self._hold("first")
        self.bytes = number * FILE_BYTES
        self.told: list[dict[str, int]] = []

    def _write(self, name: str, numbers: Iterable[int]) -> None:
        for index in numbers:
            (self.files / f"{index:05d}").write_bytes(random.Random(f"{name} {index}").randbytes(FILE_BYTES))

    def _hold(self, name: str) -> None:
        """Have the files as they are now in the store, as a data set that is the newest of its stream."""
        store = open_store(place(self.folder / "store"))
        call = StageCall(stage="benchmark", revision=1, spec={"name": name})
        paths = [(path.name, path) for path in sorted(self.files.iterdir())]
        result = store.once(call, lambda: Made(files=store.put_files(paths)))
        stream = store.stream("benchmark")
        stream.append(result.digest, stream.head())
        store.close()

    def change(self, name: str) -> None:
        """Have 2 % of the files replaced."""
        self._write(name, range(self.changed))
        self._hold(name)

    def new(self, name: str) -> Path:
        """Return an empty folder."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / name).mkdir()
        return self.folder / name

    def ours(self, action: str, source: str, target: str) -> Sample:
        """Back the store up, or restore it, in a process of its own."""
        told = self.folder / "told.json"
        paths = [str(self.folder / source), str(self.folder / target), str(told)]
        sample = measure([sys.executable, "-m", "tests.benchmarks.back_up", "--child", action, *paths])
        self.told.append(json.loads(told.read_text()))
        return sample

    def full(self) -> Sample:
        """Ours, into an empty backup store."""
        initialise(place(self.new("backup")), rounds=0)
        return self.ours("back_up", "store", "backup")

    def restored(self) -> Sample:
        """Ours, into an empty store; every file is opened and hashed afterwards."""
        initialise(place(self.new("restored")), rounds=0)
        sample = self.ours("restore", "backup", "restored")
        store = open_store(place(self.folder / "restored"))
        head = store.stream("benchmark").head()
        assert head is not None
        for entry in store.manifest(head.manifest).files:
            store.fetch(entry, self.folder / "one")
            assert sha256_of_file(self.folder / "one") == sha256_of_file(self.files / entry.name), entry.name
        store.close()
        return sample

    def restic(self, *arguments: str) -> Sample:
        """Run restic on its repository."""
        os.environ |= {"RESTIC_REPOSITORY": str(self.folder / "restic"), "RESTIC_PASSWORD": "benchmark"}
        os.environ["RESTIC_CACHE_DIR"] = str(self.folder / "restic-cache")
        return measure([str(shutil.which("restic")), "--quiet", *arguments])

    def restic_full(self) -> Sample:
        """Into an empty repository, whose making is not timed."""
        self.new("restic")
        self.new("restic-cache")
        self.restic("init")
        return self.restic("backup", str(self.files))

    def restic_restored(self) -> Sample:
        """Into an empty folder."""
        target = self.new("restic-back")
        sample = self.restic("restore", "latest", "--target", str(target))
        self._check(target / self.files.relative_to("/"))
        return sample

    def rclone(self, source: Path, target: Path) -> Sample:
        """Make a folder like another."""
        return measure([str(RIVALS / "rclone"), "sync", "--config", "/dev/null", str(source), str(target)])

    def rclone_restored(self) -> Sample:
        """Into an empty folder."""
        target = self.new("rclone-back")
        sample = self.rclone(self.folder / "rclone", target)
        self._check(target)
        return sample

    def _check(self, folder: Path) -> None:
        for path in self.files.iterdir():
            assert sha256_of_file(folder / path.name) == sha256_of_file(path), path.name

    def ways(self) -> dict[str, dict[str, Callable[[], Sample]]]:
        """Return, by part of the benchmark, who does it how."""
        found: dict[str, dict[str, Callable[[], Sample]]] = {
            "full": {"ours": self.full},
            "incremental": {"ours": partial(self.ours, "back_up", "store", "backup")},
            "restore": {"ours": self.restored},
        }
        if shutil.which("restic"):
            found["full"]["restic"] = self.restic_full
            found["incremental"]["restic"] = partial(self.restic, "backup", str(self.files))
            found["restore"]["restic"] = self.restic_restored
        else:
            print("restic is left out: it is not installed (apt-get install restic)", file=sys.stderr)
        if (RIVALS / "rclone").exists():
            found["full"]["rclone"] = lambda: self.rclone(self.files, self.new("rclone"))
            found["incremental"]["rclone"] = lambda: self.rclone(self.files, self.folder / "rclone")
            found["restore"]["rclone"] = self.rclone_restored
        else:
            print(f"rclone is left out: it is not in {RIVALS}", file=sys.stderr)
        return found


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        bed = Bed(Path(name), max(2, int(FILES * options.scale)))
        ways = bed.ways()
        samples: dict[str, dict[str, list[Sample]]] = {}
        limit = {"one stream written and synced, MiB/s": disk_limit(bed.folder)}
        shares = {}
        for pair in range(options.pairs):
            for part, way in ways.items():
                if part == "incremental":
                    bed.change(f"pair {pair}")
                for who, once in alternate(way, 1).items():
                    samples.setdefault(part, {}).setdefault(who, []).extend(once)
                if part == "incremental":
                    shares = {what: round(count / bed.bytes, 4) for what, count in bed.told[-1].items()}
    for part, found in samples.items():
        document = compare(f"B11-{part}", found, {}, limit, scale=options.scale)
        if part == "incremental":
            document |= {"shares_of_the_store": shares, "goal": {"store and backup": MOST}}
            document["met"] = options.scale >= 1 and max(shares["store"], shares["backup"]) <= MOST
        publish(document)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], *map(Path, sys.argv[3:6]))
    else:
        main()
