"""A base model learns a data set's words by processes of its own, and what comes of it is a base model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from operators.core.finetuning.language_spec import PretrainingSpec  # noqa: E402
from operators.core.models.encoder import load_base  # noqa: E402
from operators.core.training.spec import LoopSpec  # noqa: E402
from tests.core.finetuning.test_fine_tune import CPU, Place  # noqa: E402
from tests.core.training.gang import Kill, make_masked, train, train_until_killed  # noqa: E402
from tests.core.training.tiny import WORDS, adopt_tiny  # noqa: E402

BOUND = 1e-5


def _spec(ranks: int = 1, **changes: Any) -> LoopSpec:
    spec = PretrainingSpec(
        batch_size=16, max_length=32, masked_share=0.3, held_out=0.25, encoder_rate=5e-3, precision="fp32", ranks=ranks
    )
    return replace(spec, **{"dropout": 0.0, **changes}).resolve(CPU)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"task": "text_classification"}, "task"),
        ({"masked_share": 0.0}, "masked_share"),
        ({"masked_share": 0.9}, "masked_share"),
        ({"held_out": 0.0}, "held_out"),
        ({"fsdp_degree": 2}, "fsdp_degree"),
        ({"word_drop": 0.1}, "word_drop"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_a_wrong_value_is_refused_by_name(changes: dict[str, Any], word: str) -> None:
    """The ranges of a training's spec hold, and some more."""
    with pytest.raises(ValueError, match=word):
        PretrainingSpec(**changes)


@pytest.mark.integration
def test_ranks_learn_the_words_that_one_process_learns(tmp_path: Path) -> None:
    """Two ranks and one: each step's mean loss of a token within the bound, and held-out rows' too."""
    alone, gang = (train(tmp_path / str(ranks), _spec(ranks, epochs=2), make=make_masked) for ranks in (1, 2))
    held_out = [one.position["held_out_losses"] for one in (alone, gang)]

    assert gang.distance(alone) < BOUND
    assert max(abs(left - right) for left, right in zip(*held_out, strict=True)) < BOUND


@pytest.mark.integration
def test_a_pre_training_that_was_cut_off_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Killed within its second epoch, whose rows have other words hidden than the first one's."""
    spec = _spec(2, epochs=3, dropout=0.1)
    through = train(tmp_path / "through", spec, make=make_masked)
    train_until_killed(tmp_path / "cut", spec, Kill(step=5, at="written"), make=make_masked)
    resumed = train(tmp_path / "cut", spec, make=make_masked)

    assert resumed.is_same(through)
    assert resumed.position == through.position


@pytest.mark.integration
def test_what_comes_of_it_is_taken_as_a_base_model(tmp_path: Path) -> None:
    """By the task's own way: facts say how well held-out words are told, and a classifier begins with its encoder."""
    place = Place(tmp_path)
    place.base_model = adopt_tiny(place.store, tmp_path / "with_mask", has_mask=True)
    spec = PretrainingSpec(
        epochs=4, batch_size=4, max_length=32, encoder_rate=5e-3, frozen_embeddings=False, ranks=1, precision="fp32"
    )
    result = place.fine_tune(spec=spec)
    facts = result.manifest.facts
    place.store.fetch_all(result.manifest, tmp_path / "made")
    before, after = (
        load_base(folder, "text_classification", 2, dropout=0.0, seed=0).encoder.state_dict()
        for folder in (tmp_path / "with_mask", tmp_path / "made")
    )

    assert (result.manifest.stage, facts["architecture"]) == ("continue_pretraining", "BertForMaskedLM")
    assert 1.0 < facts["held_out_perplexity"] < len(WORDS) - 10
    assert not after["encoder.layer.0.attention.self.query.weight"].equal(
        before["encoder.layer.0.attention.self.query.weight"]
    )
    assert place.fine_tune(spec=spec).digest == result.digest
