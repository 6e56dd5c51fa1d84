"""Where a token classifier finds names in a text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from operators.core.errors import DataError
from operators.core.models.tokenising import load_tokenizer

MAX_TOKENS = 256
"""Tokens that are looked at together."""
STRIDE = 32
"""Tokens of a long line that two looks share, so that no name stands at the edge of both."""
_JOINS = frozenset({"", " ", ".", ". ", "-", "'", "\u2019"})
"""What may stand between two words of one name: `O'Brien`, `J. Smith`, `Anne-Marie`."""
Place = tuple[int, int]


class NameModel:
    """A token classifier at work, in single precision: one line has one answer, whatever stood before it.

    Args:
        folder: Its files, as `adopt_model` left them.
        types: The types of entity that are names, as its labels call them without `B-` and `I-`.
        min_probability: Probability from which a word is part of a name.

    Raises:
        DataError: The model does not know a type, or its files do not fit together.
    """

    def __init__(self, folder: Path, types: tuple[str, ...], min_probability: float) -> None:
        from transformers import AutoModelForTokenClassification

        try:
            self._model: Any = AutoModelForTokenClassification.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
            ).eval()
        except (OSError, ValueError, RuntimeError) as error:
            raise DataError(f"the model that finds names cannot be loaded: {error}") from error
        known = {number: label.split("-", 1)[-1] for number, label in self._model.config.id2label.items()}
        if unknown := sorted(set(types) - set(known.values())):
            raise DataError(
                f"the model that finds names knows no {unknown}: choose among {sorted(set(known.values()))}"
            )
        self._wanted = [number for number, kind in sorted(known.items()) if kind in types]
        self._least = min_probability
        self._tokenizer = load_tokenizer(folder)
        longest = min(MAX_TOKENS, self._model.config.max_position_embeddings)
        self._tokenizer.enable_truncation(longest, stride=min(STRIDE, longest // 4))

    def find(self, line: str) -> Iterator[Place]:
        """Yield where names stand, [start, end) in characters, in order; words that belong together as one."""
        start = end = -1
        for word in self._words(line):
            if end >= 0 and line[end : word[0]] in _JOINS:
                end = word[1]
                continue
            if end >= 0:
                yield start, end
            start, end = word
        if end >= 0:
            yield start, end

    def _words(self, line: str) -> list[Place]:
        """Return the words that are part of a name, in order."""
        if not line or line.isspace():
            return []
        whole = self._tokenizer.encode(line)
        return sorted({word for part in (whole, *whole.overflowing) for word in self._words_of(part)})

    def _words_of(self, part: Any) -> Iterator[Place]:
        with torch.inference_mode():
            logits = self._model(
                input_ids=torch.tensor([part.ids]), attention_mask=torch.tensor([part.attention_mask])
            ).logits[0]
        # (tokens,): how likely each token is part of a name of any wanted type.
        chances = logits.softmax(-1)[:, self._wanted].sum(-1).tolist()
        tokens = [item for item in zip(part.word_ids, part.offsets, chances, strict=True) if item[0] is not None]
        for _, group in groupby(tokens, key=lambda item: item[0]):
            pieces = list(group)
            if max(chance for _, _, chance in pieces) >= self._least:
                yield pieces[0][1][0], pieces[-1][1][1]
