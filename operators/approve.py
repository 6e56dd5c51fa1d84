"""The operator that asks a person before a release begins."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

from operators.core.recipe import Recipe

if TYPE_CHECKING:
    from airflow.sdk.execution_time.hitl import HITLUser

ANSWER_WITHIN = timedelta(hours=20)
"""Longer than a working day and shorter than a run may take."""


class ApproveReleaseOperator(ApprovalOperator):
    """Waits until a person approves or rejects the release, on the run's page or under *Required actions*.

    Nothing waits with it: the task gives its slot back, and no model server knows of the candidate yet. Rejected, the
    release and its backup are skipped, and what is live stays live.

    Args:
        recipe: Whose release it is.
        verdict: Digest of the gate's verdict.
    """

    doc_md = """
    **Triage.** It waits for a person: approve or reject. Red with `HITLTimeoutError`: nobody answered within 20 hours.
    What is live is live; clear this task to be asked again.
    """

    def __init__(self, *, recipe: Recipe, verdict: str, **kwargs: Any) -> None:
        named = recipe.deployment.approvers if recipe.deployment else ()
        approvers: list[HITLUser] = [{"id": name, "name": name} for name in named]
        super().__init__(
            subject=f"Release a new {recipe.name}?",
            body=f"The gate passed it: `nightshift show {verdict}` has the figures, and its evaluation's page "
            "(`report.html`) what it gets wrong. It then goes to the servers step by step.",
            response_timeout=ANSWER_WITHIN,
            assigned_users=approvers or None,
            # Of the waiting that is the limit; what runs is over in a second.
            execution_timeout=None,
            doc_md=inspect.cleandoc(self.doc_md),
            **kwargs,
        )
