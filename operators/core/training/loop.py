"""The training loop of one rank: forward, backward, all-reduce, step; the same bits whether interrupted or not."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from operators.core.errors import LossDiverged
from operators.core.models.encoder import MeanPoolClassifier
from operators.core.training.checkpoints import Checkpoints, read_position, read_tensors
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Batch, Loader
from operators.core.training.optimisation import make_optimiser, rate_factor, set_rates
from operators.core.training.state import Position, gather_generators, give_state, set_generator, take_state

Report = Callable[[int, int, float, float], None]
"""(step, total_steps, loss, examples_per_second)."""

log = logging.getLogger(__name__)


class Loop:
    """One rank's view of a training job; `examples` and `seconds` count what this process itself has trained."""

    def __init__(self, job: TrainingJob, model: MeanPoolClassifier, loader: Loader, device: torch.device) -> None:
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
        self.examples = 0
        self.seconds = 0.0
        torch.manual_seed(self.spec.seed * 100_003 + dist.get_rank())

    def resume(self, folder: Path) -> None:
        """Put this rank where the checkpoint in a folder says."""
        tensors, generators = read_tensors(folder)
        give_state(self.model, self.optimiser, tensors)
        set_generator(generators[dist.get_rank()], self.device)
        self.position = read_position(folder)

    def run(self, checkpoints: Checkpoints | None, report: Report) -> None:
        """Train to the end of the last epoch.

        Args:
            checkpoints: Where rank 0 publishes; None at the other ranks.
            report: Called by each rank after each step.

        Raises:
            LossDiverged: The loss or the gradient is no longer finite; at all ranks in the same step.
        """
        started = time.perf_counter()
        while self.position.step < self.total_steps:
            batch = self.loader.batch(self.position.step)
            loss = self._step(batch)
            self.position.losses.append(loss)
            self.position.step += 1
            self.examples += batch.size
            self.seconds = time.perf_counter() - started
            report(self.position.step, self.total_steps, loss, self.examples / self.seconds)
            if not (self.position.step % self.steps_per_epoch and self.position.step % self.job.checkpoint_steps):
                self._publish(checkpoints)

    def _step(self, batch: Batch) -> float:
        """Take one optimiser step and return the batch's mean loss over all ranks."""
        ids, mask = (torch.from_numpy(array).to(self.device) for array in batch.padded())
        labels = torch.from_numpy(batch.labels).to(self.device)
        set_rates(self.optimiser, rate_factor(self.position.step, self.total_steps, self.spec.warm_up))
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.spec.precision == "bf16"):
            logits = self.parallel(input_ids=ids, attention_mask=mask)
        # DDP averages over ranks; ranks may hold one row more or less, so each scales its sum to the mean over all
        # rows.
        loss = cross_entropy(logits.float(), labels, reduction="sum") * (dist.get_world_size() / batch.size)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.clip_norm)
        mean = loss.detach() / dist.get_world_size()
        dist.all_reduce(mean)
        if not (math.isfinite(mean.item()) and math.isfinite(norm.item())):
            raise LossDiverged(
                f"step {self.position.step}: loss {mean.item()}, gradient norm {norm.item()}; lower the learning rates"
            )
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=False)
        return float(mean.item())

    def _publish(self, checkpoints: Checkpoints | None) -> None:
        generators = gather_generators(self.device)
        if checkpoints is not None and generators is not None:
            checkpoints.publish(self.position, take_state(self.model, self.optimiser), generators)
