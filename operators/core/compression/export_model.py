"""Stage `export_model`: a fine-tuned model as an ONNX graph in single precision, proven to answer as PyTorch does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from operators.core.compression.sample import spread
from operators.core.compression.spec import ExportSpec
from operators.core.errors import DataError, GateFailed
from operators.core.manifest import Made, Manifest, StageCall, spec_json
from operators.core.models.card import CARD_FILE, ClassifierCard
from operators.core.models.classifier import load_classifier
from operators.core.models.tokenising import encode, encode_words, load_tokenizer
from operators.core.progress import Progress, no_progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store
from operators.core.training.rows import Split, read_rows

if TYPE_CHECKING:
    import torch

REVISION = 2
MODEL_FILE, TOKENIZER_FILE = "model.onnx", "tokenizer.json"
TOLERANCE = 1e-4
"""Relative error of a layer up to which a graph in single precision computes what PyTorch does; MiniLM has 2e-6."""


def export_model(store: Store, model: str, spec: ExportSpec, progress: Progress = no_progress) -> Result:
    """Return the graph of a model with card and tokenizer; facts `layers` (see `Parity`) and `max_logit_difference`.

    Args:
        store: The store.
        model: Digest of a fine-tuned model, or of a student.
        spec: How to export, and how close to stay.
        progress: Told of each step.

    Raises:
        GateFailed: The graph does not answer as PyTorch does; the message names the first operator that differs.
    """
    call = StageCall(
        stage="export_model", revision=REVISION, inputs=(store.as_input("model", model),), spec=spec_json(spec)
    )

    def make() -> Made:
        with scratch_folder() as folder:
            return _export(store, store.manifest(model), spec, folder, progress)

    return store.once(call, make)


def _export(store: Store, model: Manifest, spec: ExportSpec, folder: Path, progress: Progress) -> Made:
    # Here, not at the top: graphs that are found need neither torch nor ONNX.
    from operators.core.compression.export import export_onnx
    from operators.core.models.encoder import load_trained

    parent, exported = folder / "parent", folder / "exported"
    store.fetch_all(model, parent)
    card = ClassifierCard.from_folder(parent)
    exported.mkdir()
    progress(0, 3, "exporting to ONNX")
    trained = load_trained(parent, card.task, card.outputs)
    program = export_onnx(trained, exported / MODEL_FILE, opset=spec.opset)
    (exported / CARD_FILE).write_text(replace(card, format="onnx").to_json())
    (exported / TOKENIZER_FILE).write_bytes((parent / TOKENIZER_FILE).read_bytes())
    progress(1, 3, "comparing the graph with PyTorch")
    texts = texts_of(store, model, "test", spec.parity_texts)
    facts = check(trained, program, exported, token_rows(exported, texts))
    difference = _logit_difference(parent, exported, texts, spec)
    progress(3, 3, "exported")
    files = store.put_files((path.name, path) for path in sorted(exported.iterdir()))
    return Made(files=files, facts={"labels": list(card.labels), "max_logit_difference": difference, **facts})


def check(
    model: torch.nn.Module, program: torch.export.ExportedProgram, exported: Path, rows: Iterable[list[int]]
) -> dict[str, Any]:
    """Return the facts of a graph that computes, layer by layer, what its PyTorch model does.

    Raises:
        GateFailed: It does not; the message names the first operator that differs.
    """
    import onnx

    from operators.core.compression.parity import compare, graph_trace, module_trace, operators_of, program_trace

    operators = operators_of(onnx.load(exported / MODEL_FILE).graph)
    found = compare(
        operators,
        module_trace(model, operators),
        graph_trace(exported / MODEL_FILE),
        list(rows),
        TOLERANCE,
        program_trace(program),
    )
    if found.first_bad is not None:
        raise GateFailed(
            f"the exported graph does not compute what PyTorch does, from {found.first_bad} on: look at what changed "
            "in torch or in the model's architecture"
        )
    return {"layers": found.layers}


def texts_of(store: Store, model: Manifest, split: Split, count: int) -> list[str]:
    """Return texts of the data set that a model was trained on, spread over all by length."""
    dataset = model.input("dataset").manifest
    if dataset is None:
        raise DataError("the model names no data set in the store: fine-tune it again")
    return spread(read_rows(store, store.manifest(dataset), split).texts, count)


def token_rows(folder: Path, texts: list[str]) -> list[list[int]]:
    """Return the token numbers of texts as a folder's classifier would take them."""
    card, tokenizer = ClassifierCard.from_folder(folder), load_tokenizer(folder)
    if card.task == "text_classification":
        return encode(tokenizer, texts, card.max_length)
    return [words.ids for words in encode_words(tokenizer, texts, card.max_length)]


def _logit_difference(parent: Path, exported: Path, texts: list[str], spec: ExportSpec) -> float:
    """Return the largest difference of a logit, of texts in batches as they will be served."""
    ours, theirs = (load_classifier(folder, threads=1).logits(texts) for folder in (parent, exported))
    difference = float(np.abs(ours - theirs).max())
    if not difference <= spec.max_logit_difference:
        raise GateFailed(
            f"the exported graph differs from PyTorch by {difference:.2g} in a logit, at most "
            f"{spec.max_logit_difference:g} is allowed, though no layer differs by itself: look at how texts are padded"
        )
    return difference
