"""Stage `adopt_model`: a base model's pinned files, proven to be what the spec names, enter the store."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from operators.core.errors import DataError
from operators.core.manifest import Input, Made, StageCall, sha256_of_file, spec_json
from operators.core.models.spec import BaseModelSpec
from operators.core.progress import Progress
from operators.core.storage import Result, Store

REVISION = 4


def adopt_model(store: Store, folder: Path, spec: BaseModelSpec, progress: Progress) -> Result:
    """Return the base model that `spec` pins, in the store.

    Only the pinned files are read, whatever else lies in the folder. The run key follows from the pinned digests, so a
    model that was adopted before is found without its folder.

    Raises:
        DataError: A file is missing or differs, the architecture is not allowed, or the model brings code of its own.
    """
    pinned = sorted(spec.digests)
    call = StageCall(
        stage="adopt_model",
        revision=REVISION,
        inputs=tuple(Input(role="source", identity=digest) for _, digest in pinned),
        spec=spec_json(spec),
    )

    def make() -> Made:
        for name, digest in pinned:
            _check_digest(folder / name, digest)
        config = _check_config(folder / "config.json", spec)
        tensors = _check_weights(folder / "model.safetensors")
        files = []
        for done, (name, _) in enumerate(pinned, start=1):
            files.append(store.put_file(name, folder / name))
            progress(done, len(pinned), name)
        facts = {"name": spec.name, "architecture": config["architectures"][0], "tensors": tensors}
        return Made(files=tuple(files), facts=facts)

    return store.once(call, make)


def _check_digest(path: Path, digest: str) -> None:
    if not path.is_file() or path.is_symlink():
        raise DataError(f"base model: {path.name} is not in {path.parent}; fetch the model again")
    if (found := sha256_of_file(path)) != digest:
        raise DataError(
            f"base model: {path.name} has SHA-256 {found}, the recipe pins {digest}; refused, fetch it again"
        )


def _check_config(path: Path, spec: BaseModelSpec) -> dict[str, list[str]]:
    try:
        config: dict[str, list[str]] = json.loads(path.read_text())
        named = set(config["architectures"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"base model: config.json is unreadable or names no architecture: {error}") from error
    if "auto_map" in config:
        raise DataError("base model: config.json has an auto_map; a model may not bring its own code")
    if len(named) != 1 or named - set(spec.architectures):
        raise DataError(
            f"base model: architectures {sorted(named)}; the recipe allows one of {list(spec.architectures)}"
        )
    return config


def _check_weights(path: Path) -> int:
    """Return the number of tensors, once the file is known to be whole."""
    try:
        with safe_open(str(path), framework="numpy") as tensors:
            return len(list(tensors.keys()))
    except (SafetensorError, OSError) as error:
        raise DataError(f"base model: model.safetensors is unreadable: {error}") from error
