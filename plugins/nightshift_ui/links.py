"""Links on a task: to the manifest that it returned, to that one's account, to its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperatorLink

from nightshift_ui.addresses import Addresses, mounted_at
from operators.adopt_model import AdoptModelOperator
from operators.back_up import BackUpOperator
from operators.check_drift import CheckDriftOperator
from operators.compress import CompressOperator
from operators.continue_pretraining import ContinuePretrainingOperator
from operators.deploy import DeployOperator
from operators.discover import DiscoverOperator
from operators.evaluate import EvaluateOperator
from operators.fine_tune import FineTuneOperator
from operators.gate import GateOperator
from operators.ingest import IngestOperator
from operators.make_candidates import MakeCandidatesOperator
from operators.make_students import MakeStudentsOperator
from operators.pipelines import digests_in
from operators.publish_dataset import PublishDatasetOperator
from operators.recovery_drill import RecoveryDrillOperator
from operators.restore import RestoreOperator
from operators.roll_back import RollBackOperator
from operators.scrub import ScrubOperator
from operators.tune import TuneOperator
from operators.validate import ValidateOperator

if TYPE_CHECKING:
    from airflow.models.taskinstancekey import TaskInstanceKey

STAGES: list[Any] = [
    AdoptModelOperator, BackUpOperator, CheckDriftOperator, CompressOperator, ContinuePretrainingOperator,
    DeployOperator, DiscoverOperator, EvaluateOperator, FineTuneOperator, GateOperator, IngestOperator,
    MakeCandidatesOperator, MakeStudentsOperator, PublishDatasetOperator, TuneOperator, ValidateOperator,
]  # fmt: skip
CONTROLLERS: list[Any] = [RecoveryDrillOperator, RestoreOperator, RollBackOperator, ScrubOperator]
REPORTS = {"EvaluateOperator": "report.html", "CheckDriftOperator": "drift.json", "ScrubOperator": "report.json"}
"""By operator: the file of its manifest that people read."""


def returned(ti_key: TaskInstanceKey) -> list[str]:
    """Return the digests that a task returned, read from Airflow's database; none before it succeeded."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    query = select(XComModel.value).where(
        XComModel.dag_id == ti_key.dag_id,
        XComModel.run_id == ti_key.run_id,
        XComModel.task_id == ti_key.task_id,
        XComModel.map_index == ti_key.map_index,
        XComModel.key == "return_value",
    )
    with create_session() as session:
        return digests_in(session.scalar(query))


class ManifestLink(BaseOperatorLink):
    """To what the task made, or found."""

    operators: ClassVar[list[Any]] = [*STAGES, *CONTROLLERS]

    @property
    def name(self) -> str:
        """Return what the button says."""
        return "Manifest"

    def get_link(self, operator: Any, *, ti_key: TaskInstanceKey) -> str:
        """Return the page's address, empty before the task succeeded: the button is grey then."""
        return self.address(operator, returned(ti_key))

    def address(self, operator: Any, digests: list[str]) -> str:
        """Return the page of these manifests."""
        return Addresses(mounted_at()).manifest(".".join(digests)) if digests else ""


class AccountLink(ManifestLink):
    """To what each try of it cost."""

    operators: ClassVar[list[Any]] = STAGES

    @property
    def name(self) -> str:
        """Return what the button says."""
        return "Account"

    def address(self, operator: Any, digests: list[str]) -> str:
        """Return the place on the manifest's page."""
        return f"{super().address(operator, digests)}#account" if digests else ""


class LineageLink(ManifestLink):
    """To what it was made from."""

    @property
    def name(self) -> str:
        """Return what the button says."""
        return "Lineage"

    def address(self, operator: Any, digests: list[str]) -> str:
        """Return the page of the first manifest's ancestry."""
        return Addresses(mounted_at()).manifest(digests[0], "lineage") if digests else ""


class ReportLink(ManifestLink):
    """To what people read of it: an evaluation's page, the drift, the Data Docs, the rows that are held back."""

    operators: ClassVar[list[Any]] = [
        CheckDriftOperator, EvaluateOperator, PublishDatasetOperator, ScrubOperator, ValidateOperator,
    ]  # fmt: skip

    @property
    def name(self) -> str:
        """Return what the button says."""
        return "Report"

    def address(self, operator: Any, digests: list[str]) -> str:
        """Return the page of the first manifest's report."""
        if not digests:
            return ""
        kind, pages = operator.task_type, Addresses(mounted_at())
        if kind in REPORTS:
            return pages.file(digests[0], REPORTS[kind])
        return pages.manifest(digests[0], "quarantine" if kind == "PublishDatasetOperator" else "docs")


LINKS = (ManifestLink(), AccountLink(), LineageLink(), ReportLink())
