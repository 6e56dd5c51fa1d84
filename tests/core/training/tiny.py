"""A base model of 30,000 parameters and a data set of short texts, real in everything but size."""

from __future__ import annotations

import datetime
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from operators.core.manifest import Made, StageCall, sha256_of_file
from operators.core.models.adopt import adopt_model
from operators.core.models.spec import DECODERS, BaseModelSpec
from operators.core.progress import no_progress
from operators.core.storage import Store

WORDS = [f"w{i}" for i in range(60)]
CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 64,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": len(WORDS) + 4,
}


DECODER: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "num_hidden_layers": 2,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    # Embeddings of the usual size are no table that so narrow a state could tell tokens apart by.
    "initializer_range": 0.2,
    "tie_word_embeddings": True,
    "vocab_size": 257,
    "bos_token_id": 256,
    "eos_token_id": 256,
}
"""One token a byte, and an end."""


def write_base(folder: Path, *, poisoned: bool = False, has_mask: bool = False) -> BaseModelSpec:
    """Write a base model's files and return the spec that pins them.

    Args:
        folder: Where to.
        poisoned: With weights that are no numbers.
        has_mask: With a mask among its tokens.
    """
    import torch
    from safetensors.torch import save_file

    from operators.core.models.encoder import build_model

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *(["[MASK]"] if has_mask else [])]
    (folder / "config.json").write_text(json.dumps(CONFIG | {"vocab_size": len(words)}))
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    weights = build_model(folder, "text_classification", 2).encoder.state_dict()
    if poisoned:
        next(iter(weights.values()))[:] = float("nan")
    save_file(weights, folder / "model.safetensors")
    names = ("config.json", "model.safetensors", "tokenizer.json")
    return BaseModelSpec(name="tiny", digests=tuple((name, sha256_of_file(folder / name)) for name in names))


def byte_tokenizer() -> Tokenizer:
    """Return one with a token for each byte, and an end that it does not write."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate([*alphabet, "<end>"])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def write_decoder(folder: Path, *, tied: bool = True) -> BaseModelSpec:
    """Write a causal language model's files, in half precision as base models have it, and return their spec.

    Args:
        folder: Where to.
        tied: Whether its head is the table of embeddings.
    """
    import torch
    from safetensors.torch import save_file

    from operators.core.models.causal import build_causal_model

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(DECODER | {"tie_word_embeddings": tied}))
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    model = build_causal_model(folder)
    weights = {f"model.{name}": one.half() for name, one in model.encoder.state_dict().items()}
    if not tied:
        weights["lm_head.weight"] = model.head.weight.half()
    save_file(weights, folder / "model.safetensors")
    names = ("config.json", "model.safetensors", "tokenizer.json")
    digests = tuple((name, sha256_of_file(folder / name)) for name in names)
    return BaseModelSpec(name="tiny-decoder", digests=digests, architectures=DECODERS)


def adopt_tiny(store: Store, folder: Path, *, poisoned: bool = False, has_mask: bool = False) -> str:
    """Return the digest of a tiny base model's manifest, of files as `write_base` has them."""
    return adopt_model(store, folder, write_base(folder, poisoned=poisoned, has_mask=has_mask), no_progress).digest


def publish_tiny(store: Store, *, train: int = 400, test: int = 40) -> str:
    """Return the digest of a data set whose label says which half of the vocabulary most words are from."""
    files = tuple(
        store.put_bytes(f"{split}/00000.parquet", _shard(split, rows), rows=rows)
        for split, rows in (("train", train), ("test", test))
    )
    facts = {"labels": ["high", "low"], "splits": {"train": train, "test": test}}
    call = StageCall(stage="publish_dataset", revision=1, spec={"rows": [train, test]})
    return store.once(call, lambda: Made(files=files, facts=facts)).digest


def _shard(split: str, rows: int) -> bytes:
    labels = ["high" if i % 2 else "low" for i in range(rows)]
    texts = [
        " ".join(WORDS[(i * 7 + j * 11) % 30 + (30 if label == "high" else 0)] for j in range(3 + i % 20))
        for i, label in enumerate(labels)
    ]
    table = pa.table(
        {
            "id": [f"{split}-{i}" for i in range(rows)],
            "day": [datetime.date(2002, 9, 26)] * rows,
            "text": texts,
            "label": labels,
        }
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()
