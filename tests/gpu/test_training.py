"""Fine-tuning on a GPU, through torchrun and NCCL: the same bits after a kill, the CPU's losses, a task learnt."""

from __future__ import annotations

import json
import signal
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from operators.core.finetuning.fine_tune import fine_tune
from operators.core.finetuning.spec import TrainingSpec
from operators.core.manifest import Manifest
from operators.core.models.adopt import adopt_model
from operators.core.models.classifier import load_classifier
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.progress import no_progress
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from operators.core.training.machine import this_machine
from operators.core.training.rows import read_rows
from operators.core.training.saving import Saver
from operators.core.training.spec import Machine
from operators.local.base_model import fetch_base_model
from tests.core.finetuning.test_fine_tune import CPU, SPEC, Place
from tests.core.training import banking
from tests.gpu.gemm import peak_flops
from tests.gpu.speed import BERT_BASE, MINILM, ROWS_PER_STEP, TOKENS, Shape, make_loop, one_rank

pytestmark = pytest.mark.gpu

ONE_GPU = replace(SPEC, ranks=1, dropout=0.0)
"""Without dropout, whose random numbers a GPU draws in its own way."""
VAR = Path(__file__).resolve().parents[2] / "var"
SEEDS = (0, 1, 2)
WARM_UP_STEPS = 10
"""The first steps load kernels and meet the other ranks."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A store with a tiny base model and data set."""
    return Place(tmp_path)


@pytest.fixture
def gpu(tmp_path: Path) -> Machine:
    """This machine with one of its GPUs."""
    return replace(this_machine(tmp_path), gpus=1)


def test_a_killed_rank_goes_on_to_the_same_bits(place: Place, tmp_path: Path, gpu: Machine) -> None:
    """SIGKILL the rank past a checkpoint: NCCL's gang starts again, and the weights are those of a run left alone."""
    spec = replace(ONE_GPU, precision="auto", dropout=0.1)
    killed: list[int] = []

    def kill_once(done: int, total: int, note: str) -> None:
        if done > 30 and not killed:
            victim = place.ranks()[-1]
            killed.append(victim.pid)
            victim.send_signal(signal.SIGKILL)

    result = place.fine_tune(kill_once, spec, gpu)
    alone = Place(tmp_path / "alone").fine_tune(no_progress, spec, gpu)

    assert len(killed) == 1
    assert result.manifest.identity == alone.manifest.identity
    assert result.manifest.spec["precision"] == gpu.precision


def test_single_precision_loses_what_the_cpu_loses(place: Place, gpu: Machine) -> None:
    """Each of the first 100 steps has the CPU's loss to 1e-3: the same rows in the same order, but for rounding."""
    on_cpu, on_gpu = (
        _losses(place.store, place.fine_tune(no_progress, ONE_GPU, machine).manifest) for machine in (CPU, gpu)
    )

    assert max(abs(left - right) for left, right in zip(on_cpu[:100], on_gpu[:100], strict=True)) < 1e-3


@pytest.mark.skipif(not banking.FOLDER.is_dir(), reason=banking.NEEDED)
@pytest.mark.timeout(1200)
def test_banking77_is_learnt(
    store: Store,
    storage_settings: StorageSettings,
    tmp_path: Path,
    gpu: Machine,
    say: Callable[[str], None],
) -> None:
    """Three epochs reach 0.93 on the test split, on average of three seeds; speed and use of the device are printed."""
    dataset = banking.publish_banking(store)
    folder = fetch_base_model(VAR / "downloads", VAR / "models")
    base_model = adopt_model(store, folder, ALL_MINILM_L6_V2, no_progress).digest
    found = []
    for seed in SEEDS:
        account: dict[str, Any] = {}
        spec = TrainingSpec(epochs=3, max_length=64, dropout=0.1, seed=seed)
        started = time.perf_counter()
        result = fine_tune(
            store,
            storage_settings,
            spec,
            dataset=dataset,
            base_model=base_model,
            scratch=tmp_path,
            progress=no_progress,
            account=account,
            machine=gpu,
        )
        found.append(_accuracy(store, result.manifest, dataset, tmp_path / f"model-{seed}"))
        say(
            f"seed {seed}, {result.manifest.spec['precision']}: accuracy {found[-1]:.4f}, "
            f"{account['examples_per_second']} examples/s in {account['training_seconds']} s of training, "
            f"{time.perf_counter() - started:.1f} s in all"
        )
    assert sum(found) / len(found) >= 0.93


@pytest.mark.parametrize("shape", [MINILM, BERT_BASE], ids=["minilm", "bert-base"])
def test_a_step_keeps_the_device_at_work(shape: Shape, tmp_path: Path, say: Callable[[str], None]) -> None:
    """The loop's own speed at full batches: tokens a second, and its share of what a matrix product reaches."""
    ends: list[float] = []
    with one_rank(tmp_path):
        loop = make_loop(shape, tmp_path)
        loop.run(Saver(lambda snapshot: None), lambda *_: ends.append(time.perf_counter()), lambda: False)
    step_seconds = statistics.median(later - earlier for earlier, later in pairwise(ends[WARM_UP_STEPS:]))
    peak = peak_flops(torch.bfloat16)
    tokens_per_second = ROWS_PER_STEP * TOKENS / step_seconds
    share = tokens_per_second * shape.flops_per_token / peak
    say(
        f"{shape.layers} layers of {shape.hidden}, {ROWS_PER_STEP} x {TOKENS} tokens a step, bf16: "
        f"{step_seconds * 1000:.1f} ms a step, {tokens_per_second:,.0f} tokens/s, {share:.1%} of the "
        f"{peak / 1e12:.0f} TFLOP/s of a matrix product, {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most"
    )
    assert loop.position.losses[-1] < loop.position.losses[0]
    assert share > shape.least_share


def _losses(store: Store, model: Manifest) -> list[float]:
    losses: list[float] = json.loads(store.read(model.file("history.json")))["step_losses"]
    return losses


def _accuracy(store: Store, model: Manifest, dataset: str, folder: Path) -> float:
    store.fetch_all(model, folder)
    rows = read_rows(store, store.manifest(dataset), "test")
    answers = load_classifier(folder, threads=4).answers(rows.texts)
    return sum(a.label == label for a, label in zip(answers, rows.labels, strict=True)) / len(answers)
