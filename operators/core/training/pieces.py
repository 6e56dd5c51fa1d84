"""A rank's share of a batch as tensors, in pieces no larger than a micro-batch. Shapes: B rows, T tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from operators.core.models.tags import UNTOLD
from operators.core.training.loader import Batch


class Piece(NamedTuple):
    """Rows of one forward and backward pass, on the device."""

    ids: torch.Tensor
    """Shape (B, T)."""
    mask: torch.Tensor
    """Shape (B, T)."""
    labels: torch.Tensor
    """Of texts their labels, shape (B,); of tokens their tags, shape (B, T); else the tokens asked for, shape (N,)."""
    asked: torch.Tensor | None = None
    """Of a language model where these stand, shape (B, T)."""


def pieces(batch: Batch, ranks: int, most_rows: int | None, device: torch.device) -> Iterator[Piece]:
    """Yield the rows of a rank's share in order, each once; every rank yields as many pieces.

    Args:
        batch: A rank's share; each of the ranks has one row at least.
        ranks: How many share the batch.
        most_rows: Rows of a piece, two at least; None for all in one.
        device: Where they shall lie.
    """
    (ids, mask), labels = batch.padded(), batch.targets()
    share = -(-batch.size // ranks)
    for span in np.array_split(np.arange(len(ids)), -(-share // (most_rows or share))):
        rows = slice(span[0], span[-1] + 1)
        longest = int(batch.lengths[rows].max())
        arrays = (
            ids[rows, :longest],
            mask[rows, :longest],
            labels[rows, :longest] if labels.ndim > 1 else labels[rows],
        )
        piece = Piece(*(torch.from_numpy(array).to(device) for array in arrays))
        if batch.asked is not None:
            asked = piece.labels != UNTOLD
            piece = piece._replace(labels=piece.labels[asked], asked=asked)
        yield piece
