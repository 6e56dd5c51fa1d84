"""A loop of one rank over rows of full length, to see what a step itself costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from operators.core.finetuning.spec import TrainingSpec
from operators.core.models.encoder import build_model
from operators.core.training.job import TrainingJob
from operators.core.training.loader import Loader, Plan
from operators.core.training.loop import Loop
from operators.core.training.spec import Machine
from operators.core.training.tokens import TokenTable, TokenTables
from tests.core.training.tiny import CONFIG

ROWS_PER_STEP, TOKENS, STEPS = 256, 128, 60
VOCABULARY = 30_522


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """An encoder's size."""

    layers: int
    hidden: int
    least_share: float
    """Of the device's measured peak, below which something is wrong: a fraction of what was seen."""

    @property
    def flops_per_token(self) -> float:
        """Operations of one token's forward and backward pass: 6 for each weight of a matrix, and attention's own.

        Source: Narayanan et al., "Efficient Large-Scale Language Model Training on GPU Clusters", SC 2021.
        """
        weights = self.layers * 12 * self.hidden**2
        return 6.0 * weights + 12.0 * self.layers * self.hidden * TOKENS


MINILM = Shape(layers=6, hidden=384, least_share=0.03)
BERT_BASE = Shape(layers=12, hidden=768, least_share=0.1)


@contextmanager
def one_rank(folder: Path) -> Iterator[None]:
    """Be the only rank of a gang that meets over NCCL."""
    torch.cuda.set_device(0)
    torch.cuda.reset_peak_memory_stats()
    dist.init_process_group("nccl", init_method=f"file://{folder / 'gang'}", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


def make_loop(shape: Shape, folder: Path) -> Loop:
    """Return a loop of an encoder with random weights over random rows whose label their tokens tell."""
    config = CONFIG | {
        "hidden_size": shape.hidden,
        "intermediate_size": 4 * shape.hidden,
        "num_attention_heads": shape.hidden // 64 if shape.hidden >= 768 else 12,
        "num_hidden_layers": shape.layers,
        "max_position_embeddings": 512,
        "vocab_size": VOCABULARY,
    }
    (folder / "config.json").write_text(json.dumps(config))
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, ROWS_PER_STEP * STEPS)
    half = VOCABULARY // 2
    rows = [(draw.integers(0, half, TOKENS) + half * label).tolist() for label in labels]
    spec = TrainingSpec(
        epochs=1, batch_size=ROWS_PER_STEP, max_length=TOKENS, encoder_rate=1e-4, dropout=0.0, ranks=1, precision="bf16"
    ).resolve(Machine(cores=1, gpus=1, precision="bf16"))
    plan = Plan(shard_rows=(len(rows),), batch_size=ROWS_PER_STEP, batch_by="rows", seed=0)
    loader = Loader(plan, TokenTables(folder / "tokens", lambda shard: TokenTable.of(rows, labels)))
    job = TrainingJob(run_key="0" * 64, inputs=(), loop=spec, ranks=1, labels=("high", "low"), checkpoint_steps=10**6)
    torch.manual_seed(0)
    return Loop(job, build_model(folder, "text_classification", 2), loader, torch.device("cuda", 0))
