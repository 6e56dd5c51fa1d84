"""Gangs of gloo ranks in processes of their own: they train a tiny model on rows in memory, with a real store."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from operators.core.finetuning.spec import TrainingSpec
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Loader, Plan
from operators.core.training.spec import LoopSpec, Machine
from operators.core.training.tokens import TokenTable, TokenTables
from tests.core.training.tiny import CONFIG, DECODER, WORDS
from tests.encryption import ENCRYPTION

if TYPE_CHECKING:
    import torch

    from operators.core.storage import Store
    from operators.core.training.checkpoints import Checkpoints
    from operators.core.training.loader import Asker
    from operators.core.training.loop import Loop
    from operators.core.training.putting import Putter
    from operators.core.training.saving import Saver

ROWS, MILLION = 64, 1_000_000
SECONDS = 120.0
SPEC = TrainingSpec(epochs=2, batch_size=16, max_length=32, encoder_rate=1e-3, dropout=0.0, precision="fp32")
Make = Callable[..., "Loop"]
LIBRARY = ("bert.modeling_bert", "llama.modeling_llama")
"""What the models are made of."""
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
    watch: dict[str, float]
    """What was seen of the loss's level."""
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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """When rank 0 is killed."""

    step: int
    """Not before it."""
    at: Literal["step", "write", "written"] = "step"
    """After that very step, while a checkpoint is half written (its files in the store, its entry not appended), or
    when one is there."""


def train(
    folder: Path,
    spec: LoopSpec,
    *,
    ranks: int | None = None,
    loss_scale: float | None = None,
    make: Make | None = None,
    restarts: int = 0,
    seconds: float = SECONDS,
) -> Trained:
    """Return what a gang of gloo ranks has trained in a folder, going on from the newest checkpoint there.

    Args:
        folder: Store, checkpoints and product of one training.
        spec: What to do.
        ranks: As many as the spec says if None.
        loss_scale: To begin with, in fp16.
        make: Makes a rank's loop, given folder, spec, rank and ranks.
        restarts: How often the gang fails before it ends well.
        seconds: The most it may take.
    """
    for number in range(restarts + 1):
        exits = _start(folder, spec, ranks or spec.ranks, None, loss_scale, make or make_loop, seconds)
        assert set(exits) == {0} if number == restarts else exits[0] == 1
    return _read(folder)


def train_until_killed(
    folder: Path,
    spec: LoopSpec,
    kill: Kill,
    *,
    ranks: int | None = None,
    loss_scale: float | None = None,
    make: Make | None = None,
) -> None:
    """Have a gang train as `train` does until SIGKILL meets rank 0 and ends it."""
    exits = _start(folder, spec, ranks or spec.ranks, kill, loss_scale, make or make_loop)
    assert exits[0] == -signal.SIGKILL, "the training ended before the kill"


def _start(
    folder: Path,
    spec: LoopSpec,
    ranks: int,
    kill: Kill | None,
    loss_scale: float | None,
    make: Make,
    seconds: float = SECONDS,
) -> list[int | None]:
    """Return how each rank of a gang ended."""
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("forkserver")
    libraries = (f"transformers.models.{name}" for name in LIBRARY)
    context.set_forkserver_preload([__name__, "operators.core.training.loop", "peft", *libraries])
    meeting = Path(tempfile.mkdtemp(dir=folder)) / "gang"
    gang = [
        context.Process(target=_rank, args=(rank, ranks, meeting, folder, spec, kill, loss_scale, make))
        for rank in range(ranks)
    ]
    for process in gang:
        process.start()
    gang[0].join(seconds)
    for process in gang:
        # The others of a killed gang wait for ever.
        process.join(0 if gang[0].exitcode else SECONDS)
        process.kill()
    return [process.exitcode for process in gang]


def _read(folder: Path) -> Trained:
    from safetensors.torch import load_file

    document = json.loads((folder / "trained.json").read_text())
    return Trained(losses=document["position"]["losses"], weights=load_file(folder / "model.safetensors"), **document)


def _rank(
    rank: int,
    ranks: int,
    meeting: Path,
    folder: Path,
    spec: LoopSpec,
    kill: Kill | None,
    loss_scale: float | None,
    make: Make,
) -> None:
    import torch
    import torch.distributed as dist

    from operators.core.errors import CheckpointDoubted
    from operators.core.storage import open_store
    from operators.core.training.checkpoints import Parts
    from operators.core.training.putting import Putter
    from operators.core.training.saving import Saver
    from operators.core.training.worker import _resume

    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=ranks)
    loop = make(folder, spec, rank, ranks)
    if loss_scale is not None:
        loop.scaler.load_state_dict(loop.scaler.state_dict() | {"scale": loss_scale})
    if rank == 0:
        _make_store(folder)
    dist.barrier()
    putter = Putter(store_settings(folder), folder)
    store = open_store(store_settings(folder))
    checkpoints = _checkpoints(store, loop, folder, putter, kill) if rank == 0 else None
    saver = Saver(checkpoints.publish if checkpoints else Parts(putter.put, folder / "checkpoint", rank).publish)
    _resume(loop, checkpoints, folder / "checkpoint")
    try:
        _run(loop, saver, folder, kill)
    except CheckpointDoubted:
        if checkpoints:
            checkpoints.doubt()
        raise
    dist.barrier()
    os._exit(0)


def store_settings(folder: Path) -> StorageSettings:
    endpoints = tuple(EndpointSettings(name=name, url=f"file://{folder / name}") for name in "abc")
    return StorageSettings(endpoints=endpoints, encryption=ENCRYPTION)


def _make_store(folder: Path) -> None:
    from operators.core.storage import initialise

    if not (folder / "a").exists():
        for name in "abc":
            (folder / name).mkdir()
        initialise(store_settings(folder), rounds=0)


def _checkpoints(store: Store, loop: Loop, folder: Path, putter: Putter, kill: Kill | None) -> Checkpoints:
    from operators.core.training.checkpoints import Checkpoints

    class Killed(Checkpoints):
        def _append(self, digest: str) -> None:
            self._die("write")
            super()._append(digest)
            self._die("written")

        def _die(self, moment: str) -> None:
            if kill is not None and kill.at == moment and loop.position.step >= kill.step:
                os.kill(os.getpid(), signal.SIGKILL)

    return Killed(store, loop.job, folder / "checkpoint", putter.put)


def _run(loop: Loop, saver: Saver, folder: Path, kill: Kill | None) -> None:
    import torch
    from safetensors.torch import save_file

    kept = most = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept, most
        kept += _kept_bytes(tensor)
        most = max(most, kept)
        return tensor

    def unpack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept -= _kept_bytes(tensor)
        return tensor

    def report(step: int, total: int, loss: float, speed: float) -> None:
        if kill is not None and kill.at == "step" and loop.is_first and step == kill.step:
            os.kill(os.getpid(), signal.SIGKILL)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        loop.run(saver, report, lambda: False)
    weights = loop.weights()
    if loop.is_first:
        save_file(weights, folder / "model.safetensors")
        document = {
            "position": dataclasses.asdict(loop.position),
            "watch": dataclasses.asdict(loop.watch),
            "saved_bytes": most,
        }
        (folder / "trained.json").write_text(json.dumps(document))


def _kept_bytes(tensor: torch.Tensor) -> int:
    """Return what a tensor kept for the backward pass takes; parameters are there anyway."""
    import torch

    return 0 if isinstance(tensor, torch.nn.Parameter) else tensor.nbytes


def make_bags(folder: Path, spec: LoopSpec, rank: int, ranks: int) -> Loop:
    """Return one rank's loop of a bag of words over a million rows of two tokens."""
    import torch

    from operators.core.models.encoder import MeanPoolClassifier
    from operators.core.training.loop import Loop

    class Bag(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(64, 8)

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            return SimpleNamespace(last_hidden_state=self.table(input_ids))

    draw = np.random.default_rng(0)
    tokens = draw.integers(0, 64, 2 * MILLION).astype(np.int32)
    labels = (tokens[::2] > 20).astype(np.int64)
    tables = TokenTables(folder / f"bags-{rank}", lambda shard: TokenTable(tokens, 2 * np.arange(MILLION + 1), labels))
    torch.manual_seed(0)
    model = MeanPoolClassifier(Bag(), torch.nn.Linear(8, 2))
    return Loop(_job(spec, ranks), model, _loader(spec, MILLION, tables, rank, ranks), torch.device("cpu"))


def make_loop(folder: Path, spec: LoopSpec, rank: int, ranks: int) -> Loop:
    """Return one rank's loop over rows whose label tells which half of the vocabulary their words are from."""
    import torch

    from operators.core.models.encoder import build_model
    from operators.core.training.loop import Loop

    own = folder / str(rank)
    own.mkdir(exist_ok=True)
    (own / "config.json").write_text(json.dumps(CONFIG))
    draw = np.random.default_rng(0)
    labels = np.arange(ROWS) % 2
    half = len(WORDS) // 2
    rows = [(4 + draw.integers(0, half, 3 + i % 20) + half * labels[i]).tolist() for i in range(ROWS)]
    tables = TokenTables(own / "tokens", lambda shard: TokenTable.of(rows, labels))

    torch.manual_seed(0)
    model = build_model(own, "text_classification", 2, dropout=spec.dropout)
    loader = _loader(spec, ROWS, tables, rank, ranks)
    held_out = _loader(spec, ROWS, tables, rank, ranks, is_held_out=True) if spec.held_out else None
    return Loop(_job(spec, ranks), model, loader, torch.device("cpu"), held_out)


def make_masked(folder: Path, spec: LoopSpec, rank: int, ranks: int) -> Loop:
    """Return one rank's loop of a masked language model over rows of words that follow each other in order."""
    import torch

    from operators.core.models.language import build_language_model
    from operators.core.training.loop import Loop
    from operators.core.training.masking import Masker

    own = folder / str(rank)
    own.mkdir(exist_ok=True)
    vocabulary = CONFIG["vocab_size"]
    (own / "config.json").write_text(json.dumps(CONFIG))
    rows = [[2, *(4 + (i * 7 + np.arange(3 + i % 20)) % len(WORDS)).tolist(), 3] for i in range(ROWS)]
    tables = TokenTables(own / "tokens", lambda shard: TokenTable.of(rows, np.zeros(ROWS, np.int64)))
    ask = Masker(1, vocabulary, share=spec.masked_share, seed=spec.seed)

    torch.manual_seed(0)
    model = build_language_model(own, dropout=spec.dropout)
    loaders = [_loader(spec, ROWS, tables, rank, ranks, is_held_out=is_out, ask=ask) for is_out in (False, True)]
    return Loop(_job(spec, ranks), model, loaders[0], torch.device("cpu"), loaders[1])


def make_causal(folder: Path, spec: LoopSpec, rank: int, ranks: int) -> Loop:
    """Return one rank's loop of a causal language model over rows that count on from where they begin."""
    import torch

    from operators.core.models.causal import build_causal_model
    from operators.core.training.loop import Loop
    from operators.core.training.next_tokens import NextTokens

    own = folder / str(rank)
    own.mkdir(exist_ok=True)
    (own / "config.json").write_text(json.dumps(DECODER))
    rows = [[*((i * 7 + np.arange(3 + i % 20)) % 60).tolist(), 256] for i in range(ROWS)]
    firsts = np.arange(ROWS) % 3 + 1
    tables = TokenTables(own / "tokens", lambda shard: TokenTable.of(rows, firsts))

    torch.manual_seed(0)
    model = build_causal_model(own)
    loaders = [
        _loader(spec, ROWS, tables, rank, ranks, is_held_out=is_out, ask=NextTokens()) for is_out in (False, True)
    ]
    return Loop(_job(spec, ranks), model, loaders[0], torch.device("cpu"), loaders[1])


def _job(spec: LoopSpec, ranks: int) -> TrainingJob:
    labels = ("high", "low")
    return TrainingJob(run_key="0" * 64, inputs=(), loop=spec, ranks=ranks, labels=labels, checkpoint_steps=5)


def _loader(
    spec: LoopSpec,
    rows: int,
    tables: TokenTables,
    rank: int,
    ranks: int,
    *,
    is_held_out: bool = False,
    ask: Asker | None = None,
) -> Loader:
    plan = Plan(
        shard_rows=(rows,),
        batch_size=spec.batch_size,
        batch_by=spec.batch_by,
        seed=spec.seed,
        held_out=spec.held_out,
        is_held_out=is_held_out,
    )
    return Loader(plan, tables, rank, ranks, ask=ask)
