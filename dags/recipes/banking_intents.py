"""What a customer of a bank wants, one of 77 intents; reads the CSV files of Banking77 as they are.

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

LABELS = tuple(
    """
    Refund_not_showing_up activate_my_card age_limit apple_pay_or_google_pay atm_support automatic_top_up
    balance_not_updated_after_bank_transfer balance_not_updated_after_cheque_or_cash_deposit beneficiary_not_allowed
    cancel_transfer card_about_to_expire card_acceptance card_arrival card_delivery_estimate card_linking
    card_not_working card_payment_fee_charged card_payment_not_recognised card_payment_wrong_exchange_rate
    card_swallowed cash_withdrawal_charge cash_withdrawal_not_recognised change_pin compromised_card
    contactless_not_working country_support declined_card_payment declined_cash_withdrawal declined_transfer
    direct_debit_payment_not_recognised disposable_card_limits edit_personal_details exchange_charge exchange_rate
    exchange_via_app extra_charge_on_statement failed_transfer fiat_currency_support get_disposable_virtual_card
    get_physical_card getting_spare_card getting_virtual_card lost_or_stolen_card lost_or_stolen_phone
    order_physical_card passcode_forgotten pending_card_payment pending_cash_withdrawal pending_top_up
    pending_transfer pin_blocked receiving_money request_refund reverted_card_payment?
    supported_cards_and_currencies terminate_account top_up_by_bank_transfer_charge top_up_by_card_charge
    top_up_by_cash_or_cheque top_up_failed top_up_limits top_up_reverted topping_up_by_card
    transaction_charged_twice transfer_fee_charged transfer_into_account transfer_not_received_by_recipient
    transfer_timing unable_to_verify_identity verify_my_identity verify_source_of_funds verify_top_up
    virtual_card_not_working visa_or_mastercard why_verify_identity wrong_amount_of_cash_received
    wrong_exchange_rate_for_cash_withdrawal
    """.split()
)

RECIPE = Recipe(
    name="banking_intents",
    title="Retrain banking intents",
    owner="ml-platform",
    description="Tells which of 77 things a customer of a bank asks for, retrained on the last year of questions.",
    window_days=365,
    source=SourceSpec(
        folder="banking",
        format=Format.CSV,
        columns=(Column("text"), Column("category")),
        content=Content.PLAIN,
        label_column="category",
        text_columns=("text",),
    ),
    validation=ValidationSpec(
        expectations=(
            Expectation.of_rows("category", "be_in_set", "category_unknown", value_set=LABELS),
            Expectation.of_rows("text_characters", "be_between", "text_empty", min_value=1),
            Expectation.of_rows("text_characters", "be_between", "text_too_long", max_value=2000),
        ),
    ),
    anonymisation=AnonymisationSpec(
        columns=(
            # Rows bring no id: theirs is made of what they hold.
            ColumnPolicy(column="id", action=Action.PSEUDONYM),
            ColumnPolicy(column="label", action=Action.CATEGORY, values=LABELS),
            ColumnPolicy(column="text", action=Action.TEXT),
        ),
    ),
    ingestion=IngestionSpec(max_text_characters=1000),
    dataset=DatasetSpec(test_share=0.2),
    base_model=ALL_MINILM_L6_V2,
    training=TrainingSpec(epochs=3, batch_size=32, max_length=64, encoder_rate=1.5e-4, head_rate=1e-2, dropout=0.0),
    evaluation=EvaluationSpec(),
    compression=CompressionSpec(),
    gate=GateSpec(min_score=0.92, max_score_drop=0.01),
    deployment=DeploymentSpec(),
    examples=("I ordered a card two weeks ago and it is not here yet", "Why did I pay a fee at the cash machine?"),
)
