"""The same model behind bare FastAPI: `python rival_fastapi.py FOLDER PORT`.

Run by the Python of the rivals' environment; imports nothing of the platform. It takes and gives what our server does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


class Model:
    """Tokenizer, graph, softmax."""

    def __init__(self, folder: Path) -> None:
        card = json.loads((folder / "classifier.json").read_text())
        self.labels = card["labels"]
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(card["max_length"])
        self._tokenizer.enable_padding(pad_id=card["pad_id"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def probabilities(self, texts: list[str]) -> Any:
        """Return probabilities, shape (texts, labels)."""
        rows = self._tokenizer.encode_batch(texts)
        ids = np.array([row.ids for row in rows], dtype=np.int64)
        mask = np.array([row.attention_mask for row in rows], dtype=np.int64)
        logits = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def answer(labels: list[str], row: Any) -> dict[str, Any]:
    """Return the answer to a request of one text."""
    best = int(row.argmax())
    return {
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [1], "data": [labels[best]]},
            {"name": "score", "datatype": "FP32", "shape": [1], "data": [float(row[best])]},
            {"name": "probabilities", "datatype": "FP32", "shape": [1, len(labels)], "data": row.tolist()},
        ]
    }


def serve_fastapi(folder: Path, port: int) -> None:
    """Serve as a tutorial would: one route, the model called in a thread of the pool."""
    import fastapi
    import uvicorn

    app, model = fastapi.FastAPI(), Model(folder)

    @app.post("/infer")
    def infer(body: dict[str, Any]) -> Any:
        return answer(model.labels, model.probabilities(body["inputs"][0]["data"])[0])

    uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="warning")


if __name__ == "__main__":
    serve_fastapi(Path(sys.argv[1]), int(sys.argv[2]))
