"""Spam or ham, from a mail's subject and body: fine-tuned every night on the mail of the last sixty days."""

from operators.core.anonymisation.spec import Action, AnonymisationSpec, ColumnPolicy
from operators.core.compression.spec import CompressionSpec
from operators.core.deployment.spec import DeploymentSpec
from operators.core.evaluation.spec import EvaluationSpec, GateSpec
from operators.core.finetuning.spec import TrainingSpec
from operators.core.ingestion.spec import DatasetSpec, IngestionSpec
from operators.core.models.known import ALL_MINILM_L6_V2
from operators.core.recipe import Recipe
from operators.core.sources.spec import Column, Content, SourceSpec
from operators.core.tuning.spec import Choices, Range, SearchSpec
from operators.core.validation.spec import Expectation, ValidationSpec

COLUMNS = ("id", "group", "label", "headers", "body")
LABELS = ("ham", "spam")


def _wrong_type(column: str) -> Expectation:
    """A value of another type than the source's columns say is read as missing; this tells it from one that is."""
    return Expectation.of_rows("wrong_type", "not_be_in_set", f"{column}_wrong_type", value_set=(column,))


RECIPE = Recipe(
    name="mail_triage",
    title="Retrain mail triage",
    owner="ml-platform",
    description="Tells spam from ham by subject and body, retrained nightly on the last sixty days of mail.",
    window_days=60,
    source=SourceSpec(
        folder="mail",
        content=Content.MAIL,
        columns=tuple(Column(name) for name in COLUMNS),
        id_column="id",
        label_column="label",
        text_columns=("headers", "body"),
    ),
    validation=ValidationSpec(
        expectations=(
            Expectation.of_file("row_count_to_be_between", min_value=1, max_value=100_000),
            Expectation.of_file("columns_to_match_set", column_set=COLUMNS, exact_match=False),
            _wrong_type("id"),
            Expectation.of_rows("id", "not_be_null", "id_missing"),
            Expectation.of_rows("id", "match_regex", "id_malformed", regex=r"^[a-z0-9-]{1,20}/[0-9]{5}$"),
            Expectation.of_rows("id", "be_unique", "id_repeated"),
            _wrong_type("label"),
            Expectation.of_rows("label", "not_be_null", "label_missing"),
            Expectation.of_rows("label", "be_in_set", "label_unknown", value_set=LABELS),
            _wrong_type("headers"),
            Expectation.of_rows("headers", "not_be_null", "headers_missing"),
            _wrong_type("body"),
            Expectation.of_rows("body", "not_be_null", "body_missing"),
            Expectation.of_rows("decodable", "be_in_set", "undecodable", value_set=(True,)),
            Expectation.of_rows("text_characters", "be_between", "text_empty", min_value=1),
            Expectation.of_rows("text_characters", "be_between", "text_too_long", max_value=500_000),
            Expectation.of_rows("sent_offset_days", "not_be_null", "date_unreadable"),
            Expectation.of_rows(
                "sent_offset_days", "be_between", "date_far_from_arrival", min_value=-60.5, max_value=60.5
            ),
        ),
        max_quarantined_share=0.25,
    ),
    anonymisation=AnonymisationSpec(
        columns=(
            ColumnPolicy(column="id", action=Action.IDENTIFIER),
            ColumnPolicy(column="label", action=Action.CATEGORY, values=LABELS),
            ColumnPolicy(column="text", action=Action.TEXT),
        ),
    ),
    ingestion=IngestionSpec(max_text_characters=4000),
    # A campaign is one mail with other names in it: copies teach nothing, and in the test split they flatter.
    dataset=DatasetSpec(test_share=0.2, near_duplicates=0.8),
    base_model=ALL_MINILM_L6_V2,
    # Off until somebody asks for trials: in the trigger form, or here.
    search=SearchSpec(
        space=(
            Range("encoder_rate", 3e-5, 5e-4, is_log=True),
            Range("head_rate", 1e-3, 3e-2, is_log=True),
            Choices("batch_size", (16, 32, 64)),
        ),
    ),
    training=TrainingSpec(epochs=2, batch_size=32, max_length=128, encoder_rate=1.5e-4, head_rate=1e-2, dropout=0.0),
    evaluation=EvaluationSpec(),
    compression=CompressionSpec(),
    gate=GateSpec(min_score=0.9, max_score_drop=0.01),
    deployment=DeploymentSpec(),
    examples=(
        "Congratulations, you have been selected\nClaim your FREE prize now! Click here and earn $5000 a week working "
        "from home. No risk, no obligation, money back guarantee. Reply REMOVE to be taken off our list.",
        "Re: patch for the build on RPM systems\nThanks, that fixed it for me. I rebuilt the package this morning and "
        "the tests pass; I will commit it to CVS once somebody else has had a look.",
    ),
)
