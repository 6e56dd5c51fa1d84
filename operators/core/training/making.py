"""A job's model, by what it is to tell: blank, as its base model has it, and as what it is left as."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from operators.core.models.causal import build_causal_model, load_causal_model, save_causal_model
from operators.core.models.encoder import EncoderModel, build_model, load_base
from operators.core.models.language import (
    ARCHITECTURE,
    build_language_model,
    load_language_model,
    save_language_model,
)
from operators.core.training.job import TrainingJob
from operators.core.training.parts import Tensors
from operators.core.training.spec import CAUSAL, MASKED


def blank_model(job: TrainingJob, base: Path) -> EncoderModel:
    """Return the job's model with weights still random, given its base model's folder."""
    if job.loop.task == MASKED:
        return build_language_model(base, dropout=job.loop.dropout)
    if job.loop.task == CAUSAL:
        return build_causal_model(base)
    return build_model(base, job.card.task, job.card.outputs, dropout=job.loop.dropout)


def first_model(job: TrainingJob, base: Path) -> EncoderModel:
    """Return the model that the job begins with: its base model below a head, its own where it tells tokens.

    Raises:
        DataError: The base model's files do not fit each other.
    """
    if job.loop.task == MASKED:
        return load_language_model(base, dropout=job.loop.dropout, seed=job.loop.seed)
    if job.loop.task == CAUSAL:
        return load_causal_model(base)
    return load_base(base, job.card.task, job.card.outputs, dropout=job.loop.dropout, seed=job.loop.seed)


def leave_model(job: TrainingJob, weights: Tensors, base: Path, folder: Path) -> dict[str, Any]:
    """Leave a trained model's files in a folder; return the facts of what it is.

    A classifier has its card; a language model is what a base model is, and can be adopted as one.
    """
    shutil.copyfile(base / "tokenizer.json", folder / "tokenizer.json")
    if job.loop.task == MASKED:
        save_language_model(weights, base, folder)
        return {"architecture": ARCHITECTURE}
    if job.loop.task == CAUSAL:
        save_causal_model(weights, base, folder)
        return {"max_length": job.loop.max_length, "answers_after": job.loop.answers_after}
    save_file(weights, folder / "model.safetensors")
    shutil.copyfile(base / "config.json", folder / "config.json")
    (folder / "classifier.json").write_text(job.card.to_json())
    return {"labels": list(job.labels)}
