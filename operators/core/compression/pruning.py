"""Taking away from a fine-tuned encoder: whole layers, attention heads, feed-forward units, single weights.

Shapes: T tokens, D hidden, H heads, U feed-forward units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from operators.core.errors import DataError
from operators.core.models.encoder import EncoderModel

UNITS_OF = 8
"""Feed-forward units stay in multiples of it: what a processor multiplies at once."""


def keep_layers(model: EncoderModel, count: int | None) -> list[int]:
    """Leave as many layers, spread evenly from the first on; return which.

    Raises:
        DataError: There are fewer.
    """
    layers = _layers(model)
    if count is not None and count > len(layers):
        raise DataError(f"layers={count} shall stay of a model of {len(layers)}: lower it")
    kept = [number * len(layers) // (count or len(layers)) for number in range(count or len(layers))]
    encoder: Any = model.encoder
    encoder.encoder.layer = nn.ModuleList(layers[number] for number in kept)
    encoder.config.num_hidden_layers = len(kept)
    return kept


def keep_heads_and_units(
    model: EncoderModel, rows: Sequence[Sequence[int]], heads: float, units: float
) -> list[list[int]]:
    """Leave shares of each layer's heads and units, at least one of each; return the heads that stayed, by layer."""
    stayed = []
    for layer, (of_heads, of_units) in zip(_layers(model), importances(model, rows), strict=True):
        best_heads = _best(of_heads, max(1, round(heads * len(of_heads))))
        wanted = max(1, round(units * len(of_units) / UNITS_OF)) * UNITS_OF
        best_units = _best(of_units, min(wanted, len(of_units)))
        _cut_attention(layer.attention, best_heads)
        layer.intermediate.dense = _sliced(layer.intermediate.dense, best_units, 0)
        layer.output.dense = _sliced(layer.output.dense, best_units, 1)
        stayed.append(best_heads.tolist())
    return stayed


def keep_weights(model: EncoderModel, sparsity: float) -> int:
    """Set the smallest weights of each matrix of the layers to zero; return how many are zero."""
    zeros = 0
    for layer in _layers(model):
        for module in layer.modules():
            if isinstance(module, nn.Linear):
                weight = module.weight.data
                smallest = weight.abs().flatten().argsort(stable=True)[: round(sparsity * weight.numel())]
                weight.view(-1)[smallest] = 0.0
                zeros += int((weight == 0).sum())
    return zeros


def importances(model: EncoderModel, rows: Sequence[Sequence[int]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Return by layer how much each head, shape (H,), and each unit, shape (U,), changes the answers.

    That is the change of the logits' size, to first order, if what it gives to a text were left out; labels are not
    needed for it.

    Args:
        model: In evaluation mode.
        rows: Token numbers of texts.

    Source:
        Michel et al., "Are Sixteen Heads Really Better than One?", arXiv 1905.10650.
    """
    layers = _layers(model)
    totals = [(torch.zeros(_num_heads(layer)), torch.zeros(layer.intermediate.dense.out_features)) for layer in layers]
    with _inputs_of(part for layer in layers for part in (layer.attention.output.dense, layer.output.dense)) as given:
        for row in rows:
            ids = torch.tensor([row])
            given.clear()
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids))
            gradients = torch.autograd.grad((logits.float() ** 2).sum() / 2, given)
            # One text, so (T, width): what a head or a unit gives, times what it is worth, over all tokens.
            effects = [(one * gradient)[0].detach() for one, gradient in zip(given, gradients, strict=True)]
            for number, (of_heads, of_units) in enumerate(totals):
                attended, fed = effects[2 * number : 2 * number + 2]
                of_heads += attended.sum(0).view(len(of_heads), -1).sum(1).abs()
                of_units += fed.sum(0).abs()
    return totals


@contextmanager
def _inputs_of(modules: Iterable[nn.Module]) -> Iterator[list[torch.Tensor]]:
    """Give the block a list that takes what goes into the modules, in the order in which they are called."""
    given: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        given.append(inputs[0])

    hooks = [module.register_forward_pre_hook(keep) for module in modules]
    try:
        yield given
    finally:
        for hook in hooks:
            hook.remove()


def _cut_attention(attention: Any, heads: torch.Tensor) -> None:
    width = attention.self.attention_head_size
    kept = (heads[:, None] * width + torch.arange(width)).flatten()
    for name in ("query", "key", "value"):
        setattr(attention.self, name, _sliced(getattr(attention.self, name), kept, 0))
    attention.output.dense = _sliced(attention.output.dense, kept, 1)


def _sliced(linear: nn.Linear, kept: torch.Tensor, axis: int) -> nn.Linear:
    """Return a map with some of its outputs (axis 0) or inputs (axis 1)."""
    weight = linear.weight.data.index_select(axis, kept)
    cut = nn.Linear(weight.shape[1], weight.shape[0])
    cut.weight.data = weight
    cut.bias.data = linear.bias.data[kept] if axis == 0 else linear.bias.data
    return cut


def _best(importance: torch.Tensor, count: int) -> torch.Tensor:
    return importance.argsort(descending=True, stable=True)[:count].sort().values


def _num_heads(layer: Any) -> int:
    return int(layer.attention.self.query.out_features // layer.attention.self.attention_head_size)


def _layers(model: EncoderModel) -> list[Any]:
    return list(model.encoder.get_submodule("encoder.layer").children())
