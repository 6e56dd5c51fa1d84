"""What a finished training leaves in its folder: the model's files, then the record that names their digests."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import torch

from operators.core.manifest import canonical, sha256_of_file
from operators.core.models.encoder import EncoderModel
from operators.core.training import job as names
from operators.core.training.adapters import count, merge
from operators.core.training.job import write_record
from operators.core.training.loop import Loop
from operators.core.training.losses import loss_of
from operators.core.training.making import blank_model, leave_model
from operators.core.training.mesh import HALF
from operators.core.training.parts import Tensors
from operators.core.training.pieces import pieces
from operators.core.training.spec import LANGUAGE
from operators.core.training.stopping import best_epoch


def leave_product(folder: Path, loop: Loop) -> None:
    """Have the trained model and `done.json` in the job's folder; every rank must call this."""
    weights = loop.weights()
    if loop.is_first:
        _write(folder, loop, weights)


def _write(folder: Path, loop: Loop, weights: Tensors) -> None:
    job, output, base = loop.job, folder / names.OUTPUT, folder / names.BASE_MODEL
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    if job.loop.adapter is not None:
        weights = merge(blank_model(job, base), job.loop, weights)
    facts = leave_model(job, weights, base, output) | _facts(loop)
    if job.loop.precision != "fp32":
        model = blank_model(job, base)
        model.load_state_dict(weights)
        facts["precision_effect"] = _precision_effect(model, loop)
    (output / "history.json").write_bytes(canonical(_history(loop)))
    account = {
        "examples": loop.examples,
        "training_seconds": round(loop.seconds, 3),
        "examples_per_second": round(loop.examples / loop.seconds, 2) if loop.seconds else None,
    }
    digests = {path.name: sha256_of_file(path) for path in output.iterdir()}
    write_record(folder / names.DONE, {"files": digests, "facts": facts, "account": account})


def _facts(loop: Loop) -> dict[str, Any]:
    job, position = loop.job, loop.position
    epoch_losses = _history(loop)["epoch_losses"]
    trained, parameters = count(loop.model)
    facts: dict[str, Any] = {
        "parameters": parameters,
        "trained_parameters": trained,
        "epochs": len(epoch_losses),
        "steps": position.step,
        "skipped_steps": position.skipped_steps,
        "final_loss": epoch_losses[-1],
        "world_size": position.world_sizes[-1],
        "precision": job.loop.precision,
    }
    if loop.rank_budget is not None:
        facts["lora_ranks"] = loop.rank_budget.sizes()
    if position.world_sizes != [job.loop.ranks]:
        facts["world_sizes"] = position.world_sizes
    if position.held_out_losses:
        facts["best_epoch"] = best_epoch(position.held_out_losses) + 1
        if job.loop.task in LANGUAGE:
            facts["held_out_loss"] = min(position.held_out_losses)
            facts["held_out_perplexity"] = math.exp(facts["held_out_loss"])
    return facts


def _history(loop: Loop) -> dict[str, list[float]]:
    losses, size = loop.position.losses, loop.steps_per_epoch
    epochs = [losses[start : start + size] for start in range(0, len(losses), size)]
    return {
        "step_losses": losses,
        "epoch_losses": [sum(epoch) / len(epoch) for epoch in epochs],
        "held_out_losses": loop.position.held_out_losses,
    }


def _precision_effect(model: EncoderModel, loop: Loop) -> dict[str, float]:
    """Return what the finished model loses on its last batch in the precision it was trained in, and in fp32."""
    model.to(loop.device).eval()
    piece = next(pieces(loop.loader.batch(loop.position.step - 1), 1, None, loop.device))
    losses: dict[str, float] = {}
    with torch.no_grad():
        for precision in (loop.job.loop.precision, "fp32"):
            losses[precision] = (loss_of(model, piece, HALF.get(precision)) / max(1, len(piece.labels))).item()
    return losses
