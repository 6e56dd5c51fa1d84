"""A loss, made on purpose: Airflow's database, days of data on every endpoint, and the released model everywhere.

Only `make dr-demo` does this. What is to go is put down first: what was lost can be told from what came back.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from operators.core.deployment.releases import ReleaseLine
from operators.core.manifest import Manifest
from operators.core.storage import Store
from operators.core.storage.endpoint import Endpoint
from operators.core.storage.graph import closure, objects, sources
from operators.core.storage.listing import keys_below
from operators.core.storage.objects import object_key
from operators.core.storage.records import Member
from operators.local.layout import Layout, PlatformError, write_private

DAYS = 2
_DATA = ("ingest_file", "publish_dataset")
"""Stages whose files hold rows: a day's part, and the data set of the window with that day in it."""
_MODEL = ("fine_tune", "compress", "release")


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """What is lost."""

    version: str
    """Of the released model."""
    days: tuple[str, ...]
    data: tuple[str, ...]
    """Objects that hold these days' rows, by stored digest."""
    data_bytes: int
    model: tuple[str, ...]
    """Objects of the released model, by stored digest."""
    model_bytes: int
    manifests: tuple[str, ...]
    """Of both."""
    database_bytes: int
    dag_runs: int

    @property
    def objects(self) -> tuple[str, ...]:
        """Every object, by stored digest."""
        return tuple(dict.fromkeys(self.data + self.model))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Loss:
        """Read what `asdict` gives, by way of JSON."""
        lists = {name: tuple(document[name]) for name in ("days", "data", "model", "manifests")}
        return cls(**{**document, **lists})


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is to be lost, put down before it is; there while something of it may be missing."""

    loss: Loss
    answers: list[list[str]]
    """Text and label, as the released model answered before."""

    def save(self, layout: Layout) -> None:
        """Put it down."""
        write_private(_record_file(layout), json.dumps({"loss": asdict(self.loss), "answers": self.answers}))

    def drop(self, layout: Layout) -> None:
        """Forget it: everything is back."""
        _record_file(layout).unlink()

    @classmethod
    def load(cls, layout: Layout) -> Record | None:
        """Return it, None where nothing was lost."""
        path = _record_file(layout)
        if not path.exists():
            return None
        document = json.loads(path.read_text())
        return cls(loss=Loss.from_json(document["loss"]), answers=document["answers"])


def plan_loss(store: Store, layout: Layout, recipe: str) -> Loss:
    """Return what is to be lost: the newest days of data that the live release was made of, and that release.

    Raises:
        PlatformError: Nothing is live.
    """
    live = ReleaseLine(store, recipe).live
    if live is None:
        raise PlatformError(f"nothing of {recipe} is live: run the main job first (`make run`)")
    manifests = closure(store, [live.digest], follow=sources)
    days = sorted({_day(one) for one in manifests.values() if one.stage == "ingest_file"})[-DAYS:]
    data = {
        digest: one
        for digest, one in manifests.items()
        if one.stage == "publish_dataset" or (one.stage == "ingest_file" and _day(one) in days)
    }
    model = {digest: one for digest, one in manifests.items() if one.stage in _MODEL}
    return Loss(
        version=live.version,
        days=tuple(days),
        data=tuple(objects(data)),
        data_bytes=_bytes(data),
        model=tuple(objects(model)),
        model_bytes=_bytes(model),
        manifests=(*data, *model),
        database_bytes=sum(path.stat().st_size for path in _database(layout)),
        dag_runs=count_dag_runs(layout.airflow_database),
    )


def lose_objects(store: Store, loss: Loss) -> None:
    """Have none of the objects and manifests on any endpoint, nor the keys that open them."""
    gone = set(loss.objects)
    wrapped = [key for key in keys_below(store.membership, store.record, "key/") if key.rpartition("/")[2] in gone]
    keys = [object_key("obj", digest) for digest in loss.objects]
    keys += [object_key("man", digest) for digest in loss.manifests]

    def delete(endpoint: Endpoint, line: Member) -> None:
        for key in (*keys, *wrapped):
            endpoint.delete(f"{line.incarnation}/{key}")

    answers = store.membership.ask_counted(store.record, delete)
    if len(answers) < len(store.record.members):
        raise PlatformError(f"only {len(answers)} endpoints answer: bring all up first, the demo loses from every one")


def lose_local(layout: Layout) -> None:
    """Have no Airflow database, no model server's copies and no cache; nobody may have them open."""
    for path in _database(layout):
        path.unlink()
    for folder in (layout.cache, *layout.servers.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)


def count_copies(store: Store, loss: Loss) -> int:
    """Return how many copies of the loss's objects all endpoints together list."""

    def count(endpoint: Endpoint, line: Member) -> int:
        keys = (object_key("obj", digest) for digest in loss.objects)
        return sum(endpoint.size(f"{line.incarnation}/{key}") is not None for key in keys)

    return sum(store.membership.ask_counted(store.record, count).values())


def count_dag_runs(database: Path) -> int:
    """Return how many runs Airflow's database knows; 0 where there is none."""
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database)) as connection:
        return int(connection.execute("SELECT count(*) FROM dag_run").fetchone()[0])


def _record_file(layout: Layout) -> Path:
    return layout.run / "dr-demo.json"


def _database(layout: Layout) -> list[Path]:
    return sorted(layout.airflow_database.parent.glob(f"{layout.airflow_database.name}*"))


def _day(manifest: Manifest) -> str:
    return str(manifest.spec["day"])


def _bytes(manifests: Mapping[str, Manifest]) -> int:
    return sum(entry.stored_bytes for entry in objects(manifests).values())
