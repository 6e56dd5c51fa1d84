"""What a model loses on rows: the sum that a backward pass begins with, and the mean of all held-out ones."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

from operators.core.models.encoder import row_losses
from operators.core.training.loader import Loader
from operators.core.training.mesh import HALF
from operators.core.training.pieces import Piece, pieces
from operators.core.training.spec import LoopSpec


def loss_of(model: nn.Module, piece: Piece, half: torch.dtype | None) -> torch.Tensor:
    """Return the sum of the losses of a piece's answers, computed in half precision where one is given."""
    asked = {} if piece.asked is None else {"asked": piece.asked}
    with torch.autocast(piece.ids.device.type, dtype=half, enabled=half is not None):
        logits = model(input_ids=piece.ids, attention_mask=piece.mask, **asked)
    return row_losses(logits.float(), piece.labels).sum()


def mean_loss(model: nn.Module, loader: Loader, spec: LoopSpec, device: torch.device) -> float:
    """Return the mean loss of an answer over a loader's first epoch, of all ranks' rows; every rank must call this.

    Args:
        model: In evaluation mode, as the ranks hold it together.
        loader: This rank's.
        spec: Says in what pieces and in what precision.
        device: This rank's own.
    """
    total, answers = torch.zeros((), dtype=torch.float64, device=device), 0
    with torch.no_grad():
        for step in range(loader.steps_per_epoch):
            batch = loader.batch(step)
            answers += batch.answers
            for piece in pieces(batch, dist.get_world_size(), spec.micro_batch_size, device):
                total += loss_of(model, piece, HALF.get(spec.precision))
    dist.all_reduce(total)
    return total.item() / answers
