"""Airflow Connections become settings here, and nowhere else: the only reader of secrets.

| connection | holds |
|---|---|
| `nightshift_store`, `nightshift_backup` | extra `storage`: storage settings as JSON, with endpoints and keys |
| `nightshift_landing` | extra: the fields of `LandingSettings`, `url` first: where source files arrive |
| `nightshift_models` | extra `folder`: base models, a folder each |
| `nightshift_pseudonyms` | password: the key of the pseudonyms, hexadecimal |
| `nightshift_vault` | extra `public_key`: what seals originals of pseudonyms, PEM; only reversible recipes need it |
| `nightshift_signing` | password: what the gate signs with, hexadecimal; extra `trusted`: public keys beside it |
| `nightshift_mlflow` | extra `uri`, `experiment`; password, with login or as a token: a tracker of trainings, if any |
| `nightshift_wandb` | extra `project`, `mode`, `folder`, `url`; password: the API key; another tracker |
| `nightshift_serving` | extra `servers`, `balancer`, `ca_file` (of servers with TLS); password: their bearer token |
| `nightshift_prices` | extra `currency`, `machine_hour`, `kilowatt_hour`: what a night costs; optional |
| `nightshift_recovery` | extra `public_keys`: a folder of `NAME.pub`, a recovery key each; `files`: secrets by name |
| `nightshift_drill` | extra `kit`: path of the drill's recovery kit, on its worker only |
| `nightshift_alerts` | extra `url`: a webhook that is told of failures, password: its token; `mail`: addresses |
| `smtp_default` | Airflow's own, of the mail server; needed where `nightshift_alerts` lists addresses |
| `nightshift_database` | Airflow's PostgreSQL, by a role that may replicate; schema: its database. Optional |
| `nightshift_local` | extra `scratch`, `data_docs`, `task_logs`: folders; `airflow_database`, `availability`: files |

The keys of encrypted files (`storage.encryption`: store secret, master keys) are those of the store in both; see
docs/storage.md. Airflow hides them in logs and in the UI, for each stands under a name that says it is secret.
"""

from __future__ import annotations

from operators.connections.database import airflow_database_path, airflow_server
from operators.connections.keys import fernet_keys, pseudonym_key, signing_key, trusted_keys, vault_public_key
from operators.connections.machine import availability, data_docs_folder, scratch_folder, task_log_folder
from operators.connections.optional import ALERTS, Alerts, alerts, price_list, tracking_settings
from operators.connections.recovery import RecoverySettings, drill_kit, keepers, recovery_settings
from operators.connections.serving import serving_settings
from operators.connections.stores import (
    backup_settings,
    landing_settings,
    models_folder,
    store_settings,
)

__all__ = [
    "ALERTS",
    "Alerts",
    "RecoverySettings",
    "airflow_database_path",
    "airflow_server",
    "alerts",
    "availability",
    "backup_settings",
    "data_docs_folder",
    "drill_kit",
    "fernet_keys",
    "keepers",
    "landing_settings",
    "models_folder",
    "price_list",
    "pseudonym_key",
    "recovery_settings",
    "scratch_folder",
    "serving_settings",
    "signing_key",
    "store_settings",
    "task_log_folder",
    "tracking_settings",
    "trusted_keys",
    "vault_public_key",
]
