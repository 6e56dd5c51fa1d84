"""Ask the live model through the balancer, as any client would: Open Inference Protocol v2, raw text in."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import Any

import httpx

from operators.core.labels import Task, decode_spans
from operators.core.recipe import Recipe
from operators.local import ports, serving
from operators.local.credentials import load_credentials
from operators.local.layout import Layout, PlatformError


def predict(
    balancer_url: str,
    model: str,
    task: Task,
    texts: Sequence[str],
    *,
    api_key: str = "",
    verify: ssl.SSLContext | bool = True,
    timeout_seconds: float = 20,
) -> list[dict[str, Any]]:
    """Return `{text, label, score, version}` for each text; the label of one with spans quotes them.

    Raises:
        PlatformError: No server answered well in time.
    """
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    deadline = time.monotonic() + timeout_seconds
    headers = {"X-API-Key": api_key} if api_key else {}
    with httpx.Client(trust_env=False, timeout=10, headers=headers, verify=verify) as client:
        while True:
            try:
                response = client.post(f"{balancer_url}/v2/models/{model}/infer", json={"inputs": [tensor]})
                if response.status_code == 200:
                    return _decode(response.json(), task, texts)
                problem = f"{response.status_code} {response.text[:200]}"
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} {error}"
            if time.monotonic() > deadline:
                raise PlatformError(f"no prediction from {balancer_url} for model {model}: {problem}")
            time.sleep(0.3)


def predict_here(layout: Layout, recipe: Recipe, timeout_seconds: float = 20) -> list[dict[str, Any]]:
    """Ask this machine's platform about a recipe's examples, by its own key and the certificate that it shows.

    Raises:
        PlatformError: No server answered well in time.
    """
    tls = serving.tls_settings(layout)
    return predict(
        tls.balancer_url(ports.load(layout)["balancer"]),
        recipe.name,
        recipe.anonymisation.task,
        recipe.examples,
        api_key=serving.own_key(load_credentials(layout)),
        verify=tls.balancer.pinned() if tls.balancer else True,
        timeout_seconds=timeout_seconds,
    )


def _decode(document: dict[str, Any], task: Task, texts: Sequence[str]) -> list[dict[str, Any]]:
    outputs = {output["name"]: output["data"] for output in document["outputs"]}
    version = document["model_version"]
    return [
        {"text": text, "label": _told(label, task, text), "score": score, "version": version}
        for text, label, score in zip(texts, outputs["label"], outputs["score"], strict=True)
    ]


def _told(label: str, task: Task, text: str) -> str:
    if task == "text_classification":
        return label
    return ", ".join(f"{span.name} {text[span.start : span.end]!r}" for span in decode_spans(label)) or "nothing"
