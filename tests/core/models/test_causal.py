"""A causal language model is what the library's own is, and keeps what it was stored as."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402

from operators.core.errors import DataError  # noqa: E402
from operators.core.models.causal import (  # noqa: E402
    end_of_text,
    load_causal_model,
    save_causal_model,
)
from tests.core.training.tiny import write_base, write_decoder  # noqa: E402


@pytest.mark.parametrize("tied", [True, False])
def test_its_logits_are_those_of_the_library_s_model(tmp_path: Path, tied: bool) -> None:
    """Whether its head is the table of embeddings or not; padding counts for nothing."""
    from transformers import LlamaForCausalLM

    write_decoder(tmp_path / "base", tied=tied)
    theirs = LlamaForCausalLM.from_pretrained(tmp_path / "base", dtype=torch.float32).eval()
    own = load_causal_model(tmp_path / "base").eval()
    ids, mask = torch.randint(0, 256, (3, 9)), torch.ones(3, 9, dtype=torch.long)
    mask[1, 5:] = 0
    asked = (torch.rand(3, 9) < 0.5) & (mask > 0)
    with torch.no_grad():
        logits = own(ids, mask, asked)
        expected = theirs(input_ids=ids, attention_mask=mask).logits[asked]

    assert torch.allclose(logits, expected, atol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_what_was_not_trained_is_saved_as_it_was_stored(tmp_path: Path, tied: bool) -> None:
    """The same tensors in the same precision, so that a trained model can take its base's place."""
    write_decoder(tmp_path / "base", tied=tied)
    (tmp_path / "made").mkdir()
    save_causal_model(dict(load_causal_model(tmp_path / "base").state_dict()), tmp_path / "base", tmp_path / "made")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "made"))

    assert before.keys() == after.keys()
    assert all(after[name].dtype == one.dtype and after[name].equal(one) for name, one in before.items())


def test_an_encoder_and_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """By name, before anything is trained."""
    write_base(tmp_path / "encoder")
    write_decoder(tmp_path / "short")
    weights = load_file(tmp_path / "short" / "model.safetensors")
    del weights["model.norm.weight"]
    save_file(weights, tmp_path / "short" / "model.safetensors")

    with pytest.raises(DataError, match="architectures"):
        end_of_text(tmp_path / "encoder")
    with pytest.raises(DataError, match=r"does not fit config\.json"):
        load_causal_model(tmp_path / "short")
