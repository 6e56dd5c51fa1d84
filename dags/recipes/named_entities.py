"""Who and what a short post names: people, places, companies, groups, products, works; reads WNUT-17 as it is.

What it reads and what it is good for: docs/recipes.md.
"""

from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy
from operators.core.compression.spec import BudgetSpec, CompressionSpec
from operators.core.deployment.spec import DeploymentSpec
from operators.core.evaluation.spec import EvaluationSpec, GateSpec
from operators.core.finetuning.spec import TrainingSpec
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.recipe import Recipe
from operators.core.sources.spec import Column, Content, Format, SourceSpec
from operators.core.validation.spec import Expectation, ValidationSpec

NAMES = ("corporation", "creative-work", "group", "location", "person", "product")

RECIPE = Recipe(
    name="named_entities",
    title="Retrain named entities",
    owner="ml-platform",
    description="Finds the people, places, companies, groups, products and works that a post names.",
    window_days=365,
    source=SourceSpec(
        folder="entities",
        format=Format.CONLL,
        columns=(Column("text"), Column("entities")),
        content=Content.PLAIN,
        label_column="entities",
        text_columns=("text",),
    ),
    validation=ValidationSpec(
        expectations=(
            Expectation.of_rows("wrong_type", "be_null", "tags_malformed"),
            Expectation.of_rows(
                "entities",
                "match_regex",
                "entity_unknown",
                regex=rf'^\[(?:\[[0-9]+,[0-9]+,"(?:{"|".join(NAMES)})"\],?)*\]$',
            ),
            Expectation.of_rows("text_characters", "be_between", "text_empty", min_value=1),
            Expectation.of_rows("text_characters", "be_between", "text_too_long", max_value=2000),
        ),
    ),
    anonymisation=AnonymisationSpec(
        columns=(
            # Rows bring no id: theirs is made of what they hold.
            ColumnPolicy(column="id", action=Action.PSEUDONYM),
            ColumnPolicy(column="label", action=Action.SPANS, values=NAMES),
            ColumnPolicy(column="text", action=Action.TEXT),
        ),
    ),
    ingestion=IngestionSpec(max_text_characters=1000),
    dataset=DatasetSpec(test_share=0.2),
    base_model=ALL_MINILM_L6_V2,
    training=TrainingSpec(
        task="token_classification",
        epochs=3,
        batch_size=16,
        max_length=128,
        encoder_rate=3e-4,
        head_rate=1e-3,
        # A row's loss is the sum over its words.
        clip_norm=10.0,
    ),
    evaluation=EvaluationSpec(),
    # One word of a text that is told otherwise makes the whole answer another.
    compression=CompressionSpec(budget=BudgetSpec(max_score_drop=0.02, min_agreement=0.9)),
    gate=GateSpec(min_score=0.36, max_score_drop=0.03),
    deployment=DeploymentSpec(),
    examples=("Ada Lovelace is moving from London to Seattle", "My new Kindle arrived, thank you Amazon"),
)
