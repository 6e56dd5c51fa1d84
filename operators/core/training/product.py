"""What a finished training leaves in its folder: the model's files, then the record that names their digests."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import save_file

from operators.core.manifest import canonical, sha256_of_file
from operators.core.training import job as names
from operators.core.training.job import write_record
from operators.core.training.loop import Loop

FILES = ("classifier.json", "config.json", "history.json", "model.safetensors", "tokenizer.json")


def leave_product(folder: Path, loop: Loop) -> None:
    """Write the trained classifier and `done.json` into the job's folder."""
    job, output = loop.job, folder / names.OUTPUT
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir()
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in loop.model.state_dict().items()}
    save_file(weights, output / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(folder / names.BASE_MODEL / name, output / name)
    card = job.card
    (output / "classifier.json").write_text(card.to_json())
    history = _history(loop)
    (output / "history.json").write_bytes(canonical(history))
    facts = {
        "labels": list(job.labels),
        "epochs": job.loop.epochs,
        "steps": loop.position.step,
        "final_loss": history["epoch_losses"][-1],
        "world_size": job.loop.ranks,
        "precision": job.loop.precision,
    }
    account = {
        "examples": loop.examples,
        "training_seconds": round(loop.seconds, 3),
        "examples_per_second": round(loop.examples / loop.seconds, 2) if loop.seconds else None,
    }
    digests = {name: sha256_of_file(output / name) for name in FILES}
    write_record(folder / names.DONE, {"files": digests, "facts": facts, "account": account})


def _history(loop: Loop) -> dict[str, list[float]]:
    losses, size = loop.position.losses, loop.steps_per_epoch
    epochs = [losses[start : start + size] for start in range(0, len(losses), size)]
    return {"step_losses": losses, "epoch_losses": [sum(epoch) / len(epoch) for epoch in epochs]}
