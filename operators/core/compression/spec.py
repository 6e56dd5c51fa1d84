"""What to make of a trained model, how to measure it, and what decides between the candidates."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from operators.core.training.spec import GuidanceSpec

MOST_CANDIDATES = 8
"""As many digests as a task may hand on."""
Objective = Literal["p50_ms", "bytes", "memory_bytes", "joules_per_1000"]
"""What the released candidate has least of: milliseconds of a text, bytes of its file or in memory, energy."""


class CandidateKind(enum.Enum):
    """Forms in which a model can be released."""

    ONNX_FP32 = "onnx_fp32"
    """The graph exported in single precision: the parent's answers to the last few digits."""
    FUSED = "onnx_fused"
    """The same with operators put together, as far as that goes; the manifest counts how often."""
    FP16 = "fp16"
    """Weights stored in half precision, computed in single: half the bytes, no faster on a CPU. Never chosen
    where one does not fit."""
    BF16 = "bf16"
    """Weights stored as bfloat16, computed in single: every weight fits, with three digits less than fp16 keeps."""
    INT8 = "int8"
    """Weights as int8 with a scale per channel, activations quantised at run time."""
    INT8_STATIC = "int8_static"
    """The same with the scales of activations fixed beforehand, from training rows."""
    INT4 = "int4"
    """Matrices and embeddings in blocks of 4-bit weights: the smallest; computed in int8."""


REQUIRED: dict[CandidateKind, tuple[str, ...]] = {
    CandidateKind.INT8_STATIC: ("calibration_rows", "calibration"),
    CandidateKind.INT4: ("block_size",),
}
"""Fields of `QuantisationSpec` that decide what a kind becomes; of other kinds none does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantisationSpec:
    """What some kinds leave open."""

    calibration_rows: int = 128
    """Training rows, spread over all by length, from which static int8 takes the ranges of activations."""
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    """How: the widest value seen, the range that loses least information, or all but the outermost values."""
    block_size: Literal[16, 32, 64, 128] = 32
    """Weights that share a scale in int4: fewer keep more of the answers and take more bytes."""

    def __post_init__(self) -> None:
        if not 8 <= self.calibration_rows <= 10_000:
            raise ValueError(f"calibration_rows={self.calibration_rows}: choose 8 to 10000")
        for name, choices in (("calibration", ("minmax", "entropy", "percentile")), ("block_size", (16, 32, 64, 128))):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name}={value!r}: choose one of {', '.join(map(str, choices))}")

    def of(self, kind: CandidateKind) -> dict[str, Any]:
        """Return what decides a kind: its run key holds that and nothing else."""
        return {name: getattr(self, name) for name in REQUIRED.get(kind, ())}


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportSpec:
    """How the parent becomes a graph, and how close to PyTorch the graph must stay."""

    opset: int = 18
    """Version of the ONNX operator set; 18 is what torch's exporter implements natively."""
    parity_texts: int = 64
    """Held-out texts on which a graph is compared with its parent, layer by layer."""
    max_logit_difference: float = 1e-3
    """Largest absolute difference of any logit, exported against PyTorch; measured about 4e-6 on MiniLM."""

    def __post_init__(self) -> None:
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
    """Held-out texts timed one by one, the models interleaved so that noise of the machine meets all alike."""
    latency_batches: int = 12
    """Batches of 16 such texts, timed in the same way."""
    warm_up_texts: int = 5
    """Texts answered before the clock counts."""

    def __post_init__(self) -> None:
        if self.latency_texts < 10:
            raise ValueError(f"latency_texts={self.latency_texts}: at least 10, a percentile needs a sample")
        if self.latency_batches < 5:
            raise ValueError(f"latency_batches={self.latency_batches}: at least 5, a percentile needs a sample")
        if self.warm_up_texts < 0:
            raise ValueError(f"warm_up_texts={self.warm_up_texts}: cannot be negative")


@dataclass(frozen=True, kw_only=True, slots=True)
class BudgetSpec:
    """What a candidate may cost; of those within it the one with least of the objective is released."""

    max_score_drop: float = 0.005
    """What a candidate may lose against its parent on the test rows, in parts of 1: of the accuracy of texts, of the
    strict F1 of spans."""
    min_agreement: float = 0.99
    """Part of all rows on which it must predict what its parent predicts."""
    max_bytes: int | None = None
    """Largest size of the model file; None for any size."""
    max_p99_ms: float | None = None
    """Longest time that one text in a hundred may take, alone, in milliseconds; None for any."""
    max_memory_bytes: int | None = None
    """Most memory that the model may take beside its libraries; None for any."""
    objective: Objective = "p50_ms"
    """What the released one has least of."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_score_drop < 1:
            raise ValueError(f"max_score_drop={self.max_score_drop}: at least 0 and below 1")
        if not 0 <= self.min_agreement <= 1:
            raise ValueError(f"min_agreement={self.min_agreement}: 0 to 1")
        for name, least in (("max_bytes", 1), ("max_p99_ms", 0.001), ("max_memory_bytes", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name}={value}: at least {least}, or None for any")
        if self.objective not in get_args(Objective):
            raise ValueError(f"objective={self.objective!r}: choose one of {', '.join(get_args(Objective))}")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapeSpec:
    """What is cut away of a fine-tuned model."""

    layers: int | None = None
    """Layers that stay, spread evenly over all; None for every one."""
    heads: float = 1.0
    """Share of each layer's attention heads that stay: those that change the answers most."""
    units: float = 1.0
    """Share of each layer's feed-forward units that stay, as heads do; a multiple of 8."""
    sparsity: float = 0.0
    """Share of each matrix of a layer that becomes zero, the smallest first. Zeros cost the time of other numbers."""
    importance_rows: int = 256
    """Training rows on which it is seen what changes the answers."""

    def __post_init__(self) -> None:
        if self.layers is not None and not (type(self.layers) is int and 1 <= self.layers <= 1000):
            raise ValueError(f"layers={self.layers!r}: choose 1 to 1000, or None for all")
        for name, lowest, highest in (
            ("heads", 0.05, 1.0),
            ("units", 0.05, 1.0),
            ("sparsity", 0.0, 0.95),
            ("importance_rows", 8, 100_000),
        ):
            if not lowest <= (value := getattr(self, name)) <= highest:
                raise ValueError(f"{name}={value!r}: choose {lowest:g} to {highest:g}")

    @property
    def cuts(self) -> bool:
        """Whether anything is cut."""
        return self.layers is not None or self.heads < 1 or self.units < 1 or self.sparsity > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class StudentSpec:
    """A smaller model, cut from the fine-tuned one and trained on the same rows until it answers alike."""

    name: str
    """`[a-z][a-z0-9-]{0,19}`: the first part of its candidates' names."""
    shape: ShapeSpec
    guidance: GuidanceSpec | None = field(default_factory=GuidanceSpec)
    """What it learns of the model that it was cut from (distillation); None recovers by labels alone."""
    epochs: int = 3
    """Passes over the training rows; all that is not here is as the recipe trains."""
    encoder_rate: float = 1e-4
    """Peak learning rate of the encoder."""
    head_rate: float = 1e-3
    """Peak learning rate of the head, which is there already."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", self.name):
            raise ValueError(f"student {self.name!r}: a lower-case letter, then up to 19 of a-z, 0-9 and '-'")
        if not self.shape.cuts:
            raise ValueError(f"student {self.name!r} cuts nothing: set layers, heads, units or sparsity of its shape")


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateSpec:
    """One form of the fine-tuned model, or of a student."""

    kind: CandidateKind
    of: str | None = None
    """Name of a student; None for the fine-tuned model itself."""

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.kind.value if self.of is None else f"{self.of}_{self.kind.value}"


@dataclass(frozen=True, kw_only=True, slots=True)
class CompressionSpec:
    """Three stages: make candidates, measure them, choose."""

    candidates: tuple[CandidateSpec, ...] = (
        CandidateSpec(kind=CandidateKind.ONNX_FP32),
        CandidateSpec(kind=CandidateKind.INT8),
    )
    """What is made, measured and chosen from; at most 8, each once."""
    students: tuple[StudentSpec, ...] = ()
    """Smaller models that candidates are made of too; each is a training, so none is made by default."""
    export: ExportSpec = field(default_factory=ExportSpec)
    quantisation: QuantisationSpec = field(default_factory=QuantisationSpec)
    measurement: MeasurementSpec = field(default_factory=MeasurementSpec)
    budget: BudgetSpec = field(default_factory=BudgetSpec)

    def __post_init__(self) -> None:
        names = [one.name for one in self.candidates]
        if not 1 <= len(names) <= MOST_CANDIDATES or len(set(names)) != len(names):
            raise ValueError(f"candidates={names}: name 1 to {MOST_CANDIDATES}, each once")
        students = [one.name for one in self.students]
        if len(set(students)) != len(students):
            raise ValueError(f"students={students}: give each a name of its own")
        used = {one.of for one in self.candidates if one.of is not None}
        if unknown := sorted(used - set(students)):
            raise ValueError(f"candidates of {unknown}: the students are {students}")
        if unused := sorted(set(students) - used):
            raise ValueError(f"students {unused}: no candidate is made of them; add one, or leave them out")
