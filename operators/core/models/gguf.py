"""From a GGUF file to a model folder that can be pinned and adopted: safetensors, a configuration, a tokenizer.

What is written follows from the file alone, byte for byte, so that digests of it can be pinned. Weights that were
stored in a few bits become what these stand for, in half precision; no bit that was lost comes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save_file

from operators.core.errors import DataError
from operators.core.manifest import canonical

_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""What a tensor's module is called in transformers' checkpoints, by its name in a GGUF file."""
_DIGITS = {"type": "Digits", "individual_digits": True}
_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_PARTED_BY: dict[str, list[dict[str, Any]]] = {"smollm": [_DIGITS, _BYTES], "gpt-2": [_BYTES]}
"""What a text is taken apart by before tokens are looked for, by `tokenizer.ggml.pre`."""
_SPECIAL, _ADDED = 3, 4
"""Types of token that no merge makes."""


def convert(path: Path, folder: Path) -> None:
    """Leave `config.json`, `model.safetensors` and `tokenizer.json` of a Llama-like model in a folder.

    Args:
        path: The GGUF file.
        folder: Is there, and empty.

    Raises:
        DataError: The file is unreadable, or holds a model or a tokenizer of another kind.
    """
    import gguf

    try:
        reader: Any = gguf.GGUFReader(path)
        fields = {name: one.contents() for name, one in reader.fields.items()}
        heads = _heads(fields)
        weights = {}
        for tensor in reader.tensors:
            name, weight = _weight(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type), heads)
            weights[name] = weight if tensor.tensor_type == gguf.GGMLQuantizationType.F32 else weight.astype(np.float16)
        config, tokenizer = _config(fields, weights), _tokenizer(fields)
    except (KeyError, ValueError, IndexError, OSError, NotImplementedError) as error:
        raise DataError(f"{path.name} is no GGUF file of a model that is known: {error!r}") from error
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_bytes(canonical(config))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))


def _heads(fields: Mapping[str, Any]) -> dict[str, int]:
    """Return how many heads the rows of a projection belong to, by its name.

    Raises:
        DataError: The file is of another architecture.
    """
    if (found := fields["general.architecture"]) != "llama":
        raise DataError(f"the GGUF file is of the architecture {found!r}: only 'llama' is known")
    queries = fields["llama.attention.head_count"]
    return {"attn_q": queries, "attn_k": fields.get("llama.attention.head_count_kv", queries)}


def _weight(name: str, weight: npt.NDArray[np.float32], heads: Mapping[str, int]) -> tuple[str, npt.NDArray[Any]]:
    """Return a tensor by transformers' name, with its rows in the order that this has them.

    GGUF has the two halves of each head's rotated dimensions interleaved.
    """
    found = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.weight", name)
    if found is None or found[2] not in _NAMES:
        raise DataError(f"the GGUF file has a tensor {name!r}, which no Llama model has")
    if found[2] in heads:
        parts = weight.reshape(heads[found[2]], -1, 2, weight.shape[1])
        weight = np.ascontiguousarray(parts.swapaxes(1, 2).reshape(weight.shape))
    layer = "" if found[1] is None else f"model.layers.{found[1]}."
    return f"{layer}{_NAMES[found[2]]}.weight", weight


def _config(fields: Mapping[str, Any], weights: Mapping[str, Any]) -> dict[str, Any]:
    width, queries = fields["llama.embedding_length"], fields["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_size": width,
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": queries,
        "num_key_value_heads": fields.get("llama.attention.head_count_kv", queries),
        "head_dim": fields.get("llama.rope.dimension_count", width // queries),
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": _rounded(fields["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": _rounded(fields.get("llama.rope.freq_base", 10_000.0)),
        "tie_word_embeddings": "lm_head.weight" not in weights,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
    }


def _rounded(number: float) -> float:
    """Return what a number was before it was stored in single precision."""
    return float(f"{number:.7g}")


def _tokenizer(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of a `tokenizer.json`.

    Raises:
        DataError: Texts are taken apart in a way that is not known here.
    """
    model, way = fields["tokenizer.ggml.model"], fields["tokenizer.ggml.pre"]
    if model != "gpt2" or way not in _PARTED_BY or fields.get("tokenizer.ggml.add_bos_token"):
        raise DataError(f"the GGUF file's tokenizer is {model!r}, {way!r}: known are {sorted(_PARTED_BY)} of 'gpt2'")
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    apart = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **apart, "special": kind == _SPECIAL}
            for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind in (_SPECIAL, _ADDED)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": _PARTED_BY[way]},
        "post_processor": _BYTES,
        "decoder": _BYTES,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ", 1) for merge in fields["tokenizer.ggml.merges"]],
        },
    }
