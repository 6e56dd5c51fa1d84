"""Training state in parts: what one rank writes of it, and any gang of ranks reads again.

A part is a safetensors file whose header says where in the whole each of its tensors lies. That is the format of
torch's `HuggingFaceStorageWriter`, so torch's reader and load planner share it out anew over any number of ranks. Parts
are written here, because torch has all ranks agree on a plan first, by pickles; nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.tensor import DTensor

from operators.core.errors import DataError, StorageError

if TYPE_CHECKING:
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

Tensors = dict[str, torch.Tensor]
_PLACES = "DCP_SHARDING_INFO"
"""What torch calls the header's places."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Copies on the host of what one rank writes."""

    tensors: Tensors
    offsets: dict[str, list[int]]
    """By tensor: where its first element lies in the whole."""


def take_part(state: Mapping[str, torch.Tensor], own: Tensors, rank: int, ranks: int, degree: int) -> Part:
    """Return copies of this rank's share of a state: no two ranks copy the same.

    Args:
        state: As it lies on this rank, sharded or whole. What several ranks hold alike they share out by rows.
        own: Of this rank alone.
        rank: Its number.
        ranks: How many there are.
        degree: Ranks in a row that hold one replica of what is sharded.
    """
    tensors, offsets = {}, {}
    for name, tensor in state.items():
        replica, replicas = rank, ranks
        local, offset = tensor.detach(), [0] * tensor.dim()
        if isinstance(tensor, DTensor):
            replica, replicas = rank // degree, ranks // degree
            (chunk,) = tensor.__create_chunk_list__()  # type: ignore[no-untyped-call]
            local, offset = tensor.to_local().detach(), list(chunk.offsets)
        if local.dim():
            first, end = (len(local) * number // replicas for number in (replica, replica + 1))
            local, offset[0] = local[first:end], offset[0] + first
        elif replica:
            continue
        if local.numel():
            tensors[name], offsets[name] = local.to("cpu", copy=True).contiguous(), offset
    whole = {name: [0] * tensor.dim() for name, tensor in own.items()}
    return Part(tensors=tensors | own, offsets=offsets | whole)


def write_part(part: Part, path: Path) -> None:
    """Have the part in a file that gives back the same bits when it is loaded.

    Raises:
        StorageError: It does not, or the local disk took no more.
    """
    places = {name: {"saved_offsets": offset} for name, offset in part.offsets.items()}
    try:
        save_file(part.tensors, path, metadata={_PLACES: json.dumps(places)})
        loaded = load_file(path)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"{path} could not be written: {error}") from error
    if not all(_has_bits_of(loaded[name], tensor) for name, tensor in part.tensors.items()):
        raise StorageError(f"{path} does not give back what was written: check the local disk")


def _has_bits_of(left: torch.Tensor, right: torch.Tensor) -> bool:
    return torch.equal(left.reshape(-1).view(torch.uint8), right.reshape(-1).view(torch.uint8))


class StoredState:
    """A state as the files of a folder hold it between them."""

    def __init__(self, folder: Path) -> None:
        """Read the headers.

        Raises:
            DataError: A file is none of the format, or something of the state is in none of them.
        """
        self._reader = HuggingFaceStorageReader(str(folder))
        try:
            self._metadata = self._reader.read_metadata()
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise DataError(f"the checkpoint's parts are unreadable: {error}") from error
        self._found = cast("dict[str, TensorStorageMetadata]", self._metadata.state_dict_metadata)
        for name, found in self._found.items():
            if sum(chunk.sizes.numel() for chunk in found.chunks) != found.size.numel():
                raise DataError(f"the checkpoint holds {name} in part, or twice")

    @property
    def tensors(self) -> dict[str, tuple[torch.Size, torch.dtype]]:
        """Shape and type of every tensor, by name."""
        return {name: (found.size, found.properties.dtype) for name, found in self._found.items()}

    def fill(self, targets: Tensors) -> None:
        """Set tensors, or the shares that this rank holds of them, to what is stored; only that is read.

        Raises:
            DataError: One is not there, or has another shape.
        """
        planner: Any = DefaultLoadPlanner()
        planner.set_up_planner(targets, self._metadata, is_coordinator=True)
        self._reader.set_up_storage_reader(self._metadata, True)
        try:
            plan = planner.create_local_plan()
        except (RuntimeError, ValueError) as error:
            raise DataError(f"the checkpoint is of another model: {error}") from error
        with torch.no_grad():
            self._reader.read_data(self._reader.prepare_local_plan(plan), planner)
