"""What a finished training leaves in its folder: the model's files, then the record that names their digests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from operators.core.manifest import canonical, sha256_of_file
from operators.core.models.encoder import build_model, load_trained
from operators.core.training import job as names
from operators.core.training.adapters import count, merge
from operators.core.training.job import write_record
from operators.core.training.loop import Loop, loss_of
from operators.core.training.mesh import HALF
from operators.core.training.parts import Tensors
from operators.core.training.pieces import pieces
from operators.core.training.stopping import best_epoch

FILES = ("classifier.json", "config.json", "history.json", "model.safetensors", "tokenizer.json")


def leave_product(folder: Path, loop: Loop) -> None:
    """Have the trained classifier and `done.json` in the job's folder; every rank must call this."""
    weights = loop.weights()
    if loop.is_first:
        _write(folder, loop, weights)


def _write(folder: Path, loop: Loop, weights: Tensors) -> None:
    job, output = loop.job, folder / names.OUTPUT
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    if job.loop.adapter is not None:
        model = build_model(folder / names.BASE_MODEL, job.loop.task, job.card.outputs)
        weights = merge(model, job.loop, weights)
    save_file(weights, output / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(folder / names.BASE_MODEL / name, output / name)
    (output / "classifier.json").write_text(job.card.to_json())
    (output / "history.json").write_bytes(canonical(_history(loop)))
    account = {
        "examples": loop.examples,
        "training_seconds": round(loop.seconds, 3),
        "examples_per_second": round(loop.examples / loop.seconds, 2) if loop.seconds else None,
    }
    digests = {name: sha256_of_file(output / name) for name in FILES}
    write_record(folder / names.DONE, {"files": digests, "facts": _facts(output, loop), "account": account})


def _facts(output: Path, loop: Loop) -> dict[str, Any]:
    job, position = loop.job, loop.position
    epoch_losses = _history(loop)["epoch_losses"]
    trained, parameters = count(loop.model)
    facts = {
        "labels": list(job.labels),
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
    if job.loop.precision != "fp32":
        facts["precision_effect"] = _precision_effect(output, loop)
    if position.world_sizes != [job.loop.ranks]:
        facts["world_sizes"] = position.world_sizes
    if position.held_out_losses:
        facts["best_epoch"] = best_epoch(position.held_out_losses) + 1
    return facts


def _history(loop: Loop) -> dict[str, list[float]]:
    losses, size = loop.position.losses, loop.steps_per_epoch
    epochs = [losses[start : start + size] for start in range(0, len(losses), size)]
    return {
        "step_losses": losses,
        "epoch_losses": [sum(epoch) / len(epoch) for epoch in epochs],
        "held_out_losses": loop.position.held_out_losses,
    }


def _precision_effect(output: Path, loop: Loop) -> dict[str, float]:
    """Return what the finished model loses on its last batch in the precision it was trained in, and in fp32."""
    model = load_trained(output, loop.job.loop.task, loop.job.card.outputs).to(loop.device)
    piece = next(pieces(loop.loader.batch(loop.position.step - 1), 1, None, loop.device))
    losses: dict[str, float] = {}
    with torch.no_grad():
        for precision in (loop.job.loop.precision, "fp32"):
            losses[precision] = (loss_of(model, piece, HALF.get(precision)) / len(piece.labels)).item()
    return losses
