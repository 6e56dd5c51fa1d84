"""The same model behind LitServe, with its batching at our batch size: `python rival_litserve.py FOLDER PORT`.

Run by the Python of the rivals' environment, as `rival_fastapi.py` beside it, whose model it has.
"""

import sys
from pathlib import Path
from typing import Any

import litserve
from rival_fastapi import Model, answer


class Api(litserve.LitAPI):  # type: ignore[misc]
    """A text in, an answer out; LitServe computes together what waits."""

    def setup(self, device: str) -> None:
        """Load, in LitServe's worker."""
        self.model = Model(Path(sys.argv[1]))

    def decode_request(self, request: dict[str, Any]) -> str:
        """Return the text."""
        return str(request["inputs"][0]["data"][0])

    def batch(self, inputs: list[str]) -> list[str]:
        """Leave texts as they are."""
        return inputs

    def predict(self, texts: list[str]) -> Any:
        """Return probabilities."""
        return self.model.probabilities(texts)

    def unbatch(self, output: Any) -> list[Any]:
        """Return a row a text."""
        return list(output)

    def encode_response(self, output: Any) -> Any:
        """Return the answer."""
        return answer(self.model.labels, output)


if __name__ == "__main__":
    api = Api(max_batch_size=16, batch_timeout=0.001, api_path="/infer")
    litserve.LitServer(api, accelerator="cpu", workers_per_device=1).run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, num_api_servers=1, log_level="warning"
    )
