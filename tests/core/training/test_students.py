"""What a student loses against its teacher: computed here once more, by numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from operators.core.labels import Task  # noqa: E402
from operators.core.models.encoder import EncoderModel, build_model  # noqa: E402
from operators.core.models.tags import UNTOLD  # noqa: E402
from operators.core.training.pieces import Piece  # noqa: E402
from operators.core.training.spec import GuidanceSpec  # noqa: E402
from operators.core.training.students import Guide  # noqa: E402
from tests.core.training.tiny import CONFIG  # noqa: E402

IDS = torch.tensor([[2, 9, 33, 4, 3], [2, 8, 3, 0, 0]])
MASK = (IDS != 0).long()
TAGS = torch.tensor([[UNTOLD, 1, 2, 0, UNTOLD], [UNTOLD, 0, UNTOLD, UNTOLD, UNTOLD]])
SPEC = GuidanceSpec(answers=0.7, temperature=3.0, states=0.5)


def model(folder: Path, layers: int, task: Task, seed: int) -> EncoderModel:
    (folder / "config.json").write_text(json.dumps(CONFIG | {"num_hidden_layers": layers}))
    torch.manual_seed(seed)
    return build_model(folder, task, 3).eval()


def probabilities(logits: np.ndarray, temperature: float) -> np.ndarray:
    powers = np.exp(logits / temperature)
    return powers / powers.sum(-1, keepdims=True)


def outputs(one: EncoderModel, layers: list[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return logits, and the states that layers, counted from 1, give."""
    with torch.no_grad():
        states = one.encoder(input_ids=IDS, attention_mask=MASK, output_hidden_states=True).hidden_states
        return one(IDS, MASK).numpy().astype(np.float64), [states[number].numpy() for number in layers]


@pytest.mark.parametrize("task", ["text_classification", "token_classification"])
def test_the_loss_is_that_of_labels_answers_and_states(tmp_path: Path, task: Task) -> None:
    """Two layers against four: the first learns of the second, the last of the last; padding counts nowhere."""
    teacher, student = model(tmp_path, 4, task, 0), model(tmp_path, 2, task, 1)
    labels = torch.tensor([2, 0]) if task == "text_classification" else TAGS
    found = Guide(SPEC, teacher, student).loss_of(student, Piece(IDS, MASK, labels), None).item()

    mine, my_states = outputs(student, [1, 2])
    right, their_states = outputs(teacher, [2, 4])
    if task == "token_classification":
        told = TAGS.numpy() != UNTOLD
        mine, right, chosen, answers = mine[told], right[told], TAGS.numpy()[told], told.sum(1)
    else:
        chosen, answers = labels.numpy(), np.ones(2)
    cross = -np.log(probabilities(mine, 1)[np.arange(len(mine)), chosen]).sum()
    wanted = probabilities(right, 3)
    divergence = 9 * (wanted * np.log(wanted / probabilities(mine, 3))).sum()
    mask = MASK.numpy()
    squares = np.mean([((a - b) ** 2).mean(-1) for a, b in zip(my_states, their_states, strict=True)], axis=0)
    apart = ((squares * mask).sum(1) / mask.sum(1) * answers).sum()
    assert found == pytest.approx(0.3 * cross + 0.7 * divergence + 0.5 * apart, rel=1e-4)


def test_gradients_reach_the_student_and_not_the_teacher(tmp_path: Path) -> None:
    """Every weight of a layer has one, also of the layers below the last."""
    teacher = model(tmp_path, 2, "text_classification", 0).requires_grad_(False)
    student = model(tmp_path, 2, "text_classification", 1)
    Guide(SPEC, teacher, student).loss_of(student, Piece(IDS, MASK, torch.tensor([2, 0])), None).backward()

    assert all(one.grad is None for one in teacher.parameters())
    assert student.encoder.get_submodule("encoder.layer.0.output.dense").weight.grad.abs().sum() > 0
