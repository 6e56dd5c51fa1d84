"""Stage `make_candidate`: one form in which a model could be released, made of its exported graph.

Each is a manifest of its own, so that a retry, or a recipe with another kind more, makes only what is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from operators.core.compression.export_model import (
    MODEL_FILE,
    TOKENIZER_FILE,
    export_model,
    texts_of,
    token_rows,
)
from operators.core.compression.spec import CandidateKind, CompressionSpec
from operators.core.errors import DataError
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.models.card import CARD_FILE
from operators.core.progress import Progress, no_progress
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store

REVISION = 14
TOLERANCES = {
    CandidateKind.FUSED: 1e-4,
    CandidateKind.FP16: 0.01,
    CandidateKind.BF16: 0.05,
    CandidateKind.INT8: 0.4,
    CandidateKind.INT8_STATIC: 0.8,
    CandidateKind.INT4: 0.5,
}
"""Relative error of a layer's values beyond which a kind does not what it is meant to."""


def make_candidates(
    store: Store,
    model: str,
    spec: CompressionSpec,
    students: Sequence[str] = (),
    progress: Progress = no_progress,
) -> list[Result]:
    """Return the candidates made of a model, in the order of the spec.

    Args:
        store: The store.
        model: Digest of the fine-tuned model.
        spec: Which, and how.
        students: Digests of the trained students, in the order of the spec.
        progress: Told of every candidate.

    Raises:
        GateFailed: The exported graph does not answer as PyTorch does.
    """
    models: dict[str | None, str] = {one.name: digest for one, digest in zip(spec.students, students, strict=True)}
    models[None] = model
    results = []
    for index, one in enumerate(spec.candidates):
        progress(index, len(spec.candidates), f"making {one.name}")
        exported = export_model(store, models[one.of], spec.export, progress)
        is_export = one.kind is CandidateKind.ONNX_FP32
        results.append(exported if is_export else make_candidate(store, exported.digest, one.kind, spec))
    progress(len(results), len(results), f"{len(results)} candidates")
    return results


def make_candidate(store: Store, exported: str, kind: CandidateKind, spec: CompressionSpec) -> Result:
    """Return a graph in another form; facts `layers` and `first_bad_operator` (see `Parity`), and what the kind has.

    Args:
        store: The store.
        exported: Digest of what `export_model` made.
        kind: The form.
        spec: What the form leaves open, and how many texts to compare on.
    """
    call = StageCall(
        stage="make_candidate",
        revision=REVISION,
        inputs=(store.as_input("parent", exported),),
        spec={"kind": kind.value, "parity_texts": spec.export.parity_texts, **spec.quantisation.of(kind)},
    )

    def make() -> Made:
        with scratch_folder() as folder:
            return _make(store, store.manifest(exported), kind, spec, folder)

    return store.once(call, make)


def _make(store: Store, exported: Manifest, kind: CandidateKind, spec: CompressionSpec, folder: Path) -> Made:
    source, target = folder / "source", folder / "target"
    store.fetch_all(exported, source)
    target.mkdir()
    trained = exported.input("model").manifest
    if trained is None:
        raise DataError("the exported graph names no model in the store: export it again")
    model = store.manifest(trained)
    rows = []
    if kind is CandidateKind.INT8_STATIC:
        rows = token_rows(source, texts_of(store, model, "train", spec.quantisation.calibration_rows))
    facts = _write(source / MODEL_FILE, target / MODEL_FILE, kind, spec, rows)
    compared = token_rows(source, texts_of(store, model, "test", spec.export.parity_texts))
    facts |= parity_facts(source / MODEL_FILE, target / MODEL_FILE, compared, TOLERANCES[kind])
    unchanged = tuple(exported.file(name) for name in (CARD_FILE, TOKENIZER_FILE))
    made = store.put_file(MODEL_FILE, target / MODEL_FILE)
    return Made(files=(made, *unchanged), facts={"labels": exported.facts["labels"], "kind": kind.value, **facts})


def parity_facts(source: Path, target: Path, rows: list[list[int]], tolerance: float) -> dict[str, Any]:
    """Return how far a graph is from the one that it was made of, by layer, and the operator where it goes wrong.

    A form with fewer bits may go wrong on a model and is no candidate to be chosen then; that is no failure of others.
    """
    import onnx

    from operators.core.compression.parity import compare, graph_trace, operators_of

    operators = operators_of(onnx.load(source).graph)
    found = compare(operators, graph_trace(source), graph_trace(target), rows, tolerance)
    return {"layers": found.layers, "first_bad_operator": found.first_bad}


def _write(
    source: Path, target: Path, kind: CandidateKind, spec: CompressionSpec, rows: list[list[int]]
) -> dict[str, Any]:
    """Write the graph in its form; return what there is to tell of it."""
    from operators.core.compression.fuse import fuse
    from operators.core.compression.quantise import quantise, quantise_blocks, quantise_static
    from operators.core.compression.truncate import truncate

    if kind is CandidateKind.FUSED:
        return {"fusions": fuse(source, target)}
    if kind in (CandidateKind.FP16, CandidateKind.BF16):
        return truncate(source, target, kind)
    if kind is CandidateKind.INT8:
        quantise(source, target)
    elif kind is CandidateKind.INT8_STATIC:
        quantise_static(source, target, rows, spec.quantisation.calibration)
    else:
        quantise_blocks(source, target, spec.quantisation.block_size)
    return {}
