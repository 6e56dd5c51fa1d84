"""A causal language model: a transformer that looks back only, and tells of each place which token comes next.

Its head is the table of embeddings, or a matrix of its own; neither is ever trained. Shapes: B rows, T tokens, N places
asked, D hidden, V tokens of the vocabulary.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from operators.core.errors import DataError
from operators.core.models.encoder import EncoderModel, Layout, read_config
from operators.core.models.spec import DECODERS

_ENCODER, _HEAD = "model.", "lm_head."
"""What the library's own checkpoints name the two parts by."""


class CausalLanguageModel(EncoderModel):
    """Logits of what comes next at some places of a text."""

    layout = Layout(
        "embed_tokens",
        "layers",
        {
            "query": ("q_proj",),
            "key": ("k_proj",),
            "value": ("v_proj",),
            "dense": ("o_proj", "gate_proj", "up_proj", "down_proj"),
        },
    )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (N, V), of the places where `asked`, shape (B, T), is true, row by row."""
        return cast(torch.Tensor, self.head(self.states(input_ids, attention_mask)[asked]))


def end_of_text(folder: Path) -> int:
    """Return the token that ends a text, by a model folder's configuration.

    Raises:
        DataError: It names none, or several.
    """
    found = read_config(folder, DECODERS).get("eos_token_id")
    if type(found) is not int:
        raise DataError(f"config.json has eos_token_id {found!r}: a model that ends texts needs one")
    return found


def build_causal_model(folder: Path) -> CausalLanguageModel:
    """Return a model of the folder's architecture with weights still random.

    Raises:
        DataError: The architecture is not allowed.
    """
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaModel

    # Nothing is generated, so nothing is kept for it; dropping attention would take the slow kernel.
    stated = read_config(folder, DECODERS) | {"use_cache": False, "attention_dropout": 0.0}
    config: Any = LlamaConfig.from_dict(stated)
    decoder = LlamaModel(config)
    decoder.set_attn_implementation("eager")
    head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
    if config.tie_word_embeddings:
        head.weight = decoder.embed_tokens.weight
    return CausalLanguageModel(decoder, head.requires_grad_(False))


def load_causal_model(folder: Path) -> CausalLanguageModel:
    """Return a base model, or one that was trained from it, in single precision.

    Raises:
        DataError: The weights do not fit the configuration.
    """
    model = build_causal_model(folder)
    weights = load_file(folder / "model.safetensors")
    try:
        model.encoder.load_state_dict(_named(weights, _ENCODER), strict=True)
        model.head.load_state_dict(_named(weights, _HEAD) or model.head.state_dict(), strict=True)
    except RuntimeError as error:
        raise DataError(f"model.safetensors does not fit config.json: {error}") from error
    return model


def save_causal_model(weights: dict[str, torch.Tensor], base: Path, folder: Path) -> None:
    """Leave a model's weights and configuration in a folder as the library's own checkpoints have them.

    Each weight has the type that it has in the base model's file: what half precision held needs no more.

    Args:
        weights: By the names of `CausalLanguageModel`.
        base: The folder of the model that it began as.
        folder: Where to.
    """
    before = load_file(base / "model.safetensors")
    prefixes = {"encoder": _ENCODER, "head": _HEAD}
    named = {prefixes[name.partition(".")[0]] + name.partition(".")[2]: one for name, one in weights.items()}
    # A head that is the table of embeddings is not there a second time.
    kept = {name: one.to(before[name].dtype) for name, one in named.items() if name in before}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(base / "config.json", folder / "config.json")


def _named(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)}
