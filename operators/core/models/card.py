"""What one must know to run a model's weights: the content of its `classifier.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from operators.core.errors import DataError
from operators.core.labels import TASKS, Task
from operators.core.models.tags import num_tags

CARD_FILE = "classifier.json"
_LEAST_NAMES: dict[Task, int] = {"text_classification": 2, "token_classification": 1}
"""With fewer there is nothing to tell apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassifierCard:
    """What one must know to run a classifier's weights."""

    format: Literal["safetensors", "onnx"]
    labels: tuple[str, ...]
    """In the order of the logits; of tokens those of the tags, see `models.tags`."""
    max_length: int
    """Tokens kept of a text, special ones included."""
    task: Task = "text_classification"
    pooling: str = "mean"
    """Of the token states, where a text has one answer."""
    pad_id: int = 0

    @property
    def outputs(self) -> int:
        """Logits of one answer."""
        return len(self.labels) if self.task == "text_classification" else num_tags(len(self.labels))

    def to_json(self) -> str:
        """Return the card as stored, the same for equal cards."""
        return json.dumps(asdict(self), sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_folder(cls, folder: Path) -> ClassifierCard:
        """Read the card of a model folder.

        Raises:
            DataError: It is missing or not such a card.
        """
        try:
            document = json.loads((folder / CARD_FILE).read_text())
            card = cls(**{**document, "labels": tuple(document["labels"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise DataError(f"classifier.json of the model is missing or unreadable: {error}") from error
        is_known = card.format in ("safetensors", "onnx") and card.task in TASKS and card.pooling == "mean"
        if not is_known or len(card.labels) < _LEAST_NAMES[card.task]:
            raise DataError(f"classifier.json asks for what this release cannot run: {card}")
        return card
