"""A tiny fine-tuned model: a real BERT of two layers, and a data set of twenty texts."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import torch
from safetensors.torch import save
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from operators.core.manifest import Made, StageCall
from operators.core.models.card import ClassifierCard
from operators.core.models.encoder import build_model
from operators.core.settings import EndpointSettings, StorageSettings
from operators.core.storage import Store, initialise, open_store

CONFIG = {
    "architectures": ["BertModel"],
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 32,
}
LABELS = ("ham", "spam")


@dataclass(frozen=True)
class Trained:
    """A store that holds a model and its data set."""

    store: Store
    model: str
    dataset: str
    folder: Path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A tiny model with random weights, committed as `fine_tune` would commit it."""
    root = tmp_path_factory.mktemp("compression")
    for name in ("a", "b", "c"):
        (root / name).mkdir()
    endpoints = tuple(EndpointSettings(name=name, url=f"file://{root / name}") for name in ("a", "b", "c"))
    settings = StorageSettings(endpoints=endpoints)
    initialise(settings, rounds=0)
    store = open_store(settings)
    dataset = store.once(
        StageCall(stage="publish_dataset", revision=1),
        lambda: Made(
            files=tuple(
                store.put_bytes(f"{split}/00000.parquet", _rows(split), rows=10) for split in ("train", "test")
            ),
            facts={"labels": list(LABELS), "day": "2002-09-26", "recipe": "mail"},
        ),
    ).digest
    folder = root / "model"
    _write_model(folder)
    call = StageCall(stage="fine_tune", revision=1, inputs=(store.as_input("dataset", dataset),))
    made = Made(files=tuple(store.put_file(path.name, path) for path in sorted(folder.iterdir())))
    return Trained(store=store, model=store.once(call, lambda: made).digest, dataset=dataset, folder=folder)


def _write_model(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    torch.manual_seed(0)
    model = build_model(folder, "text_classification", len(LABELS))
    # A head with a wide gap between its labels: random answers would lie on the edge, where int8 may fall either way.
    model.head.weight.data.mul_(8)
    (folder / "model.safetensors").write_bytes(save({name: t.contiguous() for name, t in model.state_dict().items()}))
    tokenizer = Tokenizer(WordLevel({"[UNK]": 1, **{f"w{n}": n for n in range(2, 64)}}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    card = ClassifierCard(format="safetensors", labels=LABELS, max_length=16)
    (folder / "classifier.json").write_text(card.to_json())


def _rows(split: str) -> bytes:
    start = 0 if split == "test" else 10
    texts = [
        " ".join(f"w{2 + (row * 7 + word) % 62}" for word in range(1 + row % 20)) for row in range(start, start + 10)
    ]
    columns = {
        "id": [f"{split}-{row}" for row in range(10)],
        "text": texts,
        "label": [LABELS[row % 2] for row in range(10)],
    }
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
