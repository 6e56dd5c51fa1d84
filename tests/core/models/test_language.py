"""A masked language model is what the library's own is, to the bit of its file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from operators.core.models.encoder import load_base, read_config  # noqa: E402
from operators.core.models.language import (  # noqa: E402
    MaskedLanguageModel,
    build_language_model,
    load_language_model,
    save_language_model,
)
from tests.core.training.tiny import CONFIG  # noqa: E402


@pytest.fixture
def model(tmp_path: Path) -> MaskedLanguageModel:
    """One drawn at random, saved in a folder."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(0)
    one = build_language_model(tmp_path / "base").eval()
    torch.nn.init.normal_(one.head.bias)
    (tmp_path / "saved").mkdir()
    save_language_model(dict(one.state_dict()), tmp_path / "base", tmp_path / "saved")
    return one


def test_its_logits_are_those_of_the_library_s_model(model: MaskedLanguageModel, tmp_path: Path) -> None:
    """Read from the folder by transformers, at the places asked for; padding counts for nothing."""
    from transformers import BertForMaskedLM

    theirs = BertForMaskedLM.from_pretrained(tmp_path / "saved", attn_implementation="eager").eval()
    ids, mask = torch.randint(4, 64, (3, 9)), torch.ones(3, 9, dtype=torch.long)
    mask[1, 5:] = 0
    asked = (torch.rand(3, 9) < 0.4) & (mask > 0)
    with torch.no_grad():
        logits = model(ids, mask, asked)
        expected = theirs(input_ids=ids, attention_mask=mask).logits[asked]

    assert logits.shape == (int(asked.sum()), CONFIG["vocab_size"])
    assert torch.allclose(logits, expected, atol=1e-5)


def test_its_file_is_a_base_model_with_a_head(model: MaskedLanguageModel, tmp_path: Path) -> None:
    """Pre-training goes on with encoder and head; a classifier takes the encoder and a head of its own."""
    saved = tmp_path / "saved"
    again = load_language_model(saved, dropout=0.0, seed=1).state_dict()
    classifier = load_base(saved, "text_classification", 2, dropout=0.0, seed=0).state_dict()

    assert read_config(saved)["architectures"] == ["BertForMaskedLM"]
    assert all(again[name].equal(one) for name, one in model.state_dict().items())
    assert all(classifier[name].equal(one) for name, one in model.state_dict().items() if name.startswith("encoder."))


def test_an_encoder_without_a_head_gets_one_drawn_from_the_seed(model: MaskedLanguageModel, tmp_path: Path) -> None:
    """The same from the same seed, another from another, and begun with the encoder's own weights."""
    from safetensors.torch import load_file, save_file

    weights = load_file(tmp_path / "saved" / "model.safetensors")
    bare = {name.removeprefix("bert."): one for name, one in weights.items() if name.startswith("bert.")}
    save_file(bare, tmp_path / "base" / "model.safetensors")
    heads = [load_language_model(tmp_path / "base", dropout=0.0, seed=seed) for seed in (0, 0, 1)]
    drawn = [one.head.transform.dense.weight for one in heads]

    assert drawn[0].equal(drawn[1]) and not drawn[0].equal(drawn[2])
    assert heads[0].encoder.state_dict().keys() == model.encoder.state_dict().keys()
    assert all(heads[0].encoder.state_dict()[name].equal(one) for name, one in model.encoder.state_dict().items())
