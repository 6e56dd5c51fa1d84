"""The loss that the demo makes takes what it names from every endpoint, and no more."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from operators.core.errors import AllCopiesDamaged
from operators.core.manifest import Made, StageCall
from operators.core.recovery.restore_platform import restore_platform
from operators.core.storage import Store
from operators.local.dr_demo import main
from operators.local.layout import HOME_VARIABLE, Layout, PlatformError
from operators.local.losing import Loss, Record, count_copies, lose_local, lose_objects, plan_loss
from tests.core.recovery.conftest import Save, append
from tests.core.recovery.conftest import backup as backup
from tests.core.recovery.conftest import save as save
from tests.core.recovery.test_platform_restore import state_of


@pytest.fixture
def layout(short_path: Path) -> Layout:
    """A platform's folder with a database of two runs, a server's copy and a cache."""
    layout = Layout(home=short_path / "h")
    layout.make()
    with closing(sqlite3.connect(layout.airflow_database)) as connection, connection:
        connection.executescript("CREATE TABLE dag_run (run_id); INSERT INTO dag_run VALUES ('a'), ('b')")
    for folder in (layout.cache, layout.servers / "server-1"):
        folder.mkdir()
        (folder / "kept").write_bytes(b"kept")
    return layout


def go_live(store: Store) -> None:
    """Have a release of three days' data live."""

    def stage(name: str, *inputs: tuple[str, str], data: bytes = b"", spec: str = "") -> str:
        call = StageCall(
            stage=name, revision=1, inputs=tuple(store.as_input(*each) for each in inputs), spec={"day": spec}
        )
        files = (store.put_bytes("file", data),) if data else ()
        facts = {"recipe": "mail", "day": "2002-09-03", "version": "2002-09-03-1"}
        return store.once(call, lambda: Made(files=files, facts=facts)).digest

    parts = [stage("ingest_file", data=f"rows of {day}".encode(), spec=f"2002-09-0{day}") for day in (1, 2, 3)]
    dataset = stage("publish_dataset", *(("part", part) for part in parts), data=b"all rows")
    model = stage("fine_tune", ("dataset", dataset), data=b"weights")
    smaller = stage("compress", ("model", model), data=b"fewer weights")
    append(store, "release-mail", stage("release", ("model", smaller)))


def test_two_days_and_the_model_are_gone_from_every_endpoint_and_come_back(
    store: Store, backup: Store, save: Save, layout: Layout
) -> None:
    """The third day stays readable; a restore brings back the very store of before."""
    go_live(store)
    before, saved = state_of(store), save()
    loss = plan_loss(store, layout, "mail")

    assert (loss.days, len(loss.data), len(loss.model), loss.dag_runs) == (("2002-09-02", "2002-09-03"), 3, 2, 2)
    assert count_copies(store, loss) == 15
    lose_objects(store, loss)
    assert count_copies(store, loss) == 0
    with pytest.raises(AllCopiesDamaged):
        state_of(store)
    done = restore_platform(backup, store, saved.digest)
    assert state_of(store)["manifests"].items() >= before["manifests"].items()
    assert done.written == len(loss.objects) + len(loss.manifests)


def test_what_lies_beside_the_store_goes_too(layout: Layout) -> None:
    """The database with its journal, the servers' copies and the cache; secrets and folders stay."""
    layout.airflow_database.with_name("airflow.db-wal").write_bytes(b"journal")
    lose_local(layout)

    assert list(layout.airflow.glob("airflow.db*")) == [] and not layout.cache.exists()
    assert list(layout.servers.iterdir()) == [] and layout.secrets.is_dir()


def test_nothing_live_is_nothing_to_lose(store: Store, layout: Layout) -> None:
    """It says what to do."""
    with pytest.raises(PlatformError, match="run the main job first"):
        plan_loss(store, layout, "mail")


def test_what_is_to_go_is_put_down_first(layout: Layout) -> None:
    """So that an interrupted demo knows, and one that ended leaves nothing."""
    loss = Loss(
        version="1", days=("a",), data=("b",), data_bytes=1, model=(), model_bytes=0, manifests=("c",),
        database_bytes=2, dag_runs=3,
    )  # fmt: skip
    record = Record(loss=loss, answers=[["text", "ham"]])
    record.save(layout)

    assert Record.load(layout) == record
    record.drop(layout)
    assert Record.load(layout) is None


@pytest.mark.parametrize("arguments", [[], ["--own-platform"], ["--own-platform", "--yes"]])
def test_nothing_is_lost_that_nobody_agreed_to(
    arguments: list[str], layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where nobody can be asked it ends; `--yes` says nothing about a platform that is somebody's own."""
    monkeypatch.setenv(HOME_VARIABLE, str(layout.home))

    assert main(arguments) == 2
    assert "nobody is there to type" in capsys.readouterr().out
    assert layout.airflow_database.exists() and not layout.demo.home.exists()
