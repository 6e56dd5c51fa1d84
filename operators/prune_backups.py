"""The operator that locks what kept backups need, and takes the rest off the backup store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Param

from operators import connections
from operators.core.recovery.spec import RetentionSpec

if TYPE_CHECKING:
    from airflow.sdk import Context

    from operators.core.progress import Progress
    from operators.core.storage import Store
    from operators.core.storage.roots import Reached

PERIODS = ("daily", "weekly", "monthly", "yearly")


def retention_form() -> dict[str, Any]:
    """Return the parameters of a run."""
    spec = RetentionSpec()
    form: dict[str, Any] = {
        name: Param(getattr(spec, name), f"How many {name} backups are kept.", type="integer", minimum=0, maximum=1000)
        for name in PERIODS
    }
    form["max_share"] = Param(
        0.1, "The most of the backup's bytes that may go at once, 0 to 1.", type="number", exclusiveMinimum=0, maximum=1
    )
    return form


class PruneBackupsOperator(BaseOperator):
    """Locks what kept backups need, where a bucket can, and takes a collection's next step with what none needs."""

    doc_md = """\
    **Makes** room on the backup store. Two steps with three days between, as in `collect_garbage`; nothing that a kept
    backup needs is ever listed, and backups of releases are kept without end. What they need is locked first, where the
    bucket has object lock: nobody deletes it for 64 days, and while it is needed that is renewed.

    **Triage.** Red with `CollectionRefused`: nothing was deleted, and the message says what looked wrong. *Bytes would
    go*: look with `nightshift gc --backup-store`, and if it is right raise `max_share` for one run. A bucket that
    keeps versions hides what is deleted, and frees its room by rules of its own.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Take one step; a run after the grace takes the next."""
        from operators.core.recovery.locking import lock_needed
        from operators.core.recovery.retention import needed
        from operators.core.storage import open_store
        from operators.core.storage.collect import Collector
        from operators.core.storage.collection import CollectSpec

        params = context["params"]
        spec = RetentionSpec(**{name: params[name] for name in PERIODS})

        def needs(backup: Store, progress: Progress) -> Reached:
            return needed(backup, spec, progress)

        backup = open_store(connections.backup_settings())
        try:
            locked = lock_needed(backup, needs)
            collector = Collector(backup, CollectSpec(max_share=params["max_share"]), needs=needs)
            plan = collector.sweep()
            if plan.is_listless:
                plan = collector.mark()
        finally:
            backup.close()
        self.log.info("%d keys, %d bytes%s", len(plan.keys), plan.bytes, plan.waits_for and f"; {plan.waits_for}")
        self.log.info("%d keys locked against deletion%s", locked, "" if locked else ": no endpoint has object lock")
        return {"bytes": plan.bytes, "keys": len(plan.keys), "waits_for": plan.waits_for, "locked": locked}
