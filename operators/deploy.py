"""The operator that brings a judged model to every server."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from operators import connections
from operators.core.recipe import Recipe
from operators.stage import StageOperator
from operators.trail import note_change

if TYPE_CHECKING:
    from airflow.sdk import Context

    from operators.core.progress import Progress
    from operators.core.storage import Result, Store


class DeployOperator(StageOperator):
    """Raises the model's share of the requests in steps, watches, and takes it back by itself when it fails.

    The run's parameter `release_anyway` says that a person wants this very model: it goes live also when a later day is
    live, or when it was rolled back before.

    Args:
        verdict: Digest of the gate's verdict, which names the model.
    """

    template_fields: Sequence[str] = ("verdict",)
    doc_md = """
    Returns the release that is live afterwards, whether or not that is a new one.

    **Triage.** Red with `HealthCheckFailed`: the candidate answered wrongly or too slowly and was taken back; what was
    live answers everything. Red with `DeploymentError`: a server stayed away; start it, then clear this task. It goes
    on where it stopped. Red with `SignatureRefused`: the verdict is not one that this platform's gate signed; clear
    the task `gate`, which makes a new one after a change of keys or of Nightshift.
    """

    def __init__(self, *, verdict: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.verdict = verdict
        self._by_name = False
        self._context: Context | None = None

    def execute(self, context: Context) -> str | list[str]:
        """Deploy, or find that there is nothing to do."""
        self._by_name = bool(context["params"].get("release_anyway"))
        self._context = context
        return super().execute(context)

    def run(self, store: Store, recipe: Recipe, day: datetime.date, progress: Progress) -> Result:
        """Return the release that is live on every server."""
        from operators.core.deployment.client import open_servers
        from operators.core.deployment.deploy import deploy
        from operators.core.storage import Result

        assert recipe.deployment is not None, "a recipe that does not go live has no such task"
        settings = connections.serving_settings()
        with open_servers(settings, recipe.name, recipe.deployment.server_timeout_seconds) as servers:
            done = deploy(
                store,
                servers,
                recipe=recipe.name,
                verdict=self.verdict,
                trusted=connections.trusted_keys(),
                spec=recipe.deployment,
                by_name=self._by_name,
                progress=progress,
            )
        self.log.info("%s; repaired: %s", done.note, list(done.repaired) or "none")
        if done.is_changed and self._context is not None:
            note_change(store, self._context, "deploy", recipe.name, f"{done.version}: {done.note}")
        self.account |= {"version": done.version, "repaired": list(done.repaired)}
        return Result(digest=done.release, manifest=store.manifest(done.release), found=not done.is_changed)
