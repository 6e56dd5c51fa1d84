"""The model as the ranks hold it together: a replica each, or parts of one, or replicas in parts."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from operators.core.models.encoder import EncoderModel
from operators.core.training.spec import LoopSpec

if TYPE_CHECKING:
    from transformers import BertModel

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What is computed in where a precision is not fp32."""


def spread(model: EncoderModel, spec: LoopSpec, device: torch.device) -> nn.Module:
    """Return what computes the model's logits on every rank, and the mean over ranks of its gradients.

    Args:
        model: On the device, its parameters marked as trained or not. It is changed in place where it is sharded.
        spec: Says how many ranks hold one replica between them.
        device: This rank's own.
    """
    if spec.fsdp_degree == 1:
        # With unused parameters looked for, DDP never rebuilds its buckets after the first step. A resumed run would
        # rebuild them at another step, and with more than two ranks add gradients in another order: other bits.
        return DistributedDataParallel(model, find_unused_parameters=True, gradient_as_bucket_view=True)
    mesh = _mesh(spec, device)
    # What ranks send each other is as small as what is computed with; sums and the residual stream stay whole.
    policy = MixedPrecisionPolicy(
        param_dtype=HALF.get(spec.precision), reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    for module in (model.embeddings, *model.layers):
        fully_shard(module, mesh=mesh, mp_policy=policy)
    # Always: else the head would lie whole where its parts are looked for, after a pass without gradients.
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    return model


def prepare(model: EncoderModel, spec: LoopSpec) -> EncoderModel:
    """Return the model with what its spec says of it: activation checkpointing, the device's kernel."""
    encoder = cast("BertModel", model.encoder)
    if spec.device == "cuda":
        encoder.set_attn_implementation("sdpa")
    if spec.activation_checkpointing:
        encoder.config.use_cache = False
        encoder.activation_checkpointing_enable({"use_reentrant": False})
    return model


def clip(model: nn.Module, most: float) -> torch.Tensor:
    """Scale the gradients down to a global norm; return the norm that they had, over all parts."""
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), most)
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def gradients(parallel: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
    """Return the context of a forward and backward pass; replicas add up their gradients in a batch's last one.

    Within a replica each rank is given those of its part in every pass: to keep them whole for longer would take the
    memory that parts save.
    """
    if isinstance(parallel, FSDPModule):
        parallel.set_requires_all_reduce(is_last)
        return nullcontext()
    assert isinstance(parallel, DistributedDataParallel)
    return nullcontext() if is_last else parallel.no_sync()


def _mesh(spec: LoopSpec, device: torch.device) -> DeviceMesh:
    replicas = dist.get_world_size() // spec.fsdp_degree
    mesh = init_device_mesh(device.type, (replicas, spec.fsdp_degree), mesh_dim_names=("ddp", "fsdp"))
    return mesh if replicas > 1 else mesh["fsdp"]
