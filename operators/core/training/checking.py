"""Whether a step may be taken: what its loss and its gradients must not be."""

from __future__ import annotations

import math

import torch

from operators.core.errors import CheckpointDoubted, LossDiverged
from operators.core.training.state import Position
from operators.core.training.stopping import LossWatch

SAME_LOSS = 0.01
"""Share by which a step's loss may differ when it is taken again from a checkpoint: hashes have proved the bits, this
proves that they came to the right places."""


def check_step(position: Position, watch: LossWatch, scaler: torch.amp.GradScaler, loss: float, norm: float) -> None:
    """Take in a step's mean loss and gradient norm, before the step is taken; count it where it will be skipped.

    Args:
        position: Where the training stands; told of a step that is skipped.
        watch: Of the loss's level.
        scaler: Of the loss, in fp16.
        loss: Over all ranks.
        norm: Over all parts.

    Raises:
        LossDiverged: One is not finite, where fp16 does not explain it, or the loss has run away.
        CheckpointDoubted: The loss is not the one that this step had before the training was cut off.
    """
    expected, position.next_loss = position.next_loss, None
    if expected is not None and not math.isclose(loss, expected, rel_tol=SAME_LOSS, abs_tol=SAME_LOSS / 10):
        raise CheckpointDoubted(f"step {position.step}: loss {loss:.4g}, it was {expected:.4g} before the end")
    where = f"step {position.step}: loss {loss:.4g}, gradient norm {norm:.4g}"
    is_skipped = scaler.is_enabled() and math.isfinite(loss) and not math.isfinite(norm)
    if not (math.isfinite(loss) and math.isfinite(norm)) and not is_skipped:
        raise LossDiverged(f"{where}; lower the learning rates")
    if is_skipped and scaler.get_scale() < 1.0:
        raise LossDiverged(f"{where}, however small the loss is scaled: choose precision bf16 or fp32")
    position.skipped_steps += is_skipped
    if watch.diverged(loss):
        raise LossDiverged(
            f"{where}; over the last steps the loss was {watch.level:.4g}, having been down to {watch.lowest:.4g} "
            f"(divergence_ratio={watch.ratio:g}): lower the learning rates"
        )
