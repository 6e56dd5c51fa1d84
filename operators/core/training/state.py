"""Training state as named tensors: what a checkpoint must hold for a resumed run to end with the same bits.

Frozen parameters are left out: they are the base model's. Files are safetensors and JSON; nothing is ever unpickled.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import nn

from operators.core.errors import DataError

Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class Position:
    """How far a run has come."""

    step: int = 0
    """Optimiser steps done, over all epochs: epoch and batch of the loader follow from it."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of each step done."""


def take_state(model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensors:
    """Return a copy of the trained parameters and the optimiser's moments, by name, on the CPU."""
    tensors: Tensors = {}
    for name, parameter in _trained(model):
        tensors[f"parameter.{name}"] = parameter.detach()
        for moment, value in optimiser.state[parameter].items():
            tensors[f"{moment}.{name}"] = value
    return {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def give_state(model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Set parameters and moments to what `take_state` returned.

    Raises:
        DataError: The tensors are of another model.
    """
    wanted = {f"parameter.{name}" for name, _ in _trained(model)}
    if wanted != {name for name in tensors if name.startswith("parameter.")}:
        raise DataError("the checkpoint holds the parameters of another model")
    with torch.no_grad():
        for name, parameter in _trained(model):
            parameter.copy_(tensors[f"parameter.{name}"])
            optimiser.state[parameter] = {
                # The step counter stays where the fused kernel reads it; the moments lie beside their parameter.
                moment: tensors[f"{moment}.{name}"].to(parameter.device, copy=True)
                for moment in ("step", "exp_avg", "exp_avg_sq")
            }


def gather_generators(device: torch.device) -> torch.Tensor | None:
    """Return every rank's random state to rank 0, shape (ranks, bytes); None to the others."""
    mine = torch.get_rng_state()
    if device.type == "cuda":
        mine = torch.cat([mine, torch.cuda.get_rng_state(device)])
    mine = mine.to(device)
    every = [torch.empty_like(mine) for _ in range(dist.get_world_size())]
    dist.all_gather(every, mine)
    return torch.stack(every).cpu() if dist.get_rank() == 0 else None


def set_generator(state: torch.Tensor, device: torch.device) -> None:
    """Set this rank's random state to its row of what `gather_generators` returned."""
    size = torch.get_rng_state().numel()
    # Clones, because torch 2.13 crashes on a state that does not begin its storage: a row of a matrix but the first.
    torch.set_rng_state(state[:size].clone())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[size:].clone(), device)


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
