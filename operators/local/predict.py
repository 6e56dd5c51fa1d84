"""Ask the live model through the balancer, as any client would: Open Inference Protocol v2, raw text in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import httpx

from operators.local.layout import PlatformError

SAMPLES = (
    "Congratulations, you have been selected\nClaim your FREE prize now! Click here and earn $5000 a week working from "
    "home. No risk, no obligation, money back guarantee. Reply REMOVE to be taken off our list.",
    "Re: patch for the build on RPM systems\nThanks, that fixed it for me. I rebuilt the package this morning and the "
    "tests pass; I will commit it to CVS once somebody else has had a look.",
)
"""One of each kind, as the data set has them: subject, line break, body."""


def predict(balancer_url: str, model: str, texts: Sequence[str], timeout_seconds: float = 20) -> list[dict[str, Any]]:
    """Return `{text, label, score, version}` for each text.

    Raises:
        PlatformError: No server answered well in time.
    """
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    deadline = time.monotonic() + timeout_seconds
    with httpx.Client(trust_env=False, timeout=10) as client:
        while True:
            try:
                response = client.post(f"{balancer_url}/v2/models/{model}/infer", json={"inputs": [tensor]})
                if response.status_code == 200:
                    return _decode(response.json(), texts)
                problem = f"{response.status_code} {response.text[:200]}"
            except httpx.TransportError as error:
                problem = f"{type(error).__name__} {error}"
            if time.monotonic() > deadline:
                raise PlatformError(f"no prediction from {balancer_url} for model {model}: {problem}")
            time.sleep(0.3)


def _decode(document: dict[str, Any], texts: Sequence[str]) -> list[dict[str, Any]]:
    outputs = {output["name"]: output["data"] for output in document["outputs"]}
    version = document["model_version"]
    return [
        {"text": text, "label": label, "score": score, "version": version}
        for text, label, score in zip(texts, outputs["label"], outputs["score"], strict=True)
    ]
