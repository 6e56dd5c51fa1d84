"""The operator that makes the former release live again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Param

from operators import connections
from operators.core.errors import DataError
from operators.core.recipe import Recipe
from operators.trail import note_change

if TYPE_CHECKING:
    from airflow.sdk import Context


def roll_back_form(recipes: list[str]) -> dict[str, Param]:
    """Return the field of the form: it has no default, so that a hasty click rolls nobody's release back."""
    return {"recipe": Param(description="Whose release goes back.", type="string", enum=recipes)}


class RollBackOperator(BaseOperator):
    """Switches every server to the former release, which each still holds; returns that release's digest.

    The run's parameter `recipe` says whose release goes back.

    Args:
        recipes: The recipes that may be named.
    """

    doc_md = """
    A run rolls back once, however often it is tried; trigger another run to go back and forth. While a candidate
    answers a share of the requests, it is the candidate that goes. The servers go back first: a store that is away only
    delays that it is on record.

    **Triage.** Red with `DataError`: nothing was live before. Red with `DeploymentError`: a server stayed away; start
    it, then clear this task. Red with a `StorageError`: the servers went back; clear this task when the store is there.
    """

    def __init__(self, *, recipes: Mapping[str, Recipe], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.recipes = dict(recipes)

    def execute(self, context: Context) -> str:
        """Roll back; the run's id is the wish, so a retry finishes what was begun."""
        from operators.core.deployment.client import open_servers
        from operators.core.deployment.roll_back import note_rollback, switch_back
        from operators.core.storage import open_store

        recipe = self.recipes[context["params"]["recipe"]]
        if recipe.deployment is None:
            raise DataError(f"the recipe {recipe.name} does not go live: there is nothing to roll back")
        run_id, timeout = context["ti"].run_id, recipe.deployment.server_timeout_seconds
        with open_servers(connections.serving_settings(), recipe.name, timeout) as servers:
            done = switch_back(servers, request=run_id, by=f"the run {run_id}", progress=self._progress)
            self.log.info("%s is live again", done["to_version"])
            store = open_store(connections.store_settings())
            try:
                note_rollback(store, servers, recipe.name)
                note_change(store, context, "roll back", recipe.name, f"{done['to_version']} is live again")
            finally:
                store.close()
        return str(done["to_release"])

    def _progress(self, done: int, total: int, note: str) -> None:
        self.log.info("progress %d/%d %s", done, total, note)
