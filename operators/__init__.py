"""Nightshift's library: Airflow operators at this level, the platform itself in `operators.core`."""
