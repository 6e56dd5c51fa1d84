"""What a platform may do without: trackers of trainings, a price list, somebody who is told of failures."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from operators.connections.fields import found
from operators.core.overview.prices import PriceList

if TYPE_CHECKING:
    from operators.core.training.tracking import TrackingSettings

PRICES = "nightshift_prices"
ALERTS = "nightshift_alerts"
_MAIL = re.compile(r"[^@\s,;<>]+@[^@\s,;<>]+")


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


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Alerts:
    """Who is told of failures."""

    url: str | None = dataclasses.field(default=None, repr=False)
    """Of a webhook; such addresses are secrets."""
    token: str | None = dataclasses.field(default=None, repr=False)
    mail: tuple[str, ...] = ()


def alerts() -> Alerts | None:
    """Return who is told of failures, None where nobody wants to be.

    Raises:
        ValueError: The connection names nobody, or something else; the message does not repeat what it holds.
    """
    connection = found(ALERTS)
    if connection is None:
        return None
    url, mail = connection.extra_dejson.get("url"), connection.extra_dejson.get("mail", [])
    if url is not None and (not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https")):
        raise ValueError(f"connection {ALERTS}: 'url' of its extra must be an address that begins with https://")
    if not isinstance(mail, list) or not all(isinstance(one, str) and _MAIL.fullmatch(one) for one in mail):
        raise ValueError(f"connection {ALERTS}: 'mail' of its extra must list mail addresses")
    if url is None and not mail:
        raise ValueError(f"connection {ALERTS}: its extra must have 'url', or 'mail', or both")
    return Alerts(url=url, token=connection.password or None, mail=tuple(mail))
