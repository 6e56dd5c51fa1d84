"""A small main job's worth of manifests, and a backup store of one directory."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.core.manifest import Made, StageCall
from operators.core.recovery.back_up_platform import PlatformBackup, Surroundings, back_up_platform
from operators.core.settings import EncryptionSettings, EndpointSettings, StorageSettings
from operators.core.signing import Signer
from operators.core.storage import Store, initialise, open_store
from tests.encryption import ENCRYPTION

SIGNER = Signer(b"\7" * 32)
ONE = StorageSettings(endpoints=(EndpointSettings(name="e0", url="file:///e0"),), acknowledge=1, encryption=ENCRYPTION)
Save = Callable[..., PlatformBackup]


def new_store(folder: Path, count: int, acknowledge: int, encryption: EncryptionSettings | None = None) -> Store:
    """Return an empty store in directories below a folder."""
    endpoints = []
    for number in range(count):
        (folder / f"e{number}").mkdir(parents=True)
        endpoints.append(EndpointSettings(name=f"e{number}", url=f"file://{folder / f'e{number}'}"))
    settings = StorageSettings(endpoints=tuple(endpoints), acknowledge=acknowledge, encryption=encryption)
    initialise(settings, rounds=0)
    return open_store(settings)


def append(store: Store, stream: str, digest: str) -> None:
    """Add a manifest to a stream."""
    store.stream(stream).append(digest, store.stream(stream).head())


def make_release(store: Store, day: str, content: bytes, recipe: str = "mail") -> str:
    """Make a data set, a model and a release of one day; return the release's digest."""

    def stage(name: str, *inputs: tuple[str, str], files: dict[str, bytes] | None = None) -> str:
        call = StageCall(
            stage=name,
            revision=1,
            inputs=tuple(store.as_input(role, digest) for role, digest in inputs),
            spec={"day": day, "content": content.hex()},
        )
        put = tuple(store.put_bytes(path, data) for path, data in (files or {}).items())
        return store.once(call, lambda: Made(files=put, facts={"recipe": recipe, "day": day})).digest

    part = stage("ingest_file", files={"part.parquet": b"part of " + content})
    data = stage("publish_dataset", ("part", part), files={"train/0.parquet": content, "test/0.parquet": b"same test"})
    model = stage("fine_tune", ("dataset", data), files={"model.safetensors": b"weights " + content})
    verdict = stage("gate", ("model", model))
    release = stage("release", ("model", model), ("verdict", verdict))
    append(store, f"dataset-{recipe}", data)
    append(store, f"release-{recipe}", release)
    return release


@pytest.fixture
def backup(tmp_path: Path) -> Store:
    """An empty backup store: one endpoint, acknowledged by one."""
    return new_store(tmp_path / "backup", 1, 1)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A SQLite database in the mode in which others may write to it."""
    path = tmp_path / "airflow.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE dag_run (run_id TEXT)")
        connection.execute("INSERT INTO dag_run VALUES ('manual__1')")
    connection.close()
    return path


@pytest.fixture
def save(store: Store, backup: Store) -> Save:
    """Back the platform up now, with what is given beside the store."""

    def call(**around: object) -> PlatformBackup:
        return back_up_platform(store, backup, Surroundings(store=ONE, **around), signer=SIGNER)  # type: ignore[arg-type]

    return call
