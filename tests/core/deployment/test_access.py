"""API keys: who may ask a model, and that a controller may always."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from operators.core.deployment.server.access import ANYONE, CONTROLLER, Access
from operators.core.settings import StorageSettings
from operators.core.storage import Store
from tests.core.deployment.conftest import TOKEN, ServerThread
from tests.core.deployment.tiny import RECIPE

KEY = "k" * 32
KEYS = {"mail": hashlib.sha256(KEY.encode()).hexdigest(), "other": "0" * 64}


@pytest.mark.parametrize(
    ("headers", "caller"),
    [
        ({}, None),
        ({"x-api-key": KEY}, "mail"),
        ({"authorization": f"Bearer {KEY}"}, "mail"),
        ({"x-api-key": KEY.upper()}, None),
        ({"x-api-key": KEYS["mail"]}, None),
        ({"x-api-key": ""}, None),
        ({"authorization": KEYS["mail"]}, None),
        ({"authorization": f"Bearer {TOKEN}"}, CONTROLLER),
    ],
)
def test_a_key_tells_the_caller(headers: dict[str, str], caller: str | None) -> None:
    """Only the key itself counts, not what is stored of it; the controller's token counts too."""
    assert caller == Access(KEYS, TOKEN).caller(headers)


def test_without_keys_anyone_may_ask() -> None:
    """Keys are asked for where some are listed."""
    assert Access({}, TOKEN).caller({}) == ANYONE


@pytest.fixture
def guarded(tmp_path: Path, storage_settings: StorageSettings, store: Store) -> Iterator[str]:
    """URL of a server that asks for keys."""
    one = ServerThread("server-1", tmp_path / "server-1", storage_settings, api_keys=KEYS)
    yield one.url
    one.stop()


@pytest.mark.integration
def test_models_are_asked_with_a_key_and_health_without(guarded: str) -> None:
    """401 without a key on every route below the model's; a balancer's and Prometheus' questions need none."""
    model, key = f"{guarded}/v2/models/{RECIPE}", {"X-API-Key": KEY}
    paths = [model, f"{model}/ready", f"{model}/versions/v", f"{model}/versions/v/ready"]
    refused = [httpx.get(path).status_code for path in paths] + [httpx.post(f"{model}/infer", json={}).status_code]
    open_paths = ["/v2", "/v2/health/live", "/metrics", "/openapi.json"]

    assert refused == [401] * 5
    assert [httpx.get(guarded + path).status_code for path in open_paths] == [200] * 4
    assert httpx.get(model, headers=key).status_code == 200
    assert httpx.post(f"{model}/infer", json={}, headers=key).status_code == 400
