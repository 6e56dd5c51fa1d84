"""What Airflow loads: the pages, their place in the navigation, the links on tasks."""

from __future__ import annotations

from typing import Any, ClassVar

from airflow.plugins_manager import AirflowPlugin

from nightshift_ui.addresses import PREFIX, mounted_at
from nightshift_ui.app import build_app
from nightshift_ui.links import LINKS
from operators.overview import Overview, from_connections


class NightshiftPlugin(AirflowPlugin):
    """Nightshift in Airflow's UI."""

    name = "nightshift"
    fastapi_apps: ClassVar[list[Any]] = [
        {"app": build_app(Overview(from_connections())), "url_prefix": PREFIX, "name": "nightshift"}
    ]
    # Without a route of Airflow's own the page opens in a tab of its own: in Airflow's frame, which allows no
    # navigation of the window around it, each link to a run would open Airflow inside Airflow.
    external_views: ClassVar[list[Any]] = [
        {"name": "Nightshift", "href": f"{mounted_at()}/", "destination": "nav", "nav_top_level": True}
    ]
    operator_extra_links: ClassVar[list[Any]] = list(LINKS)
