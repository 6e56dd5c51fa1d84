"""Connections carry secrets; Airflow knows which."""

from __future__ import annotations

import json

from airflow._shared.secrets_masker import SecretsMasker
from airflow._shared.secrets_masker.secrets_masker import DEFAULT_SENSITIVE_FIELDS

from operators.core.settings import EndpointSettings, StorageSettings
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
