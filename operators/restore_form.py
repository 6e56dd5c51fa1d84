"""What a person may set when a restore is triggered."""

from __future__ import annotations

from airflow.sdk import Param

LATEST = "latest"
PLATFORM = "(the platform)"
"""In place of a recipe: everything that a backup of the platform holds."""


def restore_form(recipes: list[str]) -> dict[str, Param]:
    """Return the typed fields of the form that starts a restore."""
    return _what(recipes) | _where()


def _what(recipes: list[str]) -> dict[str, Param]:
    return {
        "recipe": Param(
            PLATFORM,
            f"Whose backup is restored: `{PLATFORM}` for the whole, or a recipe for the backup of its release.",
            type="string",
            enum=[*recipes, PLATFORM],
        ),
        "backup": Param(
            LATEST,
            f"Of a recipe: digest of the backup's manifest, 64 hexadecimal digits, or `{LATEST}`.",
            type="string",
            pattern=f"^({LATEST}|[0-9a-f]{{64}})$",
        ),
        "at": Param(
            None,
            f"Of {PLATFORM}: as it was then. Empty: the newest backup.",
            type=["null", "string"],
            format="date-time",
            pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$",
        ),
        "only": Param(
            None,
            f"Of {PLATFORM}: a stream, or the digest of a manifest, with all it reaches. Empty: everything.",
            type=["null", "string"],
            pattern="^[a-z0-9_-]{1,96}$",
        ),
    }


def _where() -> dict[str, Param]:
    return {
        "target": Param(
            "nightshift_restore_target",
            "Id of the Airflow connection of the place to restore into, with storage settings in its extra as "
            "`nightshift_store` has them. Its endpoints are empty buckets or folders.",
            type="string",
            pattern="^[a-z0-9_]{1,64}$",
        ),
        "airflow_database": Param(
            None,
            "Absolute path at which Airflow's database is put, where nothing is yet. Empty: it stays in the backup.",
            type=["null", "string"],
            pattern="^/.+",
        ),
    }
