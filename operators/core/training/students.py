"""What a student is trained with beside labels: its teacher's answers and layers, and zeros that stay zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional

from operators.core.models.encoder import EncoderModel, row_losses
from operators.core.models.tags import UNTOLD
from operators.core.training.pieces import Piece
from operators.core.training.spec import GuidanceSpec

States = dict[int, torch.Tensor]


class Guide:
    """Loses what a student is away from its teacher, for each text that both are shown.

    Args:
        spec: What counts how much.
        teacher: In evaluation mode, without gradients, on the device.
        student: Of the same hidden size; its layers are held against as many of the teacher's, the last against the
            last.
    """

    def __init__(self, spec: GuidanceSpec, teacher: EncoderModel, student: EncoderModel) -> None:
        self._spec, self._teacher = spec, teacher
        self._right, self._found = States(), States()
        mine, theirs = _layers(student), _layers(teacher)
        for number, layer in enumerate(mine):
            layer.register_forward_hook(_keep(self._found, number))
            theirs[(number + 1) * len(theirs) // len(mine) - 1].register_forward_hook(_keep(self._right, number))

    def loss_of(self, model: nn.Module, piece: Piece, half: torch.dtype | None) -> torch.Tensor:
        """Return the sum of the losses of a piece's answers, as `loop.loss_of` does without a teacher."""
        with torch.autocast(piece.ids.device.type, dtype=half, enabled=half is not None):
            logits = model(input_ids=piece.ids, attention_mask=piece.mask)
            with torch.no_grad():
                right = self._teacher(input_ids=piece.ids, attention_mask=piece.mask)
        share = self._spec.answers
        loss = (1 - share) * row_losses(logits.float(), piece.labels).sum()
        loss = loss + share * _distance(logits.float(), right.float(), piece.labels, self._spec.temperature)
        if self._spec.states:
            loss = loss + self._spec.states * self._apart(piece)
        self._right.clear()
        self._found.clear()
        return loss

    def _apart(self, piece: Piece) -> torch.Tensor:
        """Return the mean squared distance of a token's state, over layers and tokens, for each answer of a row."""
        mask = piece.mask.float()
        answers = torch.ones_like(mask[:, 0]) if piece.labels.ndim == 1 else (piece.labels != UNTOLD).sum(1).float()
        pairs = ((self._found[number].float(), right.float()) for number, right in self._right.items())
        # Each of shape (B, T): means over what a state holds.
        squares = torch.stack([(found - right).square().mean(-1) for found, right in pairs]).mean(0)
        return ((squares * mask).sum(1) / mask.sum(1) * answers).sum()


class Zeros:
    """The weights of a model's layers that are zero now, and stay so."""

    def __init__(self, model: EncoderModel) -> None:
        self._kept = [
            (parameter, (parameter.detach() != 0).to(parameter.dtype))
            for layer in _layers(model)
            for parameter in layer.parameters()
            if parameter.ndim > 1 and parameter.requires_grad
        ]

    def restore(self) -> None:
        """Set them to zero again, after a step that may have moved them."""
        with torch.no_grad():
            for parameter, kept in self._kept:
                parameter.mul_(kept)


def _distance(logits: torch.Tensor, right: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return the sum over answers of the divergence from the teacher's probabilities, scaled as gradients need it."""
    if labels.ndim > 1:
        told = labels != UNTOLD
        logits, right = logits[told], right[told]
    found, wanted = (functional.log_softmax(one / temperature, -1) for one in (logits, right))
    return temperature**2 * functional.kl_div(found, wanted, reduction="sum", log_target=True)


def _layers(model: EncoderModel) -> list[nn.Module]:
    return list(cast("Iterable[nn.Module]", model.encoder.get_submodule("encoder.layer").children()))


def _keep(states: States, number: int) -> Callable[..., None]:
    def hook(layer: nn.Module, inputs: Any, output: Any) -> None:
        # Where activations are computed again in the backward pass, the first ones have done their work.
        states.setdefault(number, output[0] if isinstance(output, tuple) else output)

    return hook
