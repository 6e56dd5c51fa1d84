"""What a recipe is: the specs of all stages of one model, checked when it is made. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from operators.core.anonymisation.spec import Action, AnonymisationSpec
from operators.core.compression.spec import CompressionSpec
from operators.core.deployment.spec import DeploymentSpec
from operators.core.evaluation.spec import EvaluationSpec, GateSpec
from operators.core.finetuning.language_spec import PretrainingSpec
from operators.core.finetuning.spec import TrainingSpec
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec, OutputColumn, check_risk, output_columns
from operators.core.models.spec import DECODERS, ENCODERS, BaseModelSpec
from operators.core.sources.spec import SourceSpec
from operators.core.training.spec import CAUSAL
from operators.core.tuning.spec import SearchSpec
from operators.core.validation.spec import ValidationSpec

LONGEST_WINDOW_DAYS = 3660


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One model, from its source files to its servers."""

    name: str
    """`[a-z][a-z0-9_]{0,30}`: part of the DAG's name, of streams and of the served model's name."""
    title: str
    owner: str
    """Who is asked when it fails."""
    description: str
    window_days: int
    """Days of source data, ending with the run's day."""
    source: SourceSpec
    validation: ValidationSpec
    anonymisation: AnonymisationSpec
    ingestion: IngestionSpec
    dataset: DatasetSpec
    base_model: BaseModelSpec
    pretraining: PretrainingSpec | None = None
    """How the base model first learns the data set's words; None leaves it as it is."""
    training: TrainingSpec
    search: SearchSpec | None = None
    """What hyper-parameters may be searched before the training, and how; None has no such task."""
    evaluation: EvaluationSpec
    compression: CompressionSpec | None
    """How what goes live is made small; with None the recipe ends with its evaluation, and has neither of the next."""
    gate: GateSpec | None
    deployment: DeploymentSpec | None
    examples: tuple[str, ...] = ()
    """Texts that a run's summary asks the live model about."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", self.name):
            raise ValueError(f"recipe name {self.name!r}: a lower-case letter, then up to 30 of a-z, 0-9 and '_'")
        if not 1 <= self.window_days <= LONGEST_WINDOW_DAYS:
            raise ValueError(f"window_days={self.window_days}: from 1 to {LONGEST_WINDOW_DAYS}")
        check_slices(output_columns(self.source, self.anonymisation), self.evaluation)
        check_task(self)
        if self.dataset.risk is not None:
            check_risk(self.source, self.anonymisation, self.dataset.risk)
        if self.dataset.tokens is not None and self.training.task != "text_classification":
            raise ValueError(f"dataset.tokens: {self.training.task!r} takes the text of a row, too; leave it out")
        if self.gate is not None and self.gate.min_stays is not None and not self.evaluation.perturbed_rows:
            raise ValueError("gate.min_stays: nothing is measured with evaluation.perturbed_rows=0, set some")
        if self.search is not None:
            check_search(self.training, self.search)

    def with_params(self, params: Mapping[str, Any]) -> Recipe:
        """Return the recipe with a run's parameters in place of its own values; those that are None stay.

        Raises:
            ValueError: A value is outside its range; the message names it.
        """
        given = {name: value for name, value in params.items() if value is not None}
        training = {
            field: given[name]
            for name, field in (
                ("epochs", "epochs"),
                ("learning_rate", "encoder_rate"),
                ("max_length", "max_length"),
                ("ranks", "ranks"),
            )
            if name in given
        }
        pretraining = self.pretraining
        if pretraining is not None:
            shared = {name: training[name] for name in ("max_length", "ranks") if name in training}
            pretraining = replace(pretraining, **shared)
        gate = self.gate
        if gate is not None and "quality_floor" in given:
            gate = replace(gate, min_score=given["quality_floor"])
        search = self.search
        if search is not None and "search_trials" in given:
            search = replace(search, trials=given["search_trials"])
        drift = replace(self.validation.drift, blocks=not given.get("accept_drift", not self.validation.drift.blocks))
        return replace(
            self,
            window_days=given.get("window_days", self.window_days),
            pretraining=pretraining,
            training=replace(self.training, **training),
            search=search,
            gate=gate,
            validation=replace(self.validation, drift=drift),
        )


def check_task(recipe: Recipe) -> None:
    """Return if labels, base model and the stages after the training are what a recipe's training needs.

    Raises:
        ValueError: One is not.
    """
    task, is_causal = recipe.training.task, recipe.training.task == CAUSAL
    if not is_causal and recipe.anonymisation.task != task:
        raise ValueError(
            f"training.task={task!r}, but by the policy of 'label' labels are for {recipe.anonymisation.task}: spans "
            "need the action SPANS, others another"
        )
    allowed = DECODERS if is_causal else ENCODERS
    if set(recipe.base_model.architectures) - set(allowed):
        raise ValueError(
            f"base_model {recipe.base_model.name!r} is of {list(recipe.base_model.architectures)}: training {task!r} "
            f"needs one of {list(allowed)}"
        )
    given = {name: getattr(recipe, name) is not None for name in ("compression", "gate", "deployment")}
    if is_causal:
        given["pretraining"] = recipe.pretraining is not None
        if refused := [name for name, is_given in given.items() if is_given]:
            raise ValueError(
                f"{' and '.join(refused)} of a recipe that trains {task!r}: it ends with its evaluation, for such a "
                "model can be neither compressed nor served; set None"
            )
    elif missing := [name for name, is_given in given.items() if not is_given]:
        raise ValueError(f"{' and '.join(missing)} of a recipe that trains {task!r} may not be None: it goes live")


def check_slices(columns: Sequence[OutputColumn], evaluation: EvaluationSpec) -> None:
    """Return if every column that test rows shall be parted by is in the data set, as something that rows share.

    Raises:
        ValueError: The policy does not keep one, or it is free text.
    """
    shared = [item.policy.column for item in columns if item.policy.action is not Action.TEXT]
    if missing := sorted(set(evaluation.slices) - set(shared)):
        raise ValueError(
            f"evaluation.slices: of {missing} the policy keeps nothing that rows could share; it does of {shared}: "
            "give each an action other than DROP and TEXT, or leave it out"
        )


def check_search(training: TrainingSpec, search: SearchSpec) -> None:
    """Return if every value that a search may try fits the training's spec.

    Raises:
        ValueError: One does not, or its name is no field that a search may set.
    """
    for parameter in search.space:
        if not training.has(parameter.name):
            raise ValueError(f"search: {parameter.name!r} is no field of the training's spec that changes a model")
        for value in parameter.edges:
            training.replaced({parameter.name: value})
