"""The operator that takes what nothing reaches out of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from operators import connections
from operators.trail import note_change

if TYPE_CHECKING:
    from airflow.sdk import Context


class CollectOperator(BaseOperator):
    """Takes a collection's next step: lists what nothing reaches, or deletes a list whose grace is over.

    The run's parameter `dry_run` (on unless somebody turns it off) only says what would be listed.
    """

    doc_md = """\
    **Makes** room: files and manifests that no result, stream or hold reaches, checkpoints of finished trainings, of
    others all but the newest three, and files that an erasure forgot.
    Nothing is deleted within three days of its last use, nor while a writer is at work that began before the list.

    **Triage.** Red with `CollectionRefused`: nothing was deleted, and the message says what looked wrong. *Endpoints
    away*: wait until they are back. *Bytes would go*: look at the list with `nightshift gc`, and if it is right raise
    `max_share` for one run.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Take one step; a run after the grace takes the next."""
        from operators.core.storage import open_store
        from operators.core.storage.collect import Collector
        from operators.core.storage.collection import CollectSpec

        params = context["params"]
        spec = CollectSpec(grace_seconds=params["grace_days"] * 86400, max_share=params["max_share"])
        store = open_store(connections.store_settings())
        try:
            collector = Collector(store, spec)
            plan = collector.plan() if params["dry_run"] else collector.sweep()
            if plan.is_listless:
                plan = collector.mark()
            if plan.keys and not params["dry_run"]:
                note_change(store, context, "collect garbage", f"{len(plan.keys)} keys", f"{plan.bytes} bytes")
        finally:
            store.close()
        self.log.info("%s", plan)
        return {"bytes": plan.bytes, "keys": len(plan.keys), "waits_for": plan.waits_for}


def collect_form() -> dict[str, Any]:
    """Return the parameters of a run."""
    from airflow.sdk import Param

    return {
        "dry_run": Param(True, "Only say what would be listed for deletion.", type="boolean"),
        "grace_days": Param(
            3,
            "Days between a key's last write and its listing, and again until it is deleted.",
            type="number",
            exclusiveMinimum=0,
        ),
        "max_share": Param(
            0.1,
            "The most of the store's bytes that may go at once, 0 to 1.",
            type="number",
            exclusiveMinimum=0,
            maximum=1,
        ),
    }
