"""Fine-tuning by two real gloo ranks: the same weights however often killed, one trainer at a time, no process left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from safetensors.torch import load

from operators.core.errors import LossDiverged
from operators.core.finetuning.fine_tune import fine_tune
from operators.core.finetuning.spec import TrainingSpec
from operators.core.progress import Progress, no_progress
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Result, Store, initialise, open_store
from operators.core.training import job as names
from operators.core.training import ledger
from operators.core.training.job import read_record
from operators.core.training.launcher import is_running
from operators.core.training.spec import Machine
from operators.core.training.tracking import MlflowSettings, TrackingSettings, WandbSettings
from operators.core.tuning.spec import Choices, SearchSpec
from operators.core.tuning.tune import tune
from tests.core.training.test_ledger import spent
from tests.core.training.tiny import adopt_tiny, publish_tiny

pytestmark = pytest.mark.integration

SPEC = TrainingSpec(
    epochs=3, batch_size=4, max_length=32, encoder_rate=1e-3, ranks=2, precision="fp32", checkpoint_steps=25
)
# Notes in a file that it watches, and what is unpickled of more than numbers and texts in this process and its forks.
UNPICKLED = """
import sys

def note(event, what):
    if event == "pickle.find_class":
        print(*what[:2], file=open({0!r}, "a"))

sys.addaudithook(note)
if any("training.launch" in word for word in sys.orig_argv):
    print("watching", file=open({0!r}, "a"))
"""
CPU = Machine(cores=2, gpus=0, precision="fp32")
"""Also where there are GPUs: theirs are tests of their own."""


class Place:
    """A store with a base model and a data set, and a scratch folder beside it."""

    def __init__(self, folder: Path, *, poisoned: bool = False) -> None:
        for name in "abc":
            (folder / name).mkdir(parents=True)
        endpoints = tuple(EndpointSettings(name=name, url=f"file://{folder / name}") for name in "abc")
        self.settings = StorageSettings(endpoints=endpoints)
        initialise(self.settings, rounds=0)
        self.store: Store = open_store(self.settings)
        self.scratch = folder / "scratch"
        self.account: dict[str, Any] = {}
        """Of the last training."""
        self.dataset = publish_tiny(self.store)
        self.base_model = adopt_tiny(self.store, folder / "base", poisoned=poisoned)

    def fine_tune(
        self,
        progress: Progress = no_progress,
        spec: TrainingSpec = SPEC,
        machine: Machine = CPU,
        tracking: TrackingSettings | None = None,
    ) -> Result:
        """Fine-tune as the task does."""
        self.account = {}
        return fine_tune(
            self.store,
            self.settings,
            spec,
            dataset=self.dataset,
            base_model=self.base_model,
            scratch=self.scratch,
            progress=progress,
            account=self.account,
            machine=machine,
            tracking=tracking,
        )

    def fine_tune_elsewhere(self, *wrapper: str) -> subprocess.Popen[bytes]:
        """Fine-tune in another process, as a task that can be killed, or below one that waits for it."""
        code = (
            # A shell's background jobs are born deaf to it.
            "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
            "import sys; from pathlib import Path; from tests.core.finetuning.test_fine_tune import *;"
            "p = Place.__new__(Place); p.settings = StorageSettings.from_json(sys.argv[1]);"
            "p.store = open_store(p.settings); p.scratch, p.dataset, p.base_model = Path(sys.argv[2]), *sys.argv[3:5];"
            "p.fine_tune()"
        )
        arguments = [self.settings.to_json(), str(self.scratch), self.dataset, self.base_model]
        return subprocess.Popen([*wrapper, sys.executable, "-c", code, *arguments], cwd=Path(__file__).parents[3])

    def processes(self) -> list[psutil.Process]:
        """Return every process that was given this place's scratch folder."""
        return [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(str(self.scratch) in word for word in process.info["cmdline"] or ())
        ]

    def ranks(self) -> list[psutil.Process]:
        """Return the training ranks at work here: forks of a launcher."""
        launchers = {
            process.pid: process
            for process in self.processes()
            if any("training.launch" in word for word in process.info["cmdline"][:4])
        }
        return [process for process in launchers.values() if process.ppid() in launchers]


def killing_once(place: Place, killed: list[int]) -> Progress:
    """Return what kills a rank once the first checkpoint is there, and notes its process."""

    def kill_once(done: int, total: int, note: str) -> None:
        if done > 30 and not killed:
            victim = place.ranks()[-1]
            killed.append(victim.pid)
            victim.send_signal(signal.SIGKILL)

    return kill_once


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, Result]:
    """A place, and the model that was trained there without any interruption."""
    place = Place(tmp_path_factory.mktemp("uninterrupted"))
    return place, place.fine_tune()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place where nothing has been trained yet."""
    return Place(tmp_path)


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Return when the condition holds; fail when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the moment never came"
        time.sleep(0.02)


def test_a_training_leaves_nothing_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither torchrun's agent nor its ranks: what they leave is in the job's folder, and goes with it."""
    place, temporary = Place(tmp_path), tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    spec = replace(SPEC, epochs=1, ranks=1)
    place.fine_tune(spec=spec)

    assert list(temporary.iterdir()) == []
    assert list((place.scratch / "training").iterdir()) == []


def test_a_finished_model_is_found_and_not_trained_again(uninterrupted: tuple[Place, Result]) -> None:
    """The second call does no step, and the local folder of the first is gone."""
    place, first = uninterrupted
    steps: list[int] = []
    second = place.fine_tune(lambda done, total, note: steps.append(done))

    assert (second.digest, second.found, steps) == (first.digest, True, [])
    assert first.manifest.facts["world_size"] == 2
    assert first.manifest.facts["final_loss"] < 0.4
    assert not list((place.scratch / "training").iterdir())


def test_a_tracker_that_is_away_costs_a_training_nothing(uninterrupted: tuple[Place, Result], place: Place) -> None:
    """Nothing listens at its address, or the library is not even there: the same model, and no error."""
    away = TrackingSettings(mlflow=MlflowSettings(uri="http://127.0.0.1:9"))
    result = place.fine_tune(spec=SPEC, tracking=away)

    assert result.manifest.files == uninterrupted[1].manifest.files


@pytest.mark.filterwarnings("default")
def test_a_training_is_told_to_the_trackers_that_are_there(place: Place, tmp_path: Path) -> None:
    """Every step and the held-out loss, under the training's run key; in a file and a folder of this machine."""
    pytest.importorskip("mlflow", reason="needs nightshift[tracking]")
    pytest.importorskip("wandb", reason="needs nightshift[tracking]")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    tracking = TrackingSettings(
        mlflow=MlflowSettings(uri=uri), wandb=WandbSettings(mode="offline", folder=str(tmp_path))
    )
    result = place.fine_tune(spec=replace(SPEC, epochs=1, held_out=0.1), tracking=tracking)
    client = MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("nightshift").experiment_id])
    losses = client.get_metric_history(run.info.run_id, "loss")

    assert run.data.tags["nightshift.run_key"] == result.manifest.run_key
    assert [one.step for one in losses] == list(range(1, result.manifest.facts["steps"] + 1))
    assert [one.step for one in client.get_metric_history(run.info.run_id, "held_out_loss")] == [len(losses)]
    assert len(list(tmp_path.glob(f"wandb/offline-run-*/run-{result.manifest.run_key[:32]}.wandb"))) == 1


def test_a_run_whose_rank_is_killed_ends_with_the_same_model(uninterrupted: tuple[Place, Result], place: Place) -> None:
    """SIGKILL one rank past a checkpoint: the gang starts again from it, and the model is the same to the bit.

    The account adds up to the time that it took, and each gang left an event file.
    """
    killed: list[int] = []
    started = time.time()
    result = place.fine_tune(killing_once(place, killed))

    assert len(killed) == 1
    assert result.manifest.identity == uninterrupted[1].manifest.identity
    assert spent(place.account) == pytest.approx(time.time() - started, rel=0.02)
    assert place.account["energy"] == "estimated" and place.account["flops_utilisation"] > 0
    logs = [place.store.read(entry) for entry in place.store.manifest(place.account["training_log"]).files]
    assert len(logs) == 2
    assert all(log.count(tag) >= 25 for log in logs for tag in (b"loss", b"rate", b"gradient_norm", b"memory_bytes"))


def test_a_training_that_is_resumed_unpickles_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither torch's agent, which starts the gang again, nor a rank that reads a checkpoint; Python itself tells."""
    told, killed = place.scratch.with_name("told"), list[int]()
    place.scratch.with_name("sitecustomize.py").write_text(UNPICKLED.format(str(told)))
    monkeypatch.setenv("PYTHONPATH", str(place.scratch.parent))
    place.fine_tune(killing_once(place, killed))

    assert len(killed) == 1
    assert told.read_text() == "watching\n"


def test_a_retry_waits_for_the_training_of_its_killed_task(uninterrupted: tuple[Place, Result], place: Place) -> None:
    """SIGKILL the task's supervisor, and end what it left: torchrun trains on, the retry gets the same model of it.

    The retry's account begins with the killed task.
    """
    supervisor = place.fine_tune_elsewhere("sh", "-c", '"$@"; exit', "sh")
    wait_until(lambda: list(place.scratch.glob(f"training/*/{names.PROGRESS}")))
    (folder,) = place.scratch.glob("training/*")
    launcher = read_record(folder / names.LAUNCHER)
    (task,) = psutil.Process(supervisor.pid).children()
    supervisor.kill()
    supervisor.wait()
    task.send_signal(signal.SIGINT)
    psutil.wait_procs([task], timeout=60)
    is_at_it = is_running(folder) or (folder / names.DONE).exists()
    seen = [read_record(folder / names.LAUNCHER)]
    begun = read_record(folder / ledger.BEGUN)
    result = place.fine_tune(lambda *_: seen.append(read_record(folder / names.LAUNCHER)))

    assert begun is not None
    assert spent(place.account) == pytest.approx(time.time() - begun["at"], rel=0.02)
    assert is_at_it and not task.is_running()
    assert all(record == launcher for record in seen)
    assert result.manifest.identity == uninterrupted[1].manifest.identity


def test_an_ended_task_leaves_no_process_and_its_retry_resumes(
    uninterrupted: tuple[Place, Result], place: Place
) -> None:
    """What interrupts the wait has the ranks save the step they are at; the next try goes on from there."""
    rare = replace(SPEC, checkpoint_steps=1000)
    done_steps: list[int] = []

    def interrupt(done: int, total: int, note: str) -> None:
        done_steps.append(done)
        if done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.fine_tune(interrupt, spec=rare)
    left = place.processes()
    (failed,) = [read_record(path) for path in place.scratch.glob(f"training/*/{names.FAILED}")]
    again: list[int] = []
    result = place.fine_tune(lambda done, total, note: again.append(done), spec=rare)

    assert left == []
    assert failed is not None and "which is saved" in failed["message"]
    assert min(again) >= max(done_steps)
    assert result.manifest.identity == uninterrupted[1].manifest.identity


def test_a_killed_launcher_takes_its_ranks_with_it(place: Place) -> None:
    """SIGKILL torchrun itself: no rank trains on beside its successors, and the task fails."""
    task = place.fine_tune_elsewhere()
    wait_until(lambda: list(place.scratch.glob(f"training/*/{names.PROGRESS}")))
    record = read_record(next(place.scratch.glob(f"training/*/{names.LAUNCHER}")))
    assert record is not None
    os.kill(record["pid"], signal.SIGKILL)
    task.wait()

    wait_until(lambda: not place.ranks(), seconds=10.0)
    assert task.returncode != 0


def test_a_loss_that_is_no_number_stops_training_at_once(tmp_path: Path) -> None:
    """The error says which step and what to lower; no checkpoint of it is kept."""
    place = Place(tmp_path, poisoned=True)

    with pytest.raises(LossDiverged, match="step 0"):
        place.fine_tune()
    assert place.ranks() == []


def test_a_loss_that_runs_away_stops_training(place: Place) -> None:
    """Long before it is no number; a retry would only repeat it."""
    wild = replace(SPEC, optimiser="sgd", encoder_rate=1e-2, head_rate=1.0, clip_norm=1e3)

    with pytest.raises(LossDiverged, match=r"divergence_ratio=3\): lower the learning rates"):
        place.fine_tune(spec=wild)
    assert place.ranks() == []


def test_a_machine_with_fewer_devices_trains_the_same_run_key(place: Place) -> None:
    """One core for two ranks: the model says that one trained it, and with two it is found and not trained again."""
    spec = replace(SPEC, fewer_ranks=True)
    alone = place.fine_tune(spec=spec, machine=replace(CPU, cores=1))
    found = place.fine_tune(spec=spec)

    assert (alone.manifest.facts["world_sizes"], alone.manifest.spec["ranks"]) == ([1], 2)
    assert (found.digest, found.found) == (alone.digest, True)


def test_a_sharded_training_that_gets_no_better_is_told_by_its_model(place: Place) -> None:
    """Two ranks with half a model each, in bf16: the best epoch is left whole; facts say which, and what bf16 cost."""
    spec = replace(
        SPEC, fsdp_degree=2, precision="bf16", epochs=30, held_out=0.1, patience=1, schedule="constant",
        encoder_rate=5e-3,
    )  # fmt: skip
    model = place.fine_tune(spec=spec).manifest
    losses = json.loads(place.store.read(model.file("history.json")))["held_out_losses"]
    weights = load(place.store.read(model.file("model.safetensors")))
    base = load(place.store.read(place.store.manifest(place.base_model).file("model.safetensors")))
    effect = model.facts["precision_effect"]

    assert model.facts["epochs"] == len(losses) < 30
    assert model.facts["best_epoch"] == len(losses) - 1 == losses.index(min(losses)) + 1
    assert {f"encoder.{name}": tensor.shape for name, tensor in base.items()}.items() <= {
        name: tensor.shape for name, tensor in weights.items()
    }.items()
    assert set(effect) == {"bf16", "fp32"} and 0 < abs(effect["bf16"] - effect["fp32"]) < 0.05


def test_a_search_hands_on_a_model_that_is_not_trained_again(place: Place) -> None:
    """Real trials with real early ends: the best one's model is what the training after it finds."""

    def train(fields: Mapping[str, Any], progress: Progress) -> Result:
        return place.fine_tune(progress, replace(spec, **fields))

    spec = replace(SPEC, ranks=1, epochs=4, checkpoint_steps=1000)
    space = (Choices("encoder_rate", (1e-3, 3e-4, 1e-4, 3e-5, 1e-6)),)
    search = tune(
        place.store,
        SearchSpec(space=space, trials=5, method="grid"),
        dataset=place.dataset,
        base_model=place.base_model,
        training={},
        train=train,
        progress=no_progress,
    )
    trials = json.loads(place.store.read(search.manifest.file("trials.json")))
    final = train(search.manifest.facts["training"], no_progress)

    assert final.found and final.digest in [trial["model"] for trial in trials]
    assert search.manifest.facts["training"]["encoder_rate"] == 1e-3
    assert [trial["is_pruned"] for trial in trials] == [False] * 4 + [True]
    assert [len(trial["losses"]) for trial in trials] == [spec.epochs] * 4 + [1]
