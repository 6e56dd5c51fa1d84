"""Keep everything recoverable.

- **`back_up_platform`**, nightly and after each release: a consistent cut of the store, Airflow's database with its
  connections and variables, and the platform's keys, sealed for the recovery keys. Only what is new is copied.
  Backups are kept by day, week, month and year; what no kept one needs is deleted in two steps.

### Triage
- Red `back_up`: until it is green again the age of the last backup is what a loss would cost. Its notes say what to do.
- Red `prune`: the backup store fills up; nothing else is wrong. Look within the week.
"""

from pathlib import Path

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from operators.assets import RELEASED
from operators.back_up_platform import BackUpPlatformOperator
from operators.policies import maintenance
from operators.prune_backups import PruneBackupsOperator, retention_form

HERE = Path(__file__).parent

with DAG(
    dag_id="back_up_platform",
    dag_display_name="Back up the platform",
    description="Copy everything that is new to the backup store, nightly and after each release.",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("30 3 * * *", timezone="UTC"), assets=[RELEASED]),
    params=retention_form(),
    **maintenance(__doc__),
):
    code = [HERE, HERE.parent / "requirements.lock"]
    saved = BackUpPlatformOperator(task_id="back_up", code=code, doc_md=BackUpPlatformOperator.doc_md)
    saved >> PruneBackupsOperator(task_id="prune", doc_md=PruneBackupsOperator.doc_md)
