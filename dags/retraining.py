"""The main job: a DAG for each recipe. What it says of itself in the UI lies beside this file."""

from pathlib import Path

from airflow.sdk import DAG

from operators.adopt_model import AdoptModelOperator
from operators.approve import ApproveReleaseOperator
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
from operators.parameters import trigger_form
from operators.policies import NIGHTLY, STARTS_OVER, TRAINING, retraining
from operators.publish_dataset import PublishDatasetOperator
from operators.recipes import load_recipes
from operators.tune import TuneOperator
from operators.validate import ValidateOperator

NOTES = Path(__file__).with_suffix(".md").read_text()

for recipe in load_recipes(Path(__file__).parent / "recipes"):
    with DAG(schedule=NIGHTLY, params=trigger_form(recipe), **retraining(recipe, NOTES)):
        listing = DiscoverOperator(task_id="discover", recipe=recipe).output
        valid = ValidateOperator.partial(task_id="validate", recipe=recipe, doc_md=ValidateOperator.doc_md)
        parts = IngestOperator.partial(task_id="ingest", recipe=recipe, doc_md=IngestOperator.doc_md)
        parts = parts.expand(validation=valid.expand(listing=listing).output).output
        base = AdoptModelOperator(task_id="adopt_model", recipe=recipe).output
        data = PublishDatasetOperator(task_id="publish_dataset", recipe=recipe, parts=parts, base_model=base)
        CheckDriftOperator(task_id="check_drift", recipe=recipe, parts=parts) >> data
        read = {"recipe": recipe, "dataset": data.output, "base_model": base}
        if recipe.pretraining:
            read["base_model"] = ContinuePretrainingOperator(task_id="continue_pretraining", **read, **TRAINING).output
        best = TuneOperator(task_id="tune", **read, **TRAINING).output if recipe.search else None
        model = FineTuneOperator(task_id="fine_tune", search=best, **read, **TRAINING).output
        proof = EvaluateOperator(task_id="evaluate", model=model, **read, **STARTS_OVER)
        if recipe.compression is None:
            continue  # its model does not go live
        made = MakeCandidatesOperator(task_id="make_candidates", recipe=recipe, model=model, **STARTS_OVER).output
        small = CompressOperator(task_id="compress", recipe=recipe, candidates=made, dataset=data.output, **STARTS_OVER)
        proof >> small
        again = EvaluateOperator(task_id="evaluate_compressed", model=small.output, **read, **STARTS_OVER).output
        verdict = GateOperator(task_id="gate", recipe=recipe, evaluation=again).output
        release = DeployOperator(task_id="deploy", recipe=recipe, verdict=verdict)
        if recipe.deployment.needs_approval:
            verdict >> ApproveReleaseOperator(task_id="approve", recipe=recipe, verdict=str(verdict)) >> release
        BackUpOperator(task_id="back_up", recipe=recipe, release=release.output)
