"""What of a model is trained: all, all but its lowest layers, or adapters in place of the encoder's own weights.

Adapters are peft's. It is imported only where one is asked for, in the process that trains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from operators.core.errors import DataError
from operators.core.models.encoder import EncoderModel
from operators.core.training.parts import Tensors
from operators.core.training.spec import AdapterSpec, LoopSpec

if TYPE_CHECKING:
    from peft.tuners import AdaLoraModel, LoraModel

ADAPTER = "default"
"""Peft's own name of an adapter that has none."""
WARM_UP, SETTLED = 0.1, 0.3
"""Shares of the steps before ranks are first cut, and after they were last cut."""
CUTS = 100
"""Times at most that ranks are cut."""
_IMPORTANCE, _UNCERTAINTY, _KEPT = "importance", "uncertainty", "kept"


class RankBudget:
    """AdaLoRA's ranks: kept orthogonal, and cut to a budget by what each row matters, step by step.

    What is known of a row lies in the optimiser's state of its parameter: checkpoints hold it as they hold moments.
    """

    def __init__(self, tuner: AdaLoraModel) -> None:
        self._tuner, self._allocator = tuner, tuner.rankallocator
        self._named = {name: one for name, one in tuner.model.named_parameters() if "lora_" in name}

    def regularise(self) -> None:
        """Add to the gradients what pulls the rows of each matrix apart; the same at all ranks, so after they met."""
        weight = self._tuner.peft_config[ADAPTER].orth_reg_weight
        bases = {name: one for name, one in self._named.items() if "lora_E" not in name}
        # A has shape (rank, width), B (width, rank).
        rows = [one if "lora_A" in name else one.T for name, one in bases.items()]
        distance = sum(torch.linalg.matrix_norm(row @ row.T - torch.eye(len(row), device=row.device)) for row in rows)
        gradients = torch.autograd.grad(cast(torch.Tensor, distance), list(bases.values()))
        for parameter, gradient in zip(bases.values(), gradients, strict=True):
            assert parameter.grad is not None, "the backward pass has reached every adapter"
            parameter.grad.add_(gradient, alpha=weight / len(bases))

    def cut(self, step: int, optimiser: torch.optim.Optimizer) -> None:
        """Take in the gradients of a step, counted from 0, that was just taken, and cut where that is due."""
        self._remember(optimiser)
        self._tuner.update_and_allocate(step)
        kept = self._tuner.peft_config[ADAPTER].rank_pattern or {}
        for name, parameter in self._named.items():
            state = optimiser.state[parameter]
            if name in self._allocator.exp_avg_ipt:
                state[_IMPORTANCE] = self._allocator.exp_avg_ipt[name]
                state[_UNCERTAINTY] = self._allocator.exp_avg_unc[name]
            if name in kept:
                state[_KEPT] = torch.tensor(kept[name])

    def sizes(self) -> dict[str, int]:
        """Return the rank that each matrix has left."""
        return {
            name.removesuffix(f".lora_E.{ADAPTER}"): int(one.count_nonzero())
            for name, one in self._named.items()
            if "lora_E" in name
        }

    def _remember(self, optimiser: torch.optim.Optimizer) -> None:
        """Have the allocator know what a checkpoint knew; without one it is what it knows already."""
        kept: dict[str, list[bool]] = {}
        for name, parameter in self._named.items():
            state = optimiser.state[parameter]
            if _IMPORTANCE in state:
                self._allocator.ipt[name] = torch.zeros_like(parameter)
                self._allocator.exp_avg_ipt[name] = state[_IMPORTANCE]
                self._allocator.exp_avg_unc[name] = state[_UNCERTAINTY]
            if _KEPT in state:
                kept[name] = state[_KEPT].tolist()
        self._tuner.peft_config[ADAPTER].rank_pattern = kept or None


def choose_trained(model: EncoderModel, spec: LoopSpec, total_steps: int) -> RankBudget | None:
    """Mark what is trained, with adapters put in where the spec has one; return AdaLoRA's budget, if it is that.

    Args:
        model: On its device, not yet sharded; changed in place.
        spec: Says what is frozen, and which adapter.
        total_steps: Of the whole training.

    Raises:
        DataError: The encoder has no layer above those that are frozen.
    """
    if not spec.frozen_embeddings:
        return None
    layers = model.layers
    if spec.frozen_layers >= len(layers):
        raise DataError(f"frozen_layers={spec.frozen_layers} of an encoder of {len(layers)} layers: lower it")
    for module in (model.embeddings, *layers[: spec.frozen_layers]):
        module.requires_grad_(False)
    if spec.adapter is None:
        return None
    tuner = _put_in(model, spec.adapter, range(spec.frozen_layers, len(layers)), total_steps, spec.seed)
    return RankBudget(cast("AdaLoraModel", tuner)) if spec.adapter.kind == "adalora" else None


def merge(model: EncoderModel, spec: LoopSpec, weights: Tensors) -> Tensors:
    """Return the weights of a trained model with its adapters added to those that they stood beside.

    Args:
        model: Of the same shape, without adapters; taken apart.
        spec: What the weights were trained by.
        weights: Of the whole model, by name.
    """
    assert spec.adapter is not None
    layers = range(spec.frozen_layers, len(model.layers))
    tuner = _put_in(model, spec.adapter, layers, 2, spec.seed)
    model.load_state_dict(weights, strict=True)
    tuner.merge_and_unload(safe_merge=True)
    return dict(model.state_dict())


def count(model: nn.Module) -> tuple[int, int]:
    """Return how many numbers of a model are trained, and how many there are."""
    sizes = [(one.numel(), one.requires_grad) for one in model.parameters()]
    return sum(size for size, is_trained in sizes if is_trained), sum(size for size, _ in sizes)


def _put_in(
    model: EncoderModel, spec: AdapterSpec, layers: range, total_steps: int, seed: int
) -> LoraModel | AdaLoraModel:
    """Put new adapters into an encoder's layers, drawn from a seed; all else of the encoder is frozen."""
    from peft import AdaLoraConfig, LoraConfig
    from peft.tuners import AdaLoraModel, LoraModel

    fields = {
        "lora_alpha": spec.alpha,
        "lora_dropout": spec.dropout,
        "target_modules": [name for target in spec.targets for name in model.layout.maps[target]],
        "layers_to_transform": list(layers),
        "layers_pattern": model.layout.layers.rpartition(".")[2],
    }
    # Every rank draws the same, on its host, and what it draws later is what it would have been without an adapter.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.kind == "lora":
            return LoraModel(model.encoder, LoraConfig(r=spec.lora_rank, **fields), ADAPTER)
        config = AdaLoraConfig(
            init_r=first_rank(spec),
            target_r=spec.lora_rank,
            total_step=total_steps,
            tinit=int(total_steps * WARM_UP),
            tfinal=int(total_steps * SETTLED),
            deltaT=max(1, total_steps // CUTS),
            **fields,
        )
        return AdaLoraModel(model.encoder, config, ADAPTER)


def first_rank(spec: AdapterSpec) -> int:
    """Return the rank that each of AdaLoRA's matrices begins with: above the one that they end with on average."""
    return -(-spec.lora_rank * 3 // 2)
