"""Stage `cut_student`: what is left of a fine-tuned model when layers, heads, units or weights are taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from operators.core.compression.export_model import texts_of, token_rows
from operators.core.compression.spec import ShapeSpec
from operators.core.manifest import Made, Manifest, StageCall, spec_json
from operators.core.models.card import CARD_FILE, ClassifierCard
from operators.core.scratch import scratch_folder
from operators.core.storage import Result, Store

if TYPE_CHECKING:
    from operators.core.models.encoder import EncoderModel

REVISION = 2
WEIGHTS, CONFIG = "model.safetensors", "config.json"


def cut_student(store: Store, model: str, shape: ShapeSpec) -> Result:
    """Return a smaller classifier that has yet to be trained; facts tell what is left.

    Args:
        store: The store.
        model: Digest of the fine-tuned model.
        shape: What stays.

    Raises:
        DataError: The model has fewer layers than shall stay.
    """
    call = StageCall(
        stage="cut_student", revision=REVISION, inputs=(store.as_input("model", model),), spec=spec_json(shape)
    )

    def make() -> Made:
        with scratch_folder() as folder:
            return _cut(store, store.manifest(model), shape, folder)

    return store.once(call, make)


def _cut(store: Store, model: Manifest, shape: ShapeSpec, folder: Path) -> Made:
    from safetensors.torch import save_file

    from operators.core.compression.pruning import keep_heads_and_units, keep_layers, keep_weights
    from operators.core.models.encoder import KEPT_HEADS, load_trained

    store.fetch_all(model, folder)
    card = ClassifierCard.from_folder(folder)
    trained = load_trained(folder, card.task, card.outputs)
    layers = keep_layers(trained, shape.layers)
    facts: dict[str, Any] = {"labels": list(card.labels), "layers": layers}
    if shape.heads < 1 or shape.units < 1:
        rows = token_rows(folder, texts_of(store, model, "train", shape.importance_rows))
        facts["heads"] = keep_heads_and_units(trained, rows, shape.heads, shape.units)
    facts |= {"zeros": keep_weights(trained, shape.sparsity), **_sizes(trained)}
    config = json.loads((folder / CONFIG).read_text())
    config |= {
        "num_hidden_layers": len(layers),
        "intermediate_size": facts["units"],
        KEPT_HEADS: facts["heads_a_layer"],
    }
    (folder / CONFIG).write_text(json.dumps(config, sort_keys=True, indent=1) + "\n")
    save_file({name: one.contiguous() for name, one in trained.state_dict().items()}, folder / WEIGHTS)
    names = (CARD_FILE, CONFIG, WEIGHTS, "tokenizer.json")
    return Made(files=store.put_files((name, folder / name) for name in names), facts=facts)


def _sizes(model: EncoderModel) -> dict[str, int]:
    layer: Any = model.encoder.get_submodule("encoder.layer.0")
    return {
        "heads_a_layer": layer.attention.self.query.out_features // layer.attention.self.attention_head_size,
        "units": layer.intermediate.dense.out_features,
        "parameters": sum(one.numel() for one in model.parameters()),
    }
