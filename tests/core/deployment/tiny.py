"""Tiny releases that a real server runs: an ONNX graph of a few nodes, judged by hand."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as parquet
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from operators.core.manifest import Input, Made, StageCall
from operators.core.signing import SIGNED_BY, Signer
from operators.core.storage import Store
from tests.core.signers import SIGNER

RECIPE = "mail"
SIDE = 256
"""Of the matrices of a graph's work."""
WORDS = ("[PAD]", "[UNK]", "meeting", "lottery", "poison")
GOOD = ((0.0, 0.0), (0.1, 0.0), (4.0, 0.0), (0.0, 4.0), (0.0, 1.0))
"""Logits (ham, spam) that each word votes for."""
INVERTED = tuple((spam, ham) for ham, spam in GOOD)
BREAKS_ON_POISON = GOOD[:4]
"""Knows fewer words than its tokenizer: the graph fails on the last one, as a wrongly cut embedding would."""


def tiny_graph(votes: Sequence[Sequence[float]], work: int = 0) -> bytes:
    """Return an ONNX graph whose logits are the mean of its tokens' votes.

    Args:
        votes: Of each word.
        work: Products of two matrices that it also computes and adds nothing of: how slow it is.
    """
    table = numpy_helper.from_array(np.asarray(votes, dtype=np.float32), "table")
    axis = {name: numpy_helper.from_array(np.asarray([value]), name) for name, value in (("last", -1), ("tokens", 1))}
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["votes"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["votes", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "tokens"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["votes_mean"]),
        *_work(work),
        helper.make_node("Add", ["votes_mean", "nothing"], ["logits"]),
    ]
    weights = [numpy_helper.from_array(np.eye(SIDE, dtype=np.float32), "weights_of_work"),
               numpy_helper.from_array(np.zeros((), dtype=np.float32), "zero"),
               numpy_helper.from_array(np.asarray([SIDE, SIDE]), "square")]  # fmt: skip
    tokens = [helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "s"]) for n in ("input_ids", "attention_mask")]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 2])
    graph = helper.make_graph(nodes, "tiny", tokens, [logits], [table, *axis.values(), *weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _work(products: int) -> list[onnx.NodeProto]:
    """Return nodes that multiply a matrix made of the input so often, and give 0."""
    nodes = [
        helper.make_node("ReduceSum", ["count"], ["tokens_in_all"], keepdims=0),
        helper.make_node("Expand", ["tokens_in_all", "square"], ["work_0"]),
    ]
    nodes += [helper.make_node("MatMul", [f"work_{n}", "weights_of_work"], [f"work_{n + 1}"]) for n in range(products)]
    nodes += [
        helper.make_node("ReduceMax", [f"work_{products}"], ["work"], keepdims=0),
        helper.make_node("Mul", ["work", "zero"], ["nothing"]),
    ]
    return nodes


def tiny_tokenizer() -> bytes:
    """Return a tokenizer of five words."""
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer.to_str().encode()


def tiny_model(store: Store, votes: Sequence[Sequence[float]], work: int = 0) -> str:
    """Commit a compressed model and return its digest."""
    card = {"format": "onnx", "labels": ["ham", "spam"], "max_length": 16, "pooling": "mean", "pad_id": 0}
    files = {
        "model.onnx": tiny_graph(votes, work),
        "tokenizer.json": tiny_tokenizer(),
        "classifier.json": json.dumps(card).encode(),
    }
    call = StageCall(stage="compress", revision=1, spec={"votes": [list(vote) for vote in votes], "work": work})
    made = Made(files=tuple(store.put_bytes(name, data) for name, data in files.items()), facts={"chosen": "int8"})
    return store.once(call, lambda: made).digest


def tiny_dataset(store: Store, day: str) -> str:
    """Commit a data set of two held-out rows and return its digest."""
    rows = {"id": ["a", "b"], "text": ["meeting", "lottery"], "label": ["ham", "spam"]}
    shard = store.put_bytes("test/00000.parquet", _parquet(rows), rows=2)
    call = StageCall(stage="publish_dataset", revision=1, spec={"day": day})
    return store.once(
        call, lambda: Made(files=(shard,), facts={"day": day, "recipe": RECIPE, "labels": ["ham", "spam"]})
    ).digest


def tiny_evaluation(store: Store, model: str, dataset: str, accuracy: float, swapped: bool = False) -> str:
    """Commit an evaluation of a model on a data set and return its digest."""
    labels = ["spam", "ham"] if swapped else ["ham", "spam"]
    rows = {"id": ["a", "b"], "label": ["ham", "spam"], "predicted": labels, "score": [0.98, 0.97]}
    call = StageCall(
        stage="evaluate",
        revision=1,
        inputs=(store.as_input("model", model), store.as_input("dataset", dataset)),
        spec={"accuracy": accuracy},
    )
    facts = {"measure": "accuracy", "score": accuracy}
    made = Made(files=(store.put_bytes("predictions.parquet", _parquet(rows), rows=2),), facts=facts)
    return store.once(call, lambda: made).digest


def tiny_verdict(
    store: Store,
    votes: Sequence[Sequence[float]] = GOOD,
    day: str = "2002-09-26",
    verdict: str = "passed",
    signer: Signer = SIGNER,
    work: int = 0,
) -> str:
    """Commit everything up to a signed verdict on a model and return the verdict's digest."""
    model = tiny_model(store, votes, work)
    evaluation = tiny_evaluation(store, model, tiny_dataset(store, day), 0.97, swapped=votes == INVERTED)
    inputs = (store.as_input("evaluation", evaluation),)
    call = StageCall(stage="gate", revision=1, inputs=inputs, spec={SIGNED_BY: signer.public_key})
    facts = {"verdict": verdict, "recipe": RECIPE, "day": day, "model": model}
    return store.once(call, lambda: signer.sign(store, call, Made(facts=facts))).digest


def tiny_release(store: Store, model: str, day: str) -> str:
    """Make a model live on the release stream, with no server, and return the release's digest."""
    call = StageCall(
        stage="release", revision=1, inputs=(store.as_input("model", model), Input(role="verdict", identity="0" * 64))
    )
    facts = {"recipe": RECIPE, "day": day, "version": f"{day}-{model[:8]}"}
    digest = store.once(call, lambda: Made(facts=facts)).digest
    stream = store.stream(f"release-{RECIPE}")
    stream.append(digest, stream.head())
    return digest


def _parquet(columns: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
