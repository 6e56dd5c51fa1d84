"""What comes of a GGUF file is the model that the library reads in it, and its tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

from safetensors.torch import load_file  # noqa: E402

from operators.core.errors import DataError  # noqa: E402
from operators.core.models.gguf import convert  # noqa: E402
from tests.core.training.tiny import DECODER, byte_tokenizer  # noqa: E402


def write_gguf(path: Path, *, architecture: str = "llama", pre: str = "smollm", tensor: str = "") -> None:
    """Write a tiny model of random weights, some of them in 8 bits.

    Args:
        path: Where to.
        architecture: What it says to be.
        pre: How it says that texts are taken apart.
        tensor: The name of one more tensor.
    """
    writer: Any = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(DECODER["max_position_embeddings"])
    writer.add_embedding_length(DECODER["hidden_size"])
    writer.add_block_count(DECODER["num_hidden_layers"])
    writer.add_feed_forward_length(DECODER["intermediate_size"])
    writer.add_head_count(DECODER["num_attention_heads"])
    writer.add_head_count_kv(DECODER["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(DECODER["rms_norm_eps"])
    writer.add_rope_freq_base(DECODER["rope_theta"])
    vocabulary = byte_tokenizer().get_vocab()
    tokens = sorted(vocabulary, key=lambda token: vocabulary[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*tokens, "ab"])
    writer.add_token_types([1] * 256 + [3, 1])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(DECODER["bos_token_id"])
    writer.add_eos_token_id(DECODER["eos_token_id"])
    _add_tensors(writer, [tensor] if tensor else [])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tensors(writer: Any, more: list[str]) -> None:
    draw = torch.Generator().manual_seed(0)
    width, inner, half = DECODER["hidden_size"], DECODER["intermediate_size"], DECODER["hidden_size"] // 2
    shapes = {"attn_norm": (width,), "ffn_norm": (width,), "attn_q": (width, width), "attn_output": (width, width)}
    shapes |= {"attn_k": (half, width), "attn_v": (half, width)}
    shapes |= {"ffn_gate": (inner, width), "ffn_up": (inner, width), "ffn_down": (width, inner)}
    named = {f"blk.{layer}.{name}": shape for layer in range(2) for name, shape in shapes.items()}
    named |= {"token_embd": (DECODER["vocab_size"] + 1, width), "output_norm": (width,)}
    for name, shape in (named | dict.fromkeys(more, (width,))).items():
        values = torch.randn(shape, generator=draw).numpy()
        if len(shape) > 1:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(f"{name}.weight", gguf.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(f"{name}.weight", values)


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    """A folder with what came of a file, `model.gguf` beside it."""
    write_gguf(tmp_path / "model.gguf")
    (tmp_path / "made").mkdir()
    convert(tmp_path / "model.gguf", tmp_path / "made")
    return tmp_path / "made"


def test_weights_are_those_that_the_library_reads(converted: Path) -> None:
    """Each under the library's name, rows in its order, and what was in 8 bits in half precision."""
    from transformers import LlamaForCausalLM

    theirs = LlamaForCausalLM.from_pretrained(converted.parent, gguf_file="model.gguf", dtype=torch.float32)
    again = LlamaForCausalLM.from_pretrained(converted, dtype=torch.float32)
    own = load_file(converted / "model.safetensors")

    assert {name: one.dtype for name, one in own.items()} == {
        name: torch.float32 if one.ndim == 1 else torch.float16
        for name, one in theirs.state_dict().items()
        if name != "lm_head.weight"
    }
    assert all(theirs.state_dict()[name].half().equal(one.half()) for name, one in own.items())
    assert all(again.state_dict()[name].equal(one.float()) for name, one in own.items())


def test_its_tokens_are_those_that_the_file_lists(converted: Path) -> None:
    """Merged as it says, digits apart, the end whole; and a second conversion gives the same bytes."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(converted / "tokenizer.json"))
    texts = ["ab 12", "c\n\n  d", "é<end>"]
    (converted.parent / "again").mkdir()
    convert(converted.parent / "model.gguf", converted.parent / "again")

    assert [tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) for text in texts] == texts
    assert tokenizer.encode("ab 12").tokens == ["ab", "Ġ", "1", "2"]
    assert tokenizer.encode("é<end>").ids[-1] == json.loads((converted / "config.json").read_text())["eos_token_id"]
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (converted / name).read_bytes() == (converted.parent / "again" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "word"),
    [({"architecture": "gpt2"}, "gpt2"), ({"pre": "qwen2"}, "qwen2"), ({"tensor": "blk.0.ffn_exps"}, "ffn_exps")],
)
def test_a_model_of_another_kind_is_refused(tmp_path: Path, changes: dict[str, str], word: str) -> None:
    """By what it is, and nothing is left."""
    write_gguf(tmp_path / "model.gguf", **changes)
    (tmp_path / "made").mkdir()

    with pytest.raises(DataError, match=word):
        convert(tmp_path / "model.gguf", tmp_path / "made")
    assert not list((tmp_path / "made").iterdir())


def test_what_is_no_gguf_file_is_refused(tmp_path: Path) -> None:
    """Whatever it is called."""
    (tmp_path / "model.gguf").write_bytes(b"GGML" + bytes(100))

    with pytest.raises(DataError, match="no GGUF file"):
        convert(tmp_path / "model.gguf", tmp_path)
