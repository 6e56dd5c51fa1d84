"""Probe the store's endpoints, daily."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator

from operators import connections

if TYPE_CHECKING:
    from airflow.sdk import Context


class ProbeOperator(BaseOperator):
    """Finds out what each endpoint can really do; fails when one may not be what it is.

    The reports lie at the endpoints, as `probe.json`; `nightshift probe` shows the same.
    """

    doc_md = """\
    **Makes** a report a day at each endpoint: conditional puts, read after write, listings, checksums, clock, speed.

    **Triage.** The message names the endpoint and what it did. *Does not answer*: start it, the next try finds it.
    *Clock*: set it, before leases and the collector's grace are misjudged. *Primary and may not be*: move the primary
    to another endpoint first, then see what changed there (a gateway, a new release). *No member*: it forgets or
    invents; take it out of service and resync a sound one in its place.
    """

    def execute(self, context: Context) -> None:
        """Probe all endpoints at once."""
        from operators.core.errors import StorageError
        from operators.core.storage.checks import Weight
        from operators.core.storage.probe import probe_all, refusals

        reports, primary = probe_all(connections.store_settings())
        for report in reports:
            self.log.info(
                "%s: %s", report.endpoint, " ".join(f"{name}={value:g}" for name, value in report.figures.items())
            )
            for words in report.against(Weight.NOTE, Weight.NO_PRIMARY):
                self.log.warning("%s: %s", report.endpoint, words)
        if refused := refusals(reports, primary):
            raise StorageError(". ".join(refused))
