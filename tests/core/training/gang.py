"""Gangs of gloo ranks in processes of their own: they train a tiny model on rows in memory, with a real store."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from operators.core.finetuning.spec import TrainingSpec
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.training.spec import LoopSpec, Machine
from tests.core.training.tiny import CONFIG, WORDS

if TYPE_CHECKING:
    import torch

    from operators.core.training.loop import Loop

ROWS = 64
SECONDS = 120.0
SPEC = TrainingSpec(epochs=2, batch_size=16, max_length=32, encoder_rate=1e-3, dropout=0.0, precision="fp32")
LOSS_SCALE = 2.0**40
"""No gradient of fp16 fits under it."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """What a gang left."""

    losses: list[float]
    """Mean loss of each step."""
    weights: dict[str, torch.Tensor]
    """The whole model's, by name."""
    position: dict[str, Any]
    saved_bytes: int
    """Most that rank 0's forward passes kept for a backward pass, parameters apart."""

    def distance(self, other: Trained) -> float:
        """Return the largest difference of a step's loss."""
        return max(abs(left - right) for left, right in zip(self.losses, other.losses, strict=True))

    def is_same(self, other: Trained) -> bool:
        """Return whether all losses and weights have the same bits."""
        names = set(self.weights) | set(other.weights)
        return self.losses == other.losses and all(self.weights[n].equal(other.weights[n]) for n in names)


def loop_spec(ranks: int = 1, **changes: Any) -> LoopSpec:
    """Return the spec of a gang's loop."""
    machine = Machine(cores=2, gpus=0, precision="fp32")
    return dataclasses.replace(SPEC, ranks=ranks, **changes).resolve(machine)


def train(
    folder: Path, spec: LoopSpec, *, ranks: int | None = None, stop: int | None = None, loss_scale: float | None = None
) -> Trained:
    """Return what a gang of gloo ranks has trained in a folder, going on from the newest checkpoint there.

    Args:
        folder: Store, checkpoints and product of one training.
        spec: What to do.
        ranks: As many as the spec says if None.
        stop: Step after which every rank stops as if it were killed.
        loss_scale: To begin with, in fp16.
    """
    from safetensors.torch import load_file

    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "operators.core.training.loop", "transformers.models.bert.modeling_bert"])
    ranks = ranks or spec.ranks
    meeting = Path(tempfile.mkdtemp(dir=folder)) / "gang"
    gang = [
        context.Process(target=_rank, args=(rank, ranks, meeting, folder, spec, stop, loss_scale))
        for rank in range(ranks)
    ]
    for process in gang:
        process.start()
    for process in gang:
        process.join(SECONDS)
        process.kill()
    assert [process.exitcode for process in gang] == [0] * ranks
    document = json.loads((folder / "trained.json").read_text())
    return Trained(losses=document["position"]["losses"], weights=load_file(folder / "model.safetensors"), **document)


def _rank(
    rank: int, ranks: int, meeting: Path, folder: Path, spec: LoopSpec, stop: int | None, loss_scale: float | None
) -> None:
    import torch
    import torch.distributed as dist

    from operators.core.storage import initialise, open_store
    from operators.core.training.checkpoints import Checkpoints
    from operators.core.training.saving import Saver
    from operators.core.training.worker import _resume

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    loop = make_loop(folder, spec, rank, ranks)
    if loss_scale is not None:
        loop.scaler.load_state_dict(loop.scaler.state_dict() | {"scale": loss_scale})
    checkpoints = None
    if rank == 0:
        settings = store_settings(folder)
        if not (folder / "a").exists():
            for name in "abc":
                (folder / name).mkdir()
            initialise(settings, rounds=0)
        checkpoints = Checkpoints(open_store(settings), loop.job, folder / "checkpoint")
    saver = Saver(checkpoints) if checkpoints else None
    _resume(loop, checkpoints, folder / "checkpoint")
    _run(loop, saver, folder, stop)
    dist.barrier()
    os._exit(0)


def store_settings(folder: Path) -> StorageSettings:
    """Return the settings of the store in a training's folder."""
    return StorageSettings(endpoints=tuple(EndpointSettings(name=n, url=f"file://{folder / n}") for n in "abc"))


class _Stop(Exception):
    """The gang is to stop here."""


def _run(loop: Loop, saver: Any, folder: Path, stop: int | None) -> None:
    import torch
    from safetensors.torch import save_file

    saved: dict[str, int] = {"now": 0, "most": 0}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved["now"] += 0 if isinstance(tensor, torch.nn.Parameter) else tensor.nbytes
        saved["most"] = max(saved.values())
        return tensor

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        saved["now"] -= 0 if isinstance(tensor, torch.nn.Parameter) else tensor.nbytes
        return tensor

    def report(step: int, total: int, loss: float, speed: float) -> None:
        if step == stop:
            raise _Stop

    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            loop.run(saver, report)
    except _Stop:
        if saver is not None:
            saver.finish()
    weights = loop.weights()
    if loop.is_first:
        save_file(weights, folder / "model.safetensors")
        document = {"position": dataclasses.asdict(loop.position), "saved_bytes": saved["most"]}
        (folder / "trained.json").write_text(json.dumps(document))


def make_loop(folder: Path, spec: LoopSpec, rank: int, ranks: int) -> Loop:
    """Return one rank's loop over rows whose label tells which half of the vocabulary their words are from."""
    import torch

    from operators.core.models.encoder import build_model
    from operators.core.training.job import TrainingJob
    from operators.core.training.loader import Loader, Plan
    from operators.core.training.loop import Loop
    from operators.core.training.tokens import TokenTable, TokenTables

    own = folder / str(rank)
    own.mkdir(exist_ok=True)
    (own / "config.json").write_text(json.dumps(CONFIG))
    draw = np.random.default_rng(0)
    labels = np.arange(ROWS) % 2
    half = len(WORDS) // 2
    rows = [(4 + draw.integers(0, half, 3 + i % 20) + half * labels[i]).tolist() for i in range(ROWS)]
    tables = TokenTables(own / "tokens", lambda shard: TokenTable.of(rows, labels))

    def loader(*, is_held_out: bool) -> Loader:
        plan = Plan(
            shard_rows=(ROWS,),
            batch_size=spec.batch_size,
            batch_by=spec.batch_by,
            seed=spec.seed,
            held_out=spec.held_out,
            is_held_out=is_held_out,
        )
        return Loader(plan, tables, rank, ranks)

    job = TrainingJob(run_key="0" * 64, inputs=(), loop=spec, ranks=ranks, labels=("high", "low"), checkpoint_steps=5)
    torch.manual_seed(0)
    model = build_model(own, "text_classification", 2, dropout=spec.dropout)
    held_out = loader(is_held_out=True) if spec.held_out else None
    return Loop(job, model, loader(is_held_out=False), torch.device("cpu"), held_out)
