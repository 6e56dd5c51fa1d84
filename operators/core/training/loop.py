"""The training loop of one rank: forward, backward, all-reduce, step; the same bits whether interrupted or not."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from operators.core.errors import LossDiverged
from operators.core.models.encoder import EncoderModel
from operators.core.training.checkpoints import read_position, read_tensors
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Batch, Loader
from operators.core.training.optimisation import make_optimiser, rate_factor, set_rates
from operators.core.training.saving import Saver
from operators.core.training.state import Position, gather_generators, give_state, set_generator, take_state

Report = Callable[[int, int, float, float], None]
"""(step, total_steps, loss, examples_per_second)."""

log = logging.getLogger(__name__)


class Loop:
    """One rank's view of a training job; `examples` and `seconds` count what this process itself has trained."""

    def __init__(self, job: TrainingJob, model: EncoderModel, loader: Loader, device: torch.device) -> None:
        self.job, self.spec, self.loader, self.device = job, job.loop, loader, device
        self.model = model.to(device).train()
        if device.type == "cuda":
            model.encoder.set_attn_implementation("sdpa")  # type: ignore[operator]
        self.optimiser = make_optimiser(self.model, self.spec)
        # With unused parameters looked for, DDP never rebuilds its buckets after the first step. A resumed run would
        # rebuild them at another step, and with more than two ranks add gradients in another order: other bits.
        self.parallel = DistributedDataParallel(self.model, find_unused_parameters=True, gradient_as_bucket_view=True)
        self.steps_per_epoch = loader.steps_per_epoch
        self.total_steps = self.steps_per_epoch * self.spec.epochs
        self.position = Position()
        self._saved = 0
        self.examples = 0
        self.seconds = 0.0
        torch.manual_seed(self.spec.seed * 100_003 + dist.get_rank())

    def resume(self, folder: Path) -> None:
        """Put this rank where the checkpoint in a folder says."""
        tensors, generators = read_tensors(folder)
        give_state(self.model, self.optimiser, tensors)
        set_generator(generators[dist.get_rank()], self.device)
        self.position = read_position(folder)
        self._saved = self.position.step

    def run(self, saver: Saver | None, report: Report) -> None:
        """Train to the end of the last epoch.

        Args:
            saver: Writes the checkpoints of rank 0, which decides when; None at the other ranks.
            report: Called by each rank after each step.

        Raises:
            LossDiverged: The loss or the gradient is no longer finite; at all ranks in the same step.
            Superseded: Another trainer has taken the job over.
            StorageError: Checkpoints could not be written several times in a row.
        """
        started = time.perf_counter()
        while self.position.step < self.total_steps:
            batch = self.loader.batch(self.position.step)
            loss, is_due = self._step(batch, saver is not None and self._is_due() and saver.is_free())
            self.position.losses.append(loss)
            self.position.step += 1
            self.examples += batch.size
            self.seconds = time.perf_counter() - started
            report(self.position.step, self.total_steps, loss, self.examples / self.seconds)
            if is_due:
                self._save(saver)
        if saver is not None:
            saver.finish()

    def _is_due(self) -> bool:
        """Return whether the state after this step is to be saved: often enough, and once an epoch.

        While the last one is still being written, it is put off from step to step.
        """
        done = self.position.step + 1
        return any(done // steps > self._saved // steps for steps in (self.job.checkpoint_steps, self.steps_per_epoch))

    def _step(self, batch: Batch, is_due: bool) -> tuple[float, bool]:
        """Take one optimiser step; return the batch's mean loss over all ranks, and whether a save is called for."""
        ids, mask = (torch.from_numpy(array).to(self.device) for array in batch.padded())
        targets = torch.from_numpy(batch.targets()).to(self.device)
        set_rates(self.optimiser, rate_factor(self.position.step, self.total_steps, self.spec.warm_up))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.spec.precision == "bf16"):
            logits = self.parallel(input_ids=ids, attention_mask=mask)
        # DDP averages over ranks; ranks may hold one row more or less, so each scales its sum to the mean over all
        # rows.
        loss = self.model.losses(logits.float(), targets).sum() * (dist.get_world_size() / batch.size)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip_norm)
        # What all ranks must know of each other, in one message; the host waits for the device here alone.
        told = torch.stack([loss.detach() / dist.get_world_size(), loss.new_tensor(float(is_due))])
        dist.all_reduce(told)
        (mean, due), length = told.tolist(), norm.item()
        if not (math.isfinite(mean) and math.isfinite(length)):
            raise LossDiverged(
                f"step {self.position.step}: loss {mean}, gradient norm {length}; lower the learning rates"
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=False)
        return mean, due > 0

    def _save(self, saver: Saver | None) -> None:
        self._saved = self.position.step
        generators = gather_generators(self.device)
        if saver is not None and generators is not None:
            position = replace(self.position, losses=list(self.position.losses))
            saver.save(position, take_state(self.model, self.optimiser), generators)
