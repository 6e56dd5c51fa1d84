"""Keep the store sound.

**`probe_storage`**, daily: it finds out what each endpoint can really do, in a scratch prefix that is empty afterwards.
The report is kept at the endpoint; the task is red when one may not be what it is.

**Triage.** The task's own notes say what each finding means. Nothing else waits for it: look within the day.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from operators.policies import ONE_AT_A_TIME, default_args
from operators.probe import ProbeOperator

with DAG(
    dag_id="probe_storage",
    dag_display_name="Probe the endpoints",
    description="Find out daily what each endpoint can really do.",
    schedule=CronTriggerTimetable("30 4 * * *", timezone="UTC"),
    default_args=default_args("platform"),
    doc_md=__doc__,
    tags=["nightshift", "maintenance"],
    is_paused_upon_creation=False,
    **ONE_AT_A_TIME,
):
    ProbeOperator(task_id="probe", doc_md=ProbeOperator.doc_md)
