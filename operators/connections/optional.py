"""What a platform may do without: trackers of trainings, a price list, somebody who is told of failures."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from operators.connections.fields import found
from operators.core.overview.prices import PriceList

if TYPE_CHECKING:
    from operators.core.training.tracking import TrackingSettings

PRICES = "nightshift_prices"
ALERTS = "nightshift_alerts"


def tracking_settings() -> TrackingSettings:
    """Return the trackers that have a connection.

    Raises:
        ValueError: What speaks to one is not installed, or its connection has a field that is unknown.
    """
    from operators.core.training.tracking import MlflowSettings, TrackingSettings, WandbSettings

    mlflow, wandb = found("nightshift_mlflow"), found("nightshift_wandb")
    try:
        settings = TrackingSettings(
            mlflow=mlflow and MlflowSettings(**mlflow.extra_dejson, username=mlflow.login, password=mlflow.password),
            wandb=wandb and WandbSettings(**wandb.extra_dejson, key=wandb.password),
        )
    except TypeError:
        raise ValueError(
            "nightshift_mlflow takes uri and experiment in its extra, nightshift_wandb project, mode, folder and url"
        ) from None
    settings.check_installed()
    return settings


def price_list() -> PriceList | None:
    """Return the price list, None where there is no such connection.

    Raises:
        ValueError: What it says is no price list.
    """
    connection = found(PRICES)
    if connection is None:
        return None
    known = {name: value for name, value in connection.extra_dejson.items() if value is not None}
    try:
        return PriceList(**known)
    except TypeError:
        names = ", ".join(field.name for field in dataclasses.fields(PriceList))
        raise ValueError(f"connection {PRICES}: its extra must have currency, and may have others of {names}") from None


def alerts() -> tuple[str, str | None] | None:
    """Return the webhook that is told of failures and its bearer token; None where nobody wants to be told.

    Raises:
        ValueError: The connection names no address; the message does not repeat what it holds.
    """
    connection = found(ALERTS)
    if connection is None:
        return None
    url = connection.extra_dejson.get("url")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"connection {ALERTS}: 'url' of its extra must be an address that begins with https://")
    return url, connection.password or None
