"""Keep the store sound.

- **`probe_storage`**, daily: finds out what each endpoint can really do, in a scratch prefix that is empty afterwards.
  The report is kept at the endpoint; the task is red when one may not be what it is.
- **`scrub_storage`**, daily: compares what all endpoints list, reads and hashes a share of the copies, and mends what
  is missing or damaged from a copy that was verified. Every copy is read once a month.
- **`collect_garbage`**, when triggered: says what nothing reaches any more; with `dry_run` off it lists that for
  deletion, and a run after the grace deletes it.

**Makes** reports, at the endpoints and in the stream `scrub`, and copies in place of those that are missing or damaged.
**Waits for** 04:30 and 05:00 UTC, after the nights' retraining has begun; the collector for your click.

### Triage
The tasks' own notes say what each finding means. Nothing else waits for them: look within the day.
"""

from airflow.sdk import DAG, CronTriggerTimetable

from operators.collect import CollectOperator, collect_form
from operators.policies import maintenance
from operators.probe import ProbeOperator
from operators.scrub import ScrubOperator, scrub_form

with DAG(
    dag_id="probe_storage",
    dag_display_name="Probe the endpoints",
    description="Find out daily what each endpoint can really do.",
    schedule=CronTriggerTimetable("30 4 * * *", timezone="UTC"),
    **maintenance(__doc__),
):
    ProbeOperator(task_id="probe", doc_md=ProbeOperator.doc_md)

with DAG(
    dag_id="scrub_storage",
    dag_display_name="Scrub the store",
    description="Look at every copy daily, and mend what is missing or damaged.",
    schedule=CronTriggerTimetable("0 5 * * *", timezone="UTC"),
    params=scrub_form(),
    **maintenance(__doc__),
):
    ScrubOperator(task_id="scrub", doc_md=ScrubOperator.doc_md)

with DAG(
    dag_id="collect_garbage",
    dag_display_name="Collect garbage",
    description="List what nothing reaches any more, and delete it after a grace.",
    schedule=None,
    params=collect_form(),
    **maintenance(__doc__),
):
    CollectOperator(task_id="collect", doc_md=CollectOperator.doc_md)
