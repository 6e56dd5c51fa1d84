"""Training state as named tensors: what a checkpoint must hold for a resumed run to end with the same bits.

Frozen parameters are left out: they are the base model's. Files are safetensors and JSON; nothing is ever unpickled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor

from operators.core.errors import DataError

Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class Position:
    """How far a run has come."""

    step: int = 0
    """Optimiser steps done, over all epochs: epoch and batch of the loader follow from it."""
    losses: list[float] = field(default_factory=list)
    """Mean loss of each step done."""
    held_out_losses: list[float] = field(default_factory=list)
    """Mean loss of the held-out rows after each epoch done; empty where none are held out."""
    skipped_steps: int = 0
    """Steps whose gradients did not fit half precision; they changed no parameter."""
    world_sizes: list[int] = field(default_factory=list)
    """Ranks that trained: another entry from where a checkpoint went on with another number."""
    scaler: dict[str, float] = field(default_factory=dict)
    """State of the loss scaling; empty where there is none."""

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Position:
        """Read what `asdict` gives; raises ValueError, KeyError or TypeError for anything else."""
        return cls(
            step=int(document["step"]),
            losses=[float(loss) for loss in document["losses"]],
            held_out_losses=[float(loss) for loss in document["held_out_losses"]],
            skipped_steps=int(document["skipped_steps"]),
            world_sizes=[int(size) for size in document["world_sizes"]],
            scaler=dict(document["scaler"]),
        )


def take_state(model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensors:
    """Return a copy of the trained parameters and the optimiser's moments, by name, on the CPU of rank 0.

    Of a sharded model every rank must call this; all but rank 0 only give what they hold, and get nothing.
    """
    return whole(
        (f"{moment}.{name}", value)
        for name, parameter in _trained(model)
        for moment, value in [("parameter", parameter), *optimiser.state[parameter].items()]
    )


def take_best(model: nn.Module) -> Tensors:
    """Return a copy of the trained parameters as the best so far, as `take_state` does."""
    return whole((f"best.{name}", parameter) for name, parameter in _trained(model))


def whole(tensors: Iterable[tuple[str, torch.Tensor]]) -> Tensors:
    """Return copies of tensors on the CPU of rank 0, put together from all ranks where they are sharded."""
    is_first = dist.get_rank() == 0
    kept: Tensors = {}
    for name, tensor in tensors:
        # One at a time: no device ever holds more than one of them whole.
        value = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if is_first:
            kept[name] = value.detach().to("cpu", copy=True).contiguous()
    return kept


def give_state(model: nn.Module, optimiser: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Set parameters and moments to what `take_state` returned, of a model sharded in any way.

    Raises:
        DataError: The tensors are of another model.
    """
    wanted = {f"parameter.{name}" for name, _ in _trained(model)}
    if wanted != {name for name in tensors if name.startswith("parameter.")}:
        raise DataError("the checkpoint holds the parameters of another model")
    moments: dict[str, Tensors] = defaultdict(dict)
    for full_name, tensor in tensors.items():
        moment, _, name = full_name.partition(".")
        moments[name][moment] = tensor
    with torch.no_grad():
        for name, parameter in _trained(model):
            parameter.copy_(_placed(moments[name].pop("parameter"), parameter))
            optimiser.state[parameter] = {
                moment: _placed(tensor, parameter) for moment, tensor in moments[name].items()
            }


def _placed(tensor: torch.Tensor, parameter: torch.Tensor) -> torch.Tensor:
    """Return a copy where the parameter lies, sharded as it is; a step counter is nobody's share."""
    copy = tensor.to(parameter.device, copy=True)
    if isinstance(parameter, DTensor) and tensor.shape == parameter.shape:
        # Every rank has read the whole, so each takes its share of its own.
        return distribute_tensor(copy, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return copy


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
