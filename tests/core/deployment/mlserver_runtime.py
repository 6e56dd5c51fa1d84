"""A model folder of ours as MLServer's own model: what the conformance test and the benchmark ask beside our server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse
from tokenizers import Tokenizer


class OnnxClassifier(MLModel):
    """Tokenizer, graph, softmax: as `core.models.classifier` does it, in MLServer's manner."""

    async def load(self) -> bool:
        """Read the folder that `parameters.uri` names."""
        folder = Path(self.settings.parameters.uri)
        card = json.loads((folder / "classifier.json").read_text())
        self.labels = card["labels"]
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(card["max_length"])
        self.tokenizer.enable_padding(pad_id=card["pad_id"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer a request, or several that MLServer put together."""
        tensor = payload.inputs[0]
        if tensor.name != "text":
            raise ValueError(f"the input must be named 'text', not {tensor.name!r}")
        rows = self.tokenizer.encode_batch(np.ravel(StringCodec.decode_input(tensor)).tolist())
        ids = np.array([row.ids for row in rows], dtype=np.int64)
        mask = np.array([row.attention_mask for row in rows], dtype=np.int64)
        logits = self.session.run(None, {"input_ids": ids, "attention_mask": mask})[0].astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
        labels = [self.labels[number] for number in probabilities.argmax(axis=1)]
        outputs = [
            StringCodec.encode_output("label", labels, use_bytes=False),
            NumpyCodec.encode_output("score", probabilities.max(axis=1)),
            NumpyCodec.encode_output("probabilities", probabilities),
        ]
        wanted = [output.name for output in payload.outputs or []]
        chosen = [output for output in outputs if not wanted or output.name in wanted]
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=chosen)
