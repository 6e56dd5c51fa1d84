"""What to make of a trained model, how to measure it, and what decides between the candidates."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class CandidateKind(enum.Enum):
    """Forms in which a model can be released."""

    ONNX_FP32 = "onnx_fp32"
    """The graph exported in single precision: the parent's answers to the last few digits."""
    INT8 = "int8"
    """Weights as int8 with a scale per channel, activations quantised at run time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportSpec:
    """What is made of the parent, and how close to PyTorch the exported graph must stay."""

    candidates: tuple[CandidateKind, ...] = (CandidateKind.ONNX_FP32, CandidateKind.INT8)
    opset: int = 18
    """Version of the ONNX operator set; 18 is what torch's exporter implements natively."""
    parity_texts: int = 64
    """Real texts on which the exported graph is compared with PyTorch."""
    max_logit_difference: float = 1e-3
    """Largest absolute difference of any logit, exported against PyTorch; measured about 4e-6 on MiniLM."""

    def __post_init__(self) -> None:
        if not self.candidates or len(set(self.candidates)) != len(self.candidates):
            raise ValueError(f"candidates={self.candidates}: name at least one kind, each once")
        if not 17 <= self.opset <= 23:
            raise ValueError(f"opset={self.opset}: 17 to 23 are supported, 18 is the tested one")
        if self.parity_texts < 1:
            raise ValueError(f"parity_texts={self.parity_texts}: compare at least one text")
        if not 0 < self.max_logit_difference <= 1:
            raise ValueError(f"max_logit_difference={self.max_logit_difference}: must be above 0 and at most 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasurementSpec:
    """How candidates are timed and compared with their parent."""

    latency_texts: int = 100
    """Real texts timed one by one, the models interleaved so that noise of the machine meets all alike."""
    warm_up_texts: int = 5
    """Texts answered before the clock counts."""

    def __post_init__(self) -> None:
        if self.latency_texts < 10:
            raise ValueError(f"latency_texts={self.latency_texts}: at least 10, a percentile needs a sample")
        if self.warm_up_texts < 0:
            raise ValueError(f"warm_up_texts={self.warm_up_texts}: cannot be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetSpec:
    """What a candidate may cost; the fastest within it is released."""

    max_score_drop: float = 0.005
    """What a candidate may lose against its parent on the test rows, in parts of 1: of the accuracy of texts, of the
    strict F1 of spans."""
    min_agreement: float = 0.99
    """Part of all rows on which it must predict what its parent predicts."""
    max_bytes: int | None = None
    """Largest size of the model file; None for any size."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_score_drop < 1:
            raise ValueError(f"max_score_drop={self.max_score_drop}: at least 0 and below 1")
        if not 0 <= self.min_agreement <= 1:
            raise ValueError(f"min_agreement={self.min_agreement}: 0 to 1")
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ValueError(f"max_bytes={self.max_bytes}: at least 1, or None for any size")


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressionSpec:
    """Three stages: make candidates, measure them, choose."""

    export: ExportSpec = field(default_factory=ExportSpec)
    measurement: MeasurementSpec = field(default_factory=MeasurementSpec)
    budget: BudgetSpec = field(default_factory=BudgetSpec)
