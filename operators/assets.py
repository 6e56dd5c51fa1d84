"""How DAGs meet."""

from __future__ import annotations

from airflow.sdk import Asset

RELEASED = Asset("nightshift://released", group="nightshift")
"""A release went live and is backed up."""
