"""Connections carry secrets; Airflow knows which."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from airflow._shared.secrets_masker import SecretsMasker
from airflow._shared.secrets_masker.secrets_masker import DEFAULT_SENSITIVE_FIELDS
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from operators.connections import (
    airflow_database_path,
    airflow_server,
    landing_settings,
    signing_key,
    tracking_settings,
    trusted_keys,
    vault_public_key,
)
from operators.core.settings import EndpointSettings, LandingSettings, StorageSettings
from operators.core.training.tracking import MlflowSettings, TrackingSettings, WandbSettings
from tests.core.signers import SIGNER, STRANGER
from tests.encryption import FIRST, ROTATED, SECOND


def test_airflow_hides_every_key_of_the_storage_settings() -> None:
    """As a connection's extra is masked when it is read: no key, however deep, stands in a log line afterwards."""
    endpoint = EndpointSettings(name="a", url="s3://bucket", access_key="access-key-1", secret_key="secret-key-1")
    settings = StorageSettings(endpoints=(endpoint,), acknowledge=1, encryption=ROTATED)
    masker = SecretsMasker()
    masker.sensitive_variables_fields = list(DEFAULT_SENSITIVE_FIELDS)
    masker.hide_sensitive_var_conn_fields = True
    masker.min_length_to_mask = 5
    extra = {"storage": json.loads(settings.to_json())}
    for field in ("endpoint_url", "ca_file"):
        del extra["storage"]["endpoints"][0][field]
    masker.add_mask(extra)

    keys = ["secret-key-1", FIRST.secret, SECOND.secret, str(ROTATED.store_secret)]
    assert masker.redact(" ".join(keys)) == "*** *** *** ***"


def test_a_landing_zone_comes_from_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra's fields are the settings'; one that is unknown or missing is an error that repeats no value."""
    extra = {"url": "s3://landing/zone", "endpoint_url": None, "access_key": "access-1", "secret_key": "secret-key-1"}
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(extra_dejson=extra))

    assert landing_settings() == LandingSettings(
        url="s3://landing/zone", access_key="access-1", secret_key="secret-key-1"
    )
    for wrong in ({"secret": "secret-key-1"}, {"url": ""}, {"url": "s3://key:secret-key-1@landing"}):
        monkeypatch.setattr(Connection, "get", lambda name, wrong=wrong: SimpleNamespace(extra_dejson=wrong))
        with pytest.raises(ValueError, match=r"nightshift_landing|landing zone: ") as caught:
            landing_settings()
        assert "secret-key-1" not in str(caught.value)


def test_airflow_hides_the_secrets_of_the_landing_zone() -> None:
    """Each stands under a name that Airflow takes for a secret's, those of other file systems too."""
    masker = SecretsMasker()
    masker.sensitive_variables_fields = list(DEFAULT_SENSITIVE_FIELDS)
    masker.hide_sensitive_var_conn_fields = True
    masker.min_length_to_mask = 5
    masker.add_mask({"url": "gs://landing", "secret_key": "secret-key-1", "options": {"token": "token-1"}})

    assert masker.redact("secret-key-1 token-1 gs://landing") == "*** *** gs://landing"


def test_the_vault_s_public_key_comes_from_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the public one is there; where there is none, the error says which connection lacks it."""
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(extra_dejson={"public_key": f"PEM of {name}"}))
    assert vault_public_key() == "PEM of nightshift_vault"
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(extra_dejson={}))

    with pytest.raises(ValueError, match="nightshift_vault: its extra has no 'public_key'"):
        vault_public_key()


def _connect(monkeypatch: pytest.MonkeyPatch, password: str | None, **extra: object) -> None:
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(password=password, extra_dejson=extra))


def test_trusted_are_the_signing_key_and_the_public_ones_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An Airflow that only deploys needs no private key; after a change of keys the former one may stay trusted."""
    _connect(monkeypatch, bytes(range(32)).hex(), trusted=[STRANGER.public_key.upper()])
    both = trusted_keys()
    _connect(monkeypatch, None, trusted=[STRANGER.public_key])

    assert both == {SIGNER.public_key, STRANGER.public_key}
    assert trusted_keys() == {STRANGER.public_key}


@pytest.mark.parametrize(
    ("password", "extra"),
    [(None, {}), ("beef", {}), ("no digits of a key", {}), (bytes(32).hex(), {"trusted": "beef"})],
)
def test_what_is_no_signing_key_is_refused_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, password: str | None, extra: dict[str, str]
) -> None:
    """The message names the connection and what belongs there."""
    _connect(monkeypatch, password, **extra)
    with pytest.raises(ValueError, match=r"nightshift_signing: .*64 hexadecimal digits") as caught:
        (trusted_keys if extra else signing_key)()

    assert not password or password not in str(caught.value)


def test_trackers_are_those_that_have_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets are passwords; a field that is unknown, or a library that is missing, is an error before any training."""
    found: dict[str, SimpleNamespace] = {}

    def get(name: str) -> SimpleNamespace:
        if name not in found:
            raise AirflowNotFoundException(name)
        return found[name]

    monkeypatch.setattr(Connection, "get", get)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert tracking_settings() == TrackingSettings()

    found["nightshift_mlflow"] = SimpleNamespace(
        extra_dejson={"uri": "https://mlflow.example.org"}, login=None, password="token-1"
    )
    found["nightshift_wandb"] = SimpleNamespace(extra_dejson={"mode": "offline", "folder": "/runs"}, password=None)
    assert tracking_settings() == TrackingSettings(
        mlflow=MlflowSettings(uri="https://mlflow.example.org", password="token-1"),
        wandb=WandbSettings(mode="offline", folder="/runs"),
    )

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"install nightshift\[tracking\]"):
        tracking_settings()
    found["nightshift_wandb"] = SimpleNamespace(extra_dejson={"api_key": "secret-1"}, password=None)
    with pytest.raises(ValueError, match="nightshift_wandb project, mode, folder and url") as caught:
        tracking_settings()
    assert "secret-1" not in str(caught.value)


@pytest.mark.parametrize(("extra", "expected"), [({}, None), ({"airflow_database": "/a/airflow.db"}, "/a/airflow.db")])
def test_only_a_sqlite_database_goes_into_a_backup(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, str], expected: str | None
) -> None:
    """Where Airflow keeps its database elsewhere the connection names no file, and a backup is made without one."""
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(extra_dejson=extra))
    path = airflow_database_path()

    assert expected == (None if path is None else str(path))


def test_airflow_s_postgresql_is_optional_and_told_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection: none. One that lacks its password is refused by name, and no value of it is repeated."""
    whole = {"host": "db", "port": None, "login": "nightshift", "password": "secret", "schema": "airflow"}
    held: dict[str, object] = {**whole, "extra_dejson": {"sslmode": "verify-full"}}
    monkeypatch.setattr(Connection, "get", lambda name: SimpleNamespace(**held))
    server = airflow_server()

    assert server is not None
    assert server.environment() == {
        "PGHOST": "db", "PGPORT": "5432", "PGUSER": "nightshift", "PGPASSWORD": "secret", "PGSSLMODE": "verify-full",
    }  # fmt: skip
    assert "secret" not in repr(server)
    held["password"] = None
    with pytest.raises(ValueError, match="login, password and schema must be set"):
        airflow_server()

    def missing(name: str) -> None:
        raise AirflowNotFoundException(name)

    monkeypatch.setattr(Connection, "get", missing)
    assert airflow_server() is None
