"""A transformer encoder below the head of its pre-training: it tells what stands at places of a text.

Shapes: B rows, T tokens, N places asked for, D hidden, V tokens of the vocabulary.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from operators.core.models.encoder import PREFIX, EncoderModel, build_encoder, draw_head, give_encoder, read_config

ARCHITECTURE = "BertForMaskedLM"
_HEAD_PREFIX = "cls.predictions."


class LanguageHead(nn.Module):
    """Logits of tokens: a dense layer, and the table of embeddings that the encoder begins with."""

    def __init__(self, transform: nn.Module, vocabulary: int) -> None:
        super().__init__()
        self.transform = transform
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, states: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (N, V), from states, shape (N, D), and the table, shape (V, D)."""
        return nn.functional.linear(self.transform(states), table, self.bias)


class MaskedLanguageModel(EncoderModel):
    """Logits of what stands at some places of a text."""

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (N, V), of the places where `asked`, shape (B, T), is true, row by row.

        Only of these: over all places the vocabulary would take as long as a small encoder itself.
        """
        table = self.encoder.get_submodule("embeddings.word_embeddings").weight
        return cast(torch.Tensor, self.head(self.states(input_ids, attention_mask)[asked], table))


def build_language_model(folder: Path, *, dropout: float = 0.0) -> MaskedLanguageModel:
    """Return a model of the folder's architecture with weights still random.

    Args:
        folder: Holds `config.json`.
        dropout: Share of hidden activations dropped in training mode.
    """
    from transformers.models.bert.modeling_bert import BertPredictionHeadTransform

    encoder = build_encoder(folder, dropout)
    transform = BertPredictionHeadTransform(encoder.config)
    return MaskedLanguageModel(encoder, LanguageHead(transform, encoder.config.vocab_size))


def load_language_model(folder: Path, *, dropout: float, seed: int) -> MaskedLanguageModel:
    """Return a model with a base model's encoder, and its head where it has one, else one drawn from `seed`.

    Raises:
        DataError: The weights do not fit the configuration.
    """
    model = build_language_model(folder, dropout=dropout)
    weights = load_file(folder / "model.safetensors")
    give_encoder(model, weights)
    head = {name: weights.get(_HEAD_PREFIX + name) for name in model.head.state_dict()}
    if all(tensor is not None for tensor in head.values()):
        model.head.load_state_dict(head)
    else:
        draw_head(model.head, seed)
    return model


def save_language_model(weights: dict[str, torch.Tensor], base: Path, folder: Path) -> None:
    """Leave a model's weights and configuration in a folder as the library's own checkpoints have them.

    Args:
        weights: By the names of `MaskedLanguageModel`.
        base: The folder of the model that it began as.
        folder: Where to.
    """
    prefixes = {"encoder": PREFIX, "head": _HEAD_PREFIX}
    named = {}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        named[prefixes[part] + rest] = tensor
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    config = read_config(base) | {"architectures": [ARCHITECTURE]}
    (folder / "config.json").write_text(json.dumps(config, sort_keys=True, indent=1) + "\n")
