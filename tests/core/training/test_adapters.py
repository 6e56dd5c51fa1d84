"""Adapters are trained beside an encoder's frozen weights, by any mesh, and become part of them at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from operators.core.errors import DataError  # noqa: E402
from operators.core.models.encoder import EncoderModel, build_model  # noqa: E402
from operators.core.training.adapters import RankBudget, choose_trained, count, merge  # noqa: E402
from operators.core.training.job import TrainingJob  # noqa: E402
from operators.core.training.spec import AdapterKind, AdapterSpec, LoopSpec  # noqa: E402
from tests.core.training.gang import Kill, Trained, loop_spec, train, train_until_killed  # noqa: E402
from tests.core.training.tiny import CONFIG  # noqa: E402

KINDS: tuple[AdapterKind, ...] = ("lora", "adalora")
BOUND = 1e-5


def _model(folder: Path) -> EncoderModel:
    (folder / "config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(0)
    return build_model(folder, "text_classification", 2)


def _drawn(model: EncoderModel) -> None:
    """Give what is trained other values than it starts with."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3)


def _spec(kind: AdapterKind, ranks: int = 1, **changes: object) -> LoopSpec:
    adapter = AdapterSpec(kind=kind, lora_rank=4, targets=("query", "value", "dense"))
    return loop_spec(ranks, adapter=adapter, encoder_rate=1e-2, **changes)


def test_frozen_layers_are_the_lowest(tmp_path: Path) -> None:
    """Of two layers one is left, and the embeddings below it; the others and the head are trained."""
    model = _model(tmp_path)
    choose_trained(model, loop_spec(frozen_layers=1), 10)
    trained = {name for name, one in model.named_parameters() if one.requires_grad}
    every = {name for name, _ in model.named_parameters()}

    assert trained == {name for name in every if name.startswith(("encoder.encoder.layer.1.", "head."))}
    assert count(model) == (sum(model.get_parameter(name).numel() for name in trained), 21_378)


def test_more_frozen_layers_than_there_are_are_refused(tmp_path: Path) -> None:
    """The message says how many the encoder has."""
    with pytest.raises(DataError, match="frozen_layers=2 of an encoder of 2 layers"):
        choose_trained(_model(tmp_path), loop_spec(frozen_layers=2), 10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_gives_the_logits_of_its_adapters(kind: AdapterKind, tmp_path: Path) -> None:
    """It has the names and shapes of a model that never had any, and the frozen layer's adapters are none."""
    spec = _spec(kind, frozen_layers=1)
    plain, adapted = _model(tmp_path), _model(tmp_path)
    choose_trained(adapted, spec, 10)
    _drawn(adapted)
    weights = merge(_model(tmp_path), spec, adapted.state_dict())
    ids = torch.arange(12).view(2, 6)
    with torch.no_grad():
        expected = adapted.eval()(ids, torch.ones_like(ids))
        before = plain.eval()(ids, torch.ones_like(ids))
        plain.load_state_dict(weights, strict=True)
        logits = plain(ids, torch.ones_like(ids))
    same = [name for name, one in _model(tmp_path).state_dict().items() if weights[name].equal(one)]

    assert (logits - expected).abs().max() < BOUND < (logits - before).abs().max()
    assert all(name in same for name in weights if "layer.0." in name or "embeddings" in name)
    assert not any(name in same for name in weights if "layer.1" in name and "query.weight" in name)


def test_adalora_is_regularised_as_its_library_does(tmp_path: Path) -> None:
    """The gradients that are added are those of the term that peft adds to a loss."""
    model = _model(tmp_path)
    ranks = choose_trained(model, _spec("adalora"), 10)
    assert isinstance(ranks, RankBudget)
    _drawn(model)
    named = {name: one for name, one in model.named_parameters() if "lora_" in name}
    for parameter in named.values():
        parameter.grad = torch.zeros_like(parameter)
    ranks.regularise()
    bases = {name: one for name, one in named.items() if "lora_E" not in name}
    ranks._tuner.model = _Lossy(bases)
    expected = torch.autograd.grad(ranks._tuner().loss, list(bases.values()))

    assert all(
        torch.allclose(parameter.grad, one, atol=1e-6)
        for parameter, one in zip(bases.values(), expected, strict=True)
        if parameter.grad is not None
    )
    assert any(one.abs().max() > 1e-3 for one in expected)


class _Lossy(torch.nn.Module):  # type: ignore[misc]
    """A model that holds adapters by their names, and whose own loss is zero."""

    def __init__(self, named: dict[str, torch.nn.Parameter]) -> None:
        super().__init__()
        self.named = named

    def named_parameters(self, *_: object) -> list[tuple[str, torch.nn.Parameter]]:
        return list(self.named.items())

    def forward(self) -> object:
        return type("Output", (), {"loss": torch.zeros(())})()


def test_a_job_keeps_its_adapter(tmp_path: Path) -> None:
    """Read from its file it is the job that was written."""
    job = TrainingJob(run_key="0" * 64, inputs=(), loop=_spec("lora"), ranks=1, labels=("a", "b"), checkpoint_steps=5)
    job.save(tmp_path)

    assert TrainingJob.load(tmp_path) == job


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_peft_has_nothing_that_merges_a_prefix() -> None:
    """Which is why prefix tuning is not offered (ADR 0019): where that changes, so may the decision."""
    from peft import PrefixTuningConfig, TaskType, get_peft_model
    from transformers import BertConfig, BertForSequenceClassification

    model = BertForSequenceClassification(BertConfig(**{name: CONFIG[name] for name in CONFIG if name != "model_type"}))
    tuned = get_peft_model(model, PrefixTuningConfig(task_type=TaskType.SEQ_CLS, num_virtual_tokens=4))

    assert not hasattr(tuned, "merge_and_unload")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[AdapterKind, Trained]:
    """What one process trains."""
    return {kind: train(tmp_path_factory.mktemp(kind), _spec(kind)) for kind in KINDS}


@pytest.mark.integration
@pytest.mark.parametrize(("kind", "fsdp_degree"), [("lora", 1), ("lora", 2), ("adalora", 1)])
def test_ranks_train_the_adapters_that_one_process_trains(
    alone: dict[AdapterKind, Trained], tmp_path: Path, kind: AdapterKind, fsdp_degree: int
) -> None:
    """Replicas or parts, each step has the same loss within the bound, and weights follow; the loss falls."""
    gang = train(tmp_path, _spec(kind, 2, fsdp_degree=fsdp_degree))

    assert gang.distance(alone[kind]) < BOUND
    assert max((gang.weights[name] - one).abs().max().item() for name, one in alone[kind].weights.items()) < 1e-4
    assert gang.losses[-1] < gang.losses[0] - 0.05


@pytest.mark.integration
def test_an_adalora_that_was_cut_off_ends_with_the_same_bits(tmp_path: Path) -> None:
    """Killed between two cuts and again after the last, it goes on with what it knew of each row, to the same ranks."""
    spec = _spec("adalora", 2, epochs=4, dropout=0.1)
    through = train(tmp_path / "through", spec)
    for step in (5, 13):
        train_until_killed(tmp_path / "cut", spec, Kill(step=step, at="written"))
    resumed = train(tmp_path / "cut", spec)
    left = [one for name, one in resumed.weights.items() if "lora_E" in name]

    assert resumed.is_same(through)
    assert 6 * len(left) > 4 * len(left) >= sum(int(one.count_nonzero()) for one in left)
