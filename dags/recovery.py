"""Keep everything recoverable.

- **`back_up_platform`**, nightly and after each release: a consistent cut of the store, Airflow's database with its
  connections and variables, and the platform's keys, sealed for the recovery keys. Only what is new is copied.
  Backups are kept by day, week, month and year; what no kept one needs is deleted in two steps. Once it is backed up,
  old history leaves Airflow's database, and old logs the disk.
- **`recovery_drill`**, weekly: restores the newest backup into an empty place with the drill's kit alone, reads every
  digest, compares predictions and a few steps of training with production's, and puts RPO and RTO on record. Red
  when a target is missed.

**Makes** backups on the backup store, a line of each in the stream `backup`, and of each drill in the stream `drill`.
**Waits for** 03:30 UTC and for each release; the drill for Sunday, 06:00 UTC.

### Triage
- Red `back_up`: until it is green again the age of the last backup is what a loss would cost. Its notes say what to do.
- Red `drill`: you may not get back what you think. Look today; its message names what was missed.
- Red `prune` or `clean_up`: the backup store, or this machine's disk, fills up; nothing else is wrong. Look within the
  week.
"""

from pathlib import Path

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from operators.assets import RELEASED
from operators.back_up_platform import BackUpPlatformOperator
from operators.clean_up import CleanUpOperator, clean_form
from operators.policies import ACCELERATORS_POOL, maintenance
from operators.prune_backups import PruneBackupsOperator, retention_form
from operators.recipes import readable_recipes
from operators.recovery_drill import RecoveryDrillOperator, drill_form

HERE = Path(__file__).parent
recipes = {recipe.name: recipe for recipe in readable_recipes(HERE / "recipes")}

with DAG(
    dag_id="back_up_platform",
    dag_display_name="Back up the platform",
    description="Copy everything that is new to the backup store, nightly and after each release.",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("30 3 * * *", timezone="UTC"), assets=[RELEASED]),
    params={**retention_form(), **clean_form()},
    **maintenance(__doc__),
):
    code = [HERE, HERE.parent / "requirements.lock"]
    saved = BackUpPlatformOperator(task_id="back_up", code=code, doc_md=BackUpPlatformOperator.doc_md)
    saved >> PruneBackupsOperator(task_id="prune", doc_md=PruneBackupsOperator.doc_md)
    saved >> CleanUpOperator(task_id="clean_up", doc_md=CleanUpOperator.doc_md)

with DAG(
    dag_id="recovery_drill",
    dag_display_name="Rehearse a recovery",
    description="Restore the newest backup into an empty place, weekly, and measure it.",
    schedule=CronTriggerTimetable("0 6 * * 0", timezone="UTC"),
    params=drill_form(),
    **maintenance(__doc__),
):
    RecoveryDrillOperator(task_id="drill", recipes=recipes, pool=ACCELERATORS_POOL, doc_md=RecoveryDrillOperator.doc_md)
