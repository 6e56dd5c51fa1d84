"""What Triton's client gets of a server, both ways; run by the Python of an environment that has it.

`python oip_client.py HTTP_ADDRESS GRPC_ADDRESS MODEL VERSION [TOKEN CONFIG]` prints a JSON object: by REST with
binary tensors, by REST with JSON and by gRPC each step's outcome. With a token the repository is asked too: CONFIG
names a release to load. Nothing of ours is imported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import tritonclient.grpc
import tritonclient.http

OUTPUTS = ["label", "score"]
TEXTS = ["meeting", "lottery lottery", "Grüße, lottery ✓"]


def outcome(step: Callable[[], Any]) -> Any:
    """Return what a step gives, or what it is refused with."""
    try:
        return step()
    except Exception as error:  # whatever the client makes of a refusal
        return {"refused": str(error)[:200]}


class Asked:
    """The steps over one protocol."""

    def __init__(self, library: ModuleType, address: str, model: str, version: str, *, is_binary: bool) -> None:
        self._library, self._model, self._version, self._is_binary = library, model, version, is_binary
        self._is_http = library is tritonclient.http
        self._client = library.InferenceServerClient(address)

    def steps(self) -> dict[str, Any]:
        """Return every outcome, by step."""
        client, model, version = self._client, self._model, self._version
        more: dict[str, Callable[[], Any]] = {
            "live": client.is_server_live,
            "ready": client.is_server_ready,
            "model ready": lambda: client.is_model_ready(model),
            "version ready": lambda: client.is_model_ready(model, version),
            "metadata": self._metadata,
            "all outputs": lambda: self._infer(TEXTS, outputs=None if self._is_binary else OUTPUTS),
            "one output": lambda: self._infer(TEXTS, outputs=["label"]),
            "a column": lambda: self._infer(TEXTS, shape=[3, 1], outputs=OUTPUTS),
            "by version": lambda: self._infer(TEXTS[:1], model_version=version, outputs=OUTPUTS),
            "with an id": lambda: self._infer(TEXTS[:1], request_id="mine", outputs=OUTPUTS),
            "another input": lambda: self._infer(TEXTS[:1], name="other"),
        }
        return {name: outcome(step) for name, step in more.items()}

    def repository(self, token: str, config: str) -> dict[str, Any]:
        """Load another version by its release, and unload it."""
        headers = {"authorization": f"Bearer {token}"}
        client, model = self._client, self._model
        steps: dict[str, Callable[[], Any]] = {
            "stranger": lambda: self._index({}),
            "before": lambda: self._index(headers),
            "load": lambda: client.load_model(model, headers=headers, config=config),
            "loaded": lambda: self._index(headers),
            "unload": lambda: client.unload_model(model, headers=headers),
            "after": lambda: self._index(headers),
        }
        return {name: outcome(step) for name, step in steps.items()}

    def _index(self, headers: dict[str, str]) -> list[str]:
        index = self._client.get_model_repository_index(headers=headers)
        lines = index if self._is_http else [{"version": one.version} for one in index.models]
        return sorted(line["version"] for line in lines)

    def _metadata(self) -> dict[str, Any]:
        found = self._client.get_model_metadata(self._model, **({} if self._is_http else {"as_json": True}))
        tensors = {kind: [(one["name"], one["datatype"]) for one in found[kind]] for kind in ("inputs", "outputs")}
        return {"name": found["name"], **tensors}

    def _infer(
        self,
        texts: list[str],
        *,
        name: str = "text",
        shape: list[int] | None = None,
        outputs: list[str] | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        shape = shape or [len(texts)]
        tensor = self._library.InferInput(name, shape, "BYTES")
        values = np.array([text.encode() for text in texts], dtype=np.object_).reshape(shape)
        flags = {"binary_data": self._is_binary} if self._is_http else {}
        tensor.set_data_from_numpy(values, **flags)
        wanted = [self._library.InferRequestedOutput(one, **flags) for one in outputs] if outputs else None
        result = self._client.infer(self._model, [tensor], outputs=wanted, **more)
        response = result.get_response() if self._is_http else result.get_response(as_json=True)
        given = outputs or [one["name"] for one in response["outputs"]]
        answer = {one: np.ravel(result.as_numpy(one)).tolist() for one in given}
        answer["label"] = [text.decode() if isinstance(text, bytes) else text for text in answer["label"]]
        return {"version": response["model_version"], "id": response.get("id"), **answer}


def main(arguments: list[str]) -> None:
    """Ask both ways and print."""
    http, grpc, model, version, *more = arguments
    told: dict[str, Any] = {}
    ways = (("binary", tritonclient.http, http), ("json", tritonclient.http, http), ("grpc", tritonclient.grpc, grpc))
    for name, library, address in ways:
        asked = Asked(library, address, model, version, is_binary=name != "json")
        told[name] = asked.steps()
        if more:
            told[name]["repository"] = asked.repository(*more)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1:])
