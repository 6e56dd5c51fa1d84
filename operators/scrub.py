"""The operator that looks at every copy of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from operators import connections

if TYPE_CHECKING:
    from airflow.sdk import Context


class ScrubOperator(BaseOperator):
    """Compares all listings, reads a share of the copies, mends what it can; returns the digest of its report.

    The run's parameters `deep_parts` and `megabytes_per_second` say how much is read, and how fast.
    """

    doc_md = """\
    **Makes** a report a day in the stream `scrub`, which `nightshift metrics` shows. Every copy is read once a month.

    **Triage.** The message names what stays wrong. *Away or does not count*: start the endpoint; if it was wiped or
    swapped, `nightshift resync NAME`. *No good copy*: restore that file from a backup. A night with damaged copies on
    one endpoint only: they are mended, but look at its disk.
    """

    def execute(self, context: Context) -> str:
        """Scrub from where the last run left off; fail when something stays wrong."""
        from operators.core.errors import StorageError
        from operators.core.storage import open_store
        from operators.core.storage.scrubbing import ScrubSpec, scrub_storage

        rate = context["params"]["megabytes_per_second"]
        spec = ScrubSpec(deep_parts=context["params"]["deep_parts"], bytes_per_second=rate * 1e6 if rate else None)
        store = open_store(connections.store_settings())
        try:
            done = scrub_storage(store, spec, self._progress)
        finally:
            store.close()
        self.log.info("%s", done.report)
        if not done.report.is_clean:
            left = [*done.report.strangers, *(flaw.key for flaw in (*done.report.lost, *done.report.left))]
            raise StorageError(f"not sound after the scrub: {', '.join(left[:10])}; report {done.manifest}")
        return done.manifest

    def _progress(self, done: int, total: int, note: str) -> None:
        if done % 100 == 0 or done == total:
            self.log.info("progress %d/%d %s", done, total, note)


def scrub_form() -> dict[str, Any]:
    """Return the parameters of a run."""
    from airflow.sdk import Param

    return {
        "deep_parts": Param(
            9,
            "Parts of 256 whose copies are read; 9 a night go round in a month.",
            type="integer",
            minimum=0,
            maximum=256,
        ),
        "megabytes_per_second": Param(
            0, "Megabytes that are read in a second, at most; 0 for no limit.", type="number", minimum=0
        ),
    }
