"""Stage `make_candidates`: a fine-tuned model in every form in which it could be released."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from operators.core.compression.sample import spread
from operators.core.compression.spec import CandidateKind, ExportSpec
from operators.core.errors import DataError, TrainingError
from operators.core.manifest import FileEntry, Made, Manifest, StageCall, spec_json
from operators.core.models.card import ClassifierCard
from operators.core.models.classifier import load_classifier
from operators.core.progress import Progress, no_progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store
from operators.core.training.rows import read_rows

REVISION = 11
MODEL_FILE = "model.onnx"


def make_candidates(store: Store, model: str, spec: ExportSpec, progress: Progress = no_progress) -> Result:
    """Return the candidates made of a model: a folder each, with weights, card and tokenizer.

    Args:
        store: The store.
        model: Digest of the fine-tuned model.
        spec: What to make.
        progress: Told of every candidate.

    Raises:
        TrainingError: The exported graph does not answer as PyTorch does.
    """
    call = StageCall(
        stage="make_candidates", revision=REVISION, inputs=(store.as_input("model", model),), spec=spec_json(spec)
    )

    def make() -> Made:
        with scratch_folder() as folder:
            return _make(store, store.manifest(model), spec, folder, progress)

    return store.once(call, make)


def _make(store: Store, model: Manifest, spec: ExportSpec, folder: Path, progress: Progress) -> Made:
    # Here, not at the top: candidates that are found need neither torch nor ONNX.
    from operators.core.compression.export import export_onnx
    from operators.core.compression.quantise import quantise
    from operators.core.models.encoder import load_trained

    parent, exported = folder / "parent", folder / CandidateKind.ONNX_FP32.value
    store.fetch_all(model, parent)
    steps = len(spec.candidates) + 2
    progress(0, steps, "exporting to ONNX")
    card = ClassifierCard.from_folder(parent)
    exported.mkdir()
    export_onnx(load_trained(parent, card.task, card.outputs), exported / MODEL_FILE, opset=spec.opset)
    _add_card_and_tokenizer(parent, exported, card)
    progress(1, steps, "comparing the graph with PyTorch")
    difference = _check_parity(parent, exported, _parity_texts(store, model, spec), spec)
    files: list[FileEntry] = []
    for index, kind in enumerate(spec.candidates):
        progress(2 + index, steps, f"making {kind.value}")
        target = folder / kind.value
        if kind is CandidateKind.INT8:
            target.mkdir()
            quantise(exported / MODEL_FILE, target / MODEL_FILE)
            _add_card_and_tokenizer(parent, target, card)
        files += store.put_files((f"{kind.value}/{path.name}", path) for path in sorted(target.iterdir()))
    progress(steps, steps, f"{len(spec.candidates)} candidates")
    return Made(files=tuple(files), facts={"labels": list(card.labels), "max_logit_difference": difference})


def _parity_texts(store: Store, model: Manifest, spec: ExportSpec) -> list[str]:
    """Return held-out texts of the data set that the model was trained on."""
    dataset = model.input("dataset").manifest
    if dataset is None:
        raise DataError("the model names no data set in the store: fine-tune it again")
    return spread(read_rows(store, store.manifest(dataset), "test").texts, spec.parity_texts)


def _check_parity(parent: Path, exported: Path, texts: list[str], spec: ExportSpec) -> float:
    """Return the largest difference of a logit between PyTorch and the graph."""
    ours = load_classifier(parent, threads=1).logits(texts)
    theirs = load_classifier(exported, threads=1).logits(texts)
    difference = float(np.abs(ours - theirs).max())
    if not difference <= spec.max_logit_difference:
        raise TrainingError(
            f"the exported graph differs from PyTorch by {difference:.2g} in a logit, at most "
            f"{spec.max_logit_difference:g} is allowed: look at what changed in torch or in the model's architecture"
        )
    return difference


def _add_card_and_tokenizer(parent: Path, target: Path, card: ClassifierCard) -> None:
    (target / "classifier.json").write_text(replace(card, format="onnx").to_json())
    (target / "tokenizer.json").write_bytes((parent / "tokenizer.json").read_bytes())
