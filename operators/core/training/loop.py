"""The training loop of one rank: forward, backward, all-reduce, step; the same bits whether interrupted or not."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from operators.core.errors import LossDiverged
from operators.core.models.encoder import EncoderModel
from operators.core.training.adapters import choose_trained
from operators.core.training.checking import check_step
from operators.core.training.checkpoints import read_position
from operators.core.training.flops import Work
from operators.core.training.job import TrainingJob
from operators.core.training.ledger import Ledger
from operators.core.training.loader import Batch, Loader
from operators.core.training.losses import loss_of, mean_loss
from operators.core.training.mesh import HALF, clip, gradients, prepare, spread
from operators.core.training.optimisation import make_optimiser, rate_factor, set_rates
from operators.core.training.parts import StoredState, Tensors, take_part
from operators.core.training.pieces import pieces
from operators.core.training.saving import Saver
from operators.core.training.state import Position, copy_best, generator, room_for, set_generator, state_of, whole
from operators.core.training.stopping import LossWatch, is_behind, is_stale

Report = Callable[[int, int, float, float], None]
"""(step, total_steps, loss, examples_per_second)."""


class Loop:
    """One rank's view of a training job; `examples` and `seconds` count what this process itself has trained."""

    def __init__(
        self,
        job: TrainingJob,
        model: EncoderModel,
        loader: Loader,
        device: torch.device,
        held_out: Loader | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.job, self.spec, self.loader, self.held_out, self.device = job, job.loop, loader, held_out, device
        self.steps_per_epoch = loader.steps_per_epoch
        self.total_steps = self.steps_per_epoch * self.spec.epochs
        self.model = prepare(model.to(device).train(), self.spec)
        self.rank_budget = choose_trained(self.model, self.spec, self.total_steps)
        self.ledger = ledger or Ledger()
        self.work = Work.of(self.model)
        self.parallel = spread(self.model, self.spec, device)
        self.optimiser = make_optimiser(self.model, self.spec)
        self._half = HALF.get(self.spec.precision)
        # Without fp16 it does nothing.
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.spec.precision == "fp16")
        self.is_first = dist.get_rank() == 0
        self.position = Position(world_sizes=[dist.get_world_size()])
        self._best: Tensors = {}
        self.watch = LossWatch(self.spec.divergence_ratio)
        self._saved = 0
        self.examples, self.seconds, self.norm = 0, 0.0, 0.0
        torch.manual_seed(self.spec.seed * 100_003 + dist.get_rank())

    def resume(self, folder: Path) -> None:
        """Put this rank where the checkpoint in a folder says; it reads its share of the state alone."""
        stored, mine = StoredState(folder), f"generator.{dist.get_rank()}"
        room = room_for(stored.tensors, self.model, self.optimiser)
        # A rank that was not there draws on from its seed.
        if mine in stored.tensors:
            room[mine] = generator(self.device)
        stored.fill(room)
        if mine in room:
            set_generator(room[mine], self.device)
        self._best = {name: tensor for name, tensor in room.items() if name.startswith("best.")}
        self.position = read_position(folder)
        if self.position.world_sizes[-1:] != [dist.get_world_size()]:
            # With other ranks' random numbers the next step loses something else.
            self.position.next_loss = None
            self.position.world_sizes.append(dist.get_world_size())
        if self.position.scaler:
            self.scaler.load_state_dict(self.position.scaler)
        for loss in self.position.losses:
            self.watch.diverged(loss)
        self._saved = self.position.step

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to train."""
        losses = self.position.held_out_losses
        is_given_up = is_stale(losses, self.spec.patience) or is_behind(losses, self.spec.give_up_above)
        return self.position.step >= self.total_steps or is_given_up

    def run(self, saver: Saver, report: Report, is_to_end: Callable[[], bool]) -> None:
        """Train until it is over, or until rank 0 is to end, which is then saved.

        Args:
            saver: Writes this rank's part of checkpoints; rank 0 decides when.
            report: Called by each rank after each step.
            is_to_end: Whether somebody asks for an end; only what it says at rank 0 counts.

        Raises:
            LossDiverged: Going on would help nobody; at all ranks in the same step.
            Superseded: Another trainer has taken the job over.
            StorageError: Checkpoints could not be written several times in a row.
            CheckpointDoubted: The first step after `resume` does not lose what it lost before.
        """
        started = time.perf_counter()
        self.ledger.charge("starting")
        is_ending = False
        while not (self.is_over or is_ending):
            batch = self.loader.batch(self.position.step)
            self.ledger.charge("data")
            asked = (self._is_due() and saver.is_free(), is_to_end()) if self.is_first else (False, False)
            loss, (is_due, is_ending) = self._step(batch, asked)
            saver.tell(loss)
            self.position.losses.append(loss)
            self.position.step += 1
            self.examples += batch.size
            self.seconds = time.perf_counter() - started
            if self.held_out is not None and self.position.step % self.steps_per_epoch == 0:
                self._judge(self.held_out)
            self.ledger.charge_step(self.position.step - 1)
            report(self.position.step, self.total_steps, loss, self.examples / self.seconds)
            if is_due or is_ending:
                self._save(saver)
                self.ledger.charge("saves")
        saver.finish()
        self.ledger.charge("saves")

    def close(self) -> None:
        """Read no further ahead."""
        for loader in filter(None, (self.loader, self.held_out)):
            loader.close()

    def weights(self) -> Tensors:
        """Return the whole trained model, by name, on the CPU of rank 0; every rank must call this.

        Where rows are held out, it is that of the best epoch.
        """
        best = whole((name.removeprefix("best."), tensor) for name, tensor in self._best.items())
        return whole(self.model.state_dict().items()) | best

    def _is_due(self) -> bool:
        """Return whether the state after this step is to be saved: often enough, and once an epoch.

        While the last one is still being written, it is put off from step to step.
        """
        done = self.position.step + 1
        return any(done // steps > self._saved // steps for steps in (self.job.checkpoint_steps, self.steps_per_epoch))

    def _step(self, batch: Batch, asked: Sequence[bool]) -> tuple[float, list[bool]]:
        """Take one optimiser step; return the batch's mean loss over all ranks, and what any of them asked for."""
        set_rates(
            self.optimiser,
            rate_factor(self.position.step, self.total_steps, self.spec.warm_up, self.spec.schedule),
        )
        loss = self._backward(batch)
        self.scaler.unscale_(self.optimiser)
        if self.rank_budget is not None:
            self.rank_budget.regularise()
        norm = clip(self.model, self.spec.clip_norm)
        # What all ranks must know of each other, in one message; the host waits for the device here alone.
        told = torch.stack([loss / dist.get_world_size(), *loss.new_tensor(asked)])
        self.work.add(batch.lengths)
        if self.device.type == "cpu":
            self.ledger.charge_step(self.position.step)
        dist.all_reduce(told)
        (mean, *votes), self.norm = told.tolist(), norm.item()
        if self.device.type == "cpu":
            # A GPU was at work until now: what of it was waiting for other ranks cannot be told.
            self.ledger.charge("others")
        check_step(self.position, self.watch, self.scaler, mean, self.norm)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.rank_budget is not None and math.isfinite(self.norm):
            self.rank_budget.cut(self.position.step, self.optimiser)
        self.optimiser.zero_grad(set_to_none=False)
        return mean, [vote > 0 for vote in votes]

    def _backward(self, batch: Batch) -> torch.Tensor:
        """Leave the gradients of the batch's mean loss over all ranks; return this rank's share of that, times ranks.

        Gradients are averaged over ranks, which may hold one row more or less: so each scales its sum to the mean over
        all answers.
        """
        ranks = dist.get_world_size()
        total = torch.zeros((), device=self.device)
        share = list(pieces(batch, ranks, self.spec.micro_batch_size, self.device))
        for number, piece in enumerate(share, 1):
            with gradients(self.parallel, is_last=number == len(share)):
                loss = loss_of(self.parallel, piece, self._half) * (ranks / batch.answers)
                self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _judge(self, held_out: Loader) -> None:
        """Measure the held-out rows' mean loss after an epoch; keep the weights when it is the lowest so far."""
        self.model.eval()
        loss = mean_loss(self.parallel, held_out, self.spec, self.device)
        self.model.train()
        if not math.isfinite(loss):
            raise LossDiverged(f"step {self.position.step}: held-out loss {loss}; lower the learning rates")
        if loss < min(self.position.held_out_losses, default=math.inf):
            self._best = copy_best(self.model)
        self.position.held_out_losses.append(loss)

    def _save(self, saver: Saver) -> None:
        self._saved = self.position.step
        rank, ranks = dist.get_rank(), dist.get_world_size()
        state = state_of(self.model, self.optimiser) | self._best
        own = {f"generator.{rank}": generator(self.device)}
        position = replace(copy.deepcopy(self.position), scaler=self.scaler.state_dict())
        saver.save(position, take_part(state, own, rank, ranks, self.spec.fsdp_degree))
