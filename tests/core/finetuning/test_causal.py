"""A causal language model goes on learning from texts by processes of its own, and is measured beside its base."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from operators.core.errors import DataError  # noqa: E402
from operators.core.evaluation.language import evaluate_language  # noqa: E402
from operators.core.evaluation.spec import EvaluationSpec  # noqa: E402
from operators.core.finetuning.language_spec import CausalTrainingSpec  # noqa: E402
from operators.core.models.adopt import adopt_model  # noqa: E402
from operators.core.progress import no_progress  # noqa: E402
from operators.core.training.spec import AdapterSpec, LoopSpec  # noqa: E402
from tests.core.finetuning.test_fine_tune import CPU, Place  # noqa: E402
from tests.core.training.gang import Kill, make_causal, train, train_until_killed  # noqa: E402
from tests.core.training.tiny import write_decoder  # noqa: E402

BOUND = 1e-5
SPEC = CausalTrainingSpec(
    batch_size=16,
    micro_batch_size=None,
    max_length=32,
    held_out=0.25,
    encoder_rate=1e-2,
    precision="fp32",
    ranks=1,
    adapter=AdapterSpec(targets=("query", "value", "dense")),
)


def _spec(ranks: int = 1, **changes: Any) -> LoopSpec:
    return replace(SPEC, ranks=ranks, **changes).resolve(CPU)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"task": "text_classification"}, "task"),
        ({"answers_after": ""}, "answers_after"),
        ({"dropout": 0.1}, r"adapter\.dropout"),
        ({"frozen_embeddings": False, "adapter": None}, "frozen_embeddings"),
        ({"fsdp_degree": 2}, "fsdp_degree"),
        ({"word_drop": 0.1}, "word_drop"),
    ],
)
def test_a_wrong_value_is_refused_by_name(changes: dict[str, Any], word: str) -> None:
    """The ranges of a training's spec hold, and some more."""
    with pytest.raises(ValueError, match=word):
        CausalTrainingSpec(**changes)


@pytest.mark.integration
@pytest.mark.parametrize("adapter", [SPEC.adapter, None], ids=["lora", "whole"])
def test_ranks_learn_what_one_process_learns(tmp_path: Path, adapter: AdapterSpec | None) -> None:
    """Two ranks in micro-batches, and one: each step's mean loss of a token within the bound; it falls."""
    alone, gang = (
        train(
            tmp_path / str(ranks),
            _spec(ranks, epochs=2, adapter=adapter, micro_batch_size=4 if ranks > 1 else None),
            make=make_causal,
        )
        for ranks in (1, 2)
    )

    assert gang.distance(alone) < BOUND
    assert min(alone.position["held_out_losses"]) < alone.losses[0] - 0.05


@pytest.mark.integration
def test_a_training_that_was_cut_off_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Killed within its second epoch; adapters drop some of what goes into them."""
    adapter = replace(SPEC.adapter or AdapterSpec(), dropout=0.1)
    spec = _spec(2, epochs=3, adapter=adapter)
    through = train(tmp_path / "through", spec, make=make_causal)
    train_until_killed(tmp_path / "cut", spec, Kill(step=5, at="written"), make=make_causal)
    resumed = train(tmp_path / "cut", spec, make=make_causal)

    assert resumed.is_same(through)
    assert resumed.position == through.position


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A store with a data set of texts and a causal language model to begin with."""
    folder = tmp_path_factory.mktemp("place")
    one = Place(folder / "place")
    spec = write_decoder(folder / "decoder")
    one.base_model = adopt_model(one.store, folder / "decoder", spec, no_progress).digest
    return one


def _evaluated(place: Place, model: str) -> dict[str, Any]:
    return evaluate_language(
        place.store,
        EvaluationSpec(batch_size=8),
        model=model,
        dataset=place.dataset,
        base_model=place.base_model,
        threads=1,
        progress=no_progress,
    ).manifest.facts


@pytest.mark.integration
def test_texts_are_learnt_and_told_better_than_by_the_base_model(place: Place, tmp_path: Path) -> None:
    """From adoption to evaluation: the model has its base's files, and a lower perplexity on rows that it never saw."""
    spec = replace(SPEC, epochs=6, batch_size=4, held_out=0.1)
    result = place.fine_tune(spec=spec)
    facts = _evaluated(place, result.digest)
    place.store.fetch_all(result.manifest, tmp_path / "made")
    place.store.fetch_all(place.store.manifest(place.base_model), tmp_path / "base")
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("base", "made"))

    assert result.manifest.facts["held_out_perplexity"] < 257 / 2
    assert facts["perplexity"] < facts["baseline_perplexity"] / 2
    assert 0 < facts["gain_low"] < facts["gain"] < facts["gain_high"]
    assert {name for name, one in after.items() if not one.equal(before[name])} == {
        f"model.layers.{layer}.{name}.weight"
        for layer in range(2)
        for name in (
            "self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj",
        )
    }  # fmt: skip
    assert place.fine_tune(spec=spec).digest == result.digest


@pytest.mark.integration
def test_only_answers_are_asked_for(place: Place) -> None:
    """Behind the first blank of a text, by training and evaluation alike."""
    result = place.fine_tune(spec=replace(SPEC, answers_after=" "))
    facts = _evaluated(place, result.digest)
    test = place.store.manifest(place.dataset).file("test/00000.parquet")
    texts = pq.read_table(io.BytesIO(place.store.read(test)))["text"].to_pylist()
    # A token a character, and the end where it fits.
    answers = [max(0, min(len(text) + 1, 32) - text.index(" ") - 1) for text in texts]

    assert result.manifest.facts["answers_after"] == " "
    assert facts["tokens"] == sum(answers)


@pytest.mark.integration
def test_texts_without_an_answer_are_refused(place: Place) -> None:
    """Rather than trained on for nothing; the message says what was looked for."""
    with pytest.raises(DataError, match="'Answer:'"):
        place.fine_tune(spec=replace(SPEC, answers_after="Answer:"))
