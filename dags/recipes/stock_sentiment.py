"""Whether a short post on a stock is positive or negative; reads the CSV of Surge AI's stock-sentiment as it is.

What it reads and what it is good for: docs/recipes.md.
"""

from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy
from operators.core.compression.spec import CompressionSpec
from operators.core.deployment.spec import DeploymentSpec
from operators.core.evaluation.spec import EvaluationSpec, GateSpec
from operators.core.finetuning.spec import TrainingSpec
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.recipe import Recipe
from operators.core.sources.spec import Column, Content, Format, SourceSpec
from operators.core.validation.spec import Expectation, ValidationSpec

TICKER, TEXT, LABEL, URL = "Stock Ticker", "Tweet Text", "Sentiment", "Tweet URL"
LABELS = ("Negative", "Positive")


RECIPE = Recipe(
    name="stock_sentiment",
    title="Retrain stock sentiment",
    owner="ml-platform",
    description="Tells positive from negative posts on stocks, retrained on the last year of them.",
    window_days=365,
    source=SourceSpec(
        folder="stocks",
        format=Format.CSV,
        columns=tuple(Column(name) for name in (TICKER, TEXT, LABEL, URL)),
        content=Content.PLAIN,
        id_column=URL,
        label_column=LABEL,
        text_columns=(TEXT,),
    ),
    validation=ValidationSpec(
        expectations=(
            Expectation.of_rows("wrong_type", "be_null", "wrong_type"),
            Expectation.of_rows(URL, "match_regex", "url_malformed", regex=r"^https://[^\s/]+/\S+$"),
            Expectation.of_rows(URL, "be_unique", "url_repeated"),
            Expectation.of_rows(LABEL, "be_in_set", "label_unknown", value_set=LABELS),
            Expectation.of_rows(
                TICKER, "match_regex", "ticker_malformed", regex=r"^\$[A-Za-z.]{1,10}(?: \$[A-Za-z.]{1,10})*$"
            ),
            Expectation.of_rows("text_characters", "be_between", "text_empty", min_value=1),
            Expectation.of_rows("text_characters", "be_between", "text_too_long", max_value=2000),
        ),
    ),
    anonymisation=AnonymisationSpec(
        columns=(
            # A post's address names who wrote it.
            ColumnPolicy(column="id", action=Action.PSEUDONYM),
            ColumnPolicy(column="label", action=Action.CATEGORY, values=LABELS),
            ColumnPolicy(column="text", action=Action.TEXT),
            ColumnPolicy(column=TICKER, action=Action.KEEP),
        ),
    ),
    ingestion=IngestionSpec(max_text_characters=1000),
    dataset=DatasetSpec(test_share=0.2),
    base_model=ALL_MINILM_L6_V2,
    training=TrainingSpec(epochs=6, batch_size=16, max_length=96, encoder_rate=1e-4, head_rate=1e-2),
    evaluation=EvaluationSpec(slices=(TICKER,)),
    compression=CompressionSpec(),
    gate=GateSpec(min_score=0.7, max_score_drop=0.03),
    deployment=DeploymentSpec(),
    examples=(
        "$TSLA deliveries beat every estimate, I am adding to my position",
        "$NFLX lost subscribers again, time to get out",
    ),
)
