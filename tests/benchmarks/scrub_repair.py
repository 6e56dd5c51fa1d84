"""B9: verification against `sha256sum`, repair against `cp`, and the head of a long stream against that of a short one.

A store in two directories, 1 GiB on each in files of 16 MiB, read from memory as far as the machine keeps it there. Ten
copies have a byte changed and one is deleted: all must be found, and mended bit for bit, or nothing is printed.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from operators.core.manifest import Made, Manifest, StageCall, sha256_of_file
from operators.core.settings import STORAGE_VARIABLE, EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store
from operators.core.storage.objects import object_key
from operators.core.storage.scrub import PARTS, scrub
from operators.core.storage.slots import put_once
from tests.benchmarks.timing import Sample, alternate, compare, disk_limit, measure, parse, publish

FILES, FILE_BYTES = 64, 16 << 20
DAMAGED = 10
GENERATIONS = 100_000
SITES = ("site_a", "site_b")


def verify_child() -> None:
    """Read and hash all of the store of the environment; the other end of `Bed.verify`."""
    store = open_store(StorageSettings.from_environment(os.environ))
    scrub(store.membership, parts=range(PARTS), repair=False)
    store.close()


class Bed:
    """A store in two directories, full of files."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder = folder
        for name in SITES:
            (folder / name).mkdir()
        endpoints = tuple(EndpointSettings(name=name, url=f"file://{folder / name}") for name in SITES)
        self.settings = StorageSettings(endpoints=endpoints, acknowledge=2)
        initialise(self.settings, rounds=0)
        os.environ[STORAGE_VARIABLE] = self.settings.to_json()
        store, draw = open_store(self.settings), random.Random(9)
        self.digests = [store.put_bytes("a", draw.randbytes(FILE_BYTES)).stored_sha256 for _ in range(number)]
        self.lines = {line.name: line.incarnation for line in store.record.members}
        store.close()

    def copy_of(self, digest: str, name: str) -> Path:
        """Return where an endpoint holds an object."""
        return self.folder / name / self.lines[name] / object_key("obj", digest)

    def verify(self) -> Sample:
        """Read and hash every copy of both endpoints, in a process of its own."""
        return measure([sys.executable, "-m", "tests.benchmarks.scrub_repair", "--child"])

    def sha256sum(self) -> Sample:
        """Hash the same files with coreutils, one after the other."""
        paths = [str(self.copy_of(digest, name)) for name in SITES for digest in self.digests]
        return measure(["sha256sum", *paths])

    def lose_half(self) -> None:
        """Delete half of one endpoint's copies."""
        for digest in self.digests[::2]:
            self.copy_of(digest, "site_b").unlink(missing_ok=True)

    def repair(self) -> Sample:
        """Mend what `lose_half` took: looking for it by a light scrub is part of it."""
        self.lose_half()
        store = open_store(self.settings)
        started, cpu = time.perf_counter(), time.process_time()
        done = scrub(store.membership)
        sample = _sample(started, cpu)
        store.close()
        assert done.repaired == len(self.digests[::2]), done
        return sample

    def cp(self) -> Sample:
        """Copy the same files and sync them, with coreutils."""
        target = self.folder / "copied"
        target.mkdir()
        paths = [str(self.copy_of(digest, "site_a")) for digest in self.digests[::2]]
        sample = measure(["sh", "-c", 'cp "$@" && sync -f "$1"', "cp", *paths, str(target)])
        shutil.rmtree(target)
        return sample

    def find_damage(self) -> None:
        """Change a byte of ten copies, delete one, and have all found and mended, bit for bit."""
        draw = random.Random(10)
        victims = [
            (digest, draw.choice(SITES)) for digest in draw.sample(self.digests, min(DAMAGED + 1, len(self.digests)))
        ]
        for digest, name in victims[:-1]:
            with self.copy_of(digest, name).open("r+b") as handle:
                handle.seek(draw.randrange(FILE_BYTES))
                byte = handle.read(1)
                handle.seek(-1, os.SEEK_CUR)
                handle.write(bytes((byte[0] ^ 1,)))
        self.copy_of(*victims[-1]).unlink()
        store = open_store(self.settings)
        found = scrub(store.membership, parts=range(PARTS))
        store.close()
        assert found.repaired == len(victims), found
        assert all(sha256_of_file(self.copy_of(digest, name)) == digest for digest, name in victims)


def find_head(store: Store, generations: int, folder: Path) -> list[Sample]:
    """Find the head of a stream of so many entries five times; all but the last are laid as files."""
    name = f"long-{generations}"
    stream = store.stream(name)
    digest = store.put_manifest(Manifest.of(StageCall(stage="benchmark", revision=1), Made()))
    stream.append(digest, None)
    first, last = f"{0:020d}", f"{store.record.term:012d}"
    for line in store.record.members:
        top = folder / line.name / line.incarnation / "log" / name
        document = (top / first / last).read_bytes()
        for generation in range(1, generations - 1):
            # The head is found by names alone; only the last entries are read.
            (top / f"{generation:020d}").mkdir()
            (top / f"{generation:020d}" / last).write_bytes(document)
    put_once(store.membership, f"log/{name}/{generations - 1:020d}", document.split(b"\n")[0])
    # A directory's names are remembered once its time stamp is old enough to show the next change.
    time.sleep(3)
    store.stream(name).head()
    samples = []
    for _ in range(5):
        started, cpu = time.perf_counter(), time.process_time()
        head = store.stream(name).head()
        samples.append(_sample(started, cpu))
        assert head is not None
        assert head.generation == generations - 1
    return samples


def _sample(started: float, cpu: float) -> Sample:
    """Return what was spent since then, in this process."""
    return Sample(wall_seconds=time.perf_counter() - started, cpu_seconds=time.process_time() - cpu, peak_mebibytes=0.0)


def main() -> None:
    """Measure and print."""
    options = parse(__doc__)
    with tempfile.TemporaryDirectory(prefix="ns-bench-") as name:
        folder = Path(name)
        bed = Bed(folder, max(DAMAGED + 1, int(FILES * options.scale)))
        limit = {"one stream written and synced, MiB/s": disk_limit(folder)}
        verified = alternate({"ours": bed.verify, "sha256sum": bed.sha256sum}, options.pairs)
        repaired = alternate({"ours": bed.repair, "cp": bed.cp}, options.pairs)
        bed.find_damage()
        publish(compare("B9-verify", verified, {"sha256sum": 1 / 1.8}, limit, scale=options.scale))
        publish(compare("B9-repair", repaired, {"cp": 2.0}, limit, scale=options.scale))
        store = open_store(bed.settings)
        heads = {
            way: find_head(store, count, folder)
            for way, count in {"ours": int(GENERATIONS * options.scale), "of 100 entries": 100}.items()
        }
        store.close()
        publish(compare("B9-head", heads, {"of 100 entries": 2.0}, limit, scale=options.scale))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        verify_child()
    else:
        main()
