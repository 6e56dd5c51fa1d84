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
    # An app that leaves for the page, since Airflow 3.3 offers no link there: an external one at the top level is a
    # button that does nothing, and its frame lets no link of ours open a run but inside itself.
    react_apps: ClassVar[list[Any]] = [
        {
            "name": "Nightshift",
            "bundle_url": f"{mounted_at()}/entry.js",
            "destination": "nav",
            "url_route": "nightshift",
            "nav_top_level": True,
        }
    ]
    operator_extra_links: ClassVar[list[Any]] = list(LINKS)
