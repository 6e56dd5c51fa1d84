"""What a causal language model loses on texts, token by token. Shapes: B rows, T tokens, N places asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from operators.core.errors import DataError
from operators.core.models.batching import batches_by_length
from operators.core.models.causal import CausalLanguageModel, end_of_text, load_causal_model
from operators.core.models.tokenising import encode_continued, load_tokenizer
from operators.core.training.machine import cpu_has_bf16


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """By row, in the order of the texts."""

    losses: npt.NDArray[np.float64]
    """Sums over the tokens asked for, shape (rows,)."""
    counts: npt.NDArray[np.int64]
    """Tokens asked for, shape (rows,)."""

    @property
    def mean(self) -> float:
        """The mean loss of a token."""
        return float(self.losses.sum() / self.counts.sum())


def token_losses(
    folder: Path,
    texts: Sequence[str],
    *,
    max_length: int,
    answers_after: str | None,
    batch_size: int,
    threads: int,
    report: Callable[[int], None],
) -> TokenLosses:
    """Return what the folder's model loses on texts.

    Args:
        folder: A base model's, or a fine-tuned one's.
        texts: Plain ones.
        max_length: Tokens kept of each.
        answers_after: See `CausalTrainingSpec`.
        batch_size: Rows of a forward pass.
        threads: Of torch.
        report: Told how many rows are done.

    Raises:
        DataError: No text asks for a token.
    """
    torch.set_num_threads(threads)
    model = load_causal_model(folder).eval()
    rows = encode_continued(load_tokenizer(folder), texts, max_length, end_of_text(folder), answers_after)
    counts = np.array([len(row.ids) - row.first for row in rows], dtype=np.int64)
    if not counts.any():
        raise DataError(f"no answer behind {answers_after!r} in {len(rows)} test rows: correct answers_after")
    losses = np.zeros(len(rows))
    done = 0
    for batch in batches_by_length([row.ids for row in rows], batch_size):
        chosen = [rows[number] for number in batch]
        losses[batch] = _sums(model, [row.ids for row in chosen], [row.first for row in chosen])
        done += len(batch)
        report(done)
    return TokenLosses(losses, counts)


def _sums(model: CausalLanguageModel, rows: Sequence[Sequence[int]], firsts: Sequence[int]) -> npt.NDArray[np.float64]:
    """Return the sum of each row's losses, shape (B,)."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    places = torch.arange(ids.shape[1])
    # A place is asked for the token behind it.
    asked = (places + 1 >= torch.tensor(firsts)[:, None]) & (places + 1 < lengths[:, None])
    # A first result stands for its run key, so a rounding that differs between machines does no harm here.
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=cpu_has_bf16()):
        logits = model(ids, (places < lengths[:, None]).long(), asked).float()
    each = torch.zeros(ids.shape, dtype=torch.float64)
    each[asked] = torch.nn.functional.cross_entropy(logits, ids.roll(-1, 1)[asked], reduction="none").double()
    sums: npt.NDArray[np.float64] = each.sum(1).numpy()
    return sums
