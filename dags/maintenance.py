"""Bring a release back: from a backup into an empty place, or the former one onto the servers.

- **`restore_platform`** takes a recipe's backup, reads and hashes all of it, and writes it into the store that the
  connection `nightshift_restore_target` names: manifests, files, results and the history of data sets and releases.
  Airflow's own database is put where you say. A damaged backup writes nothing, and a second run changes nothing.
  Instead of a recipe it takes `(the platform)`, as it was at a moment, whole or one stream or manifest of it.
- **`roll_back_release`** makes the former release of a recipe live again, within seconds: every server still holds it.

**Makes** a store that can be served from, or another release live; each is an entry of the audit trail.
**Waits for** your click: neither has a schedule. The form says what each field means.

### Triage
- Red `restore`: ours. Its notes say what the errors mean. Clear it, and it goes on.
- Red `roll_back`: what was live is live. Look at the servers first (`make status`), then clear it.
"""

from pathlib import Path

from airflow.sdk import DAG

from operators.policies import maintenance
from operators.recipes import readable_recipes
from operators.restore import RestoreOperator
from operators.restore_form import restore_form
from operators.roll_back import RollBackOperator, roll_back_form

known = readable_recipes(Path(__file__).parent / "recipes")
recipes = {recipe.name: recipe for recipe in known if recipe.deployment}

with DAG(
    dag_id="restore_platform",
    dag_display_name="Restore a backup",
    description="Bring a release and all it reaches from the backup store into an empty place.",
    schedule=None,
    params=restore_form(list(recipes)),
    **maintenance(__doc__),
):
    RestoreOperator(task_id="restore", doc_md=RestoreOperator.doc_md)

with DAG(
    dag_id="roll_back_release",
    dag_display_name="Roll back a release",
    description="Make a recipe's former release live again.",
    schedule=None,
    params=roll_back_form(list(recipes)),
    **maintenance(__doc__),
):
    RollBackOperator(task_id="roll_back", recipes=recipes, doc_md=RollBackOperator.doc_md)
