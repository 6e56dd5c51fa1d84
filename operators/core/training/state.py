"""Training state as named tensors: what a checkpoint must hold for a resumed run to end with the same bits.

Frozen parameters are left out: they are the base model's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

from operators.core.errors import DataError
from operators.core.training.parts import Tensors


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
    next_loss: float | None = None
    """Mean loss of the step after the last one done, of a checkpoint written after that step too."""

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
            next_loss=None if document["next_loss"] is None else float(document["next_loss"]),
        )


def state_of(model: nn.Module, optimiser: torch.optim.Optimizer) -> Tensors:
    """Return the trained parameters and the optimiser's moments, by name, as they lie on this rank; no copies."""
    return {
        f"{moment}.{name}": value
        for name, parameter in _trained(model)
        for moment, value in [("parameter", parameter.detach()), *optimiser.state[parameter].items()]
    }


def copy_best(model: nn.Module) -> Tensors:
    """Return copies of the trained parameters as the best so far, each where its parameter lies."""
    return {f"best.{name}": parameter.detach().clone() for name, parameter in _trained(model)}


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


def room_for(
    stored: Mapping[str, tuple[torch.Size, torch.dtype]], model: nn.Module, optimiser: torch.optim.Optimizer
) -> Tensors:
    """Return what to fill with a stored state, by name: the parameters themselves, new moments, new best parameters.

    Args:
        stored: Shape and type of each tensor that there is.
        model: Sharded in any way; what is of its parameters' shapes is sharded as they are.
        optimiser: Is given the moments.

    Raises:
        DataError: The state is of another model.
    """
    parameters = dict(_trained(model))
    if {f"parameter.{name}" for name in parameters} != {name for name in stored if name.startswith("parameter.")}:
        raise DataError("the checkpoint holds the parameters of another model")
    room: Tensors = {}
    for full_name, (shape, dtype) in stored.items():
        moment, _, name = full_name.partition(".")
        parameter = parameters.get(name)
        if moment == "parameter":
            room[full_name] = parameters[name].detach()
        elif parameter is not None:
            room[full_name] = _like(parameter, shape, dtype)
            if moment != "best":
                optimiser.state[parameter][moment] = room[full_name]
    return room


def _like(parameter: nn.Parameter, shape: torch.Size, dtype: torch.dtype) -> torch.Tensor:
    """Return an unset tensor where a parameter lies, sharded as it is; a step counter is nobody's share."""
    if shape == parameter.shape:
        return torch.empty_like(parameter, dtype=dtype, requires_grad=False)
    return torch.empty(shape, dtype=dtype, device=parameter.device)


def generator(device: torch.device) -> torch.Tensor:
    """Return this rank's random state, as bytes on the host."""
    mine = torch.get_rng_state()
    return torch.cat([mine, torch.cuda.get_rng_state(device)]) if device.type == "cuda" else mine


def set_generator(state: torch.Tensor, device: torch.device) -> None:
    """Set this rank's random state to what `generator` returned."""
    size = torch.get_rng_state().numel()
    # Clones, because torch 2.13 crashes on a state that does not begin its storage.
    torch.set_rng_state(state[:size].clone())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[size:].clone(), device)


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
