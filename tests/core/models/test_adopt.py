"""A base model enters the store only byte for byte as it is pinned, and never with code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from operators.core.errors import DataError
from operators.core.manifest import sha256_of_file
from operators.core.models.adopt import adopt_model
from operators.core.models.spec import BaseModelSpec
from operators.core.progress import no_progress
from operators.core.storage import Store

NAMES = ("config.json", "model.safetensors", "tokenizer.json")


def write_model(folder: Path, **config: object) -> BaseModelSpec:
    """Write a model's files and return the spec that pins them."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertModel"], **config}))
    (folder / "tokenizer.json").write_text("{}")
    save_file({"weight": np.ones((2, 3), np.float32)}, folder / "model.safetensors")
    return pin(folder)


def pin(folder: Path) -> BaseModelSpec:
    """Return the spec that pins a folder's files as they are."""
    return BaseModelSpec(name="tiny", digests=tuple((name, sha256_of_file(folder / name)) for name in NAMES))


def test_a_pinned_model_is_adopted_and_then_found(tmp_path: Path, store: Store) -> None:
    """The first call stores the files; the second finds them, even when the folder is gone."""
    spec = write_model(tmp_path / "model")
    first = adopt_model(store, tmp_path / "model", spec, no_progress)
    second = adopt_model(store, tmp_path / "gone", spec, no_progress)

    assert [entry.name for entry in first.manifest.files] == list(NAMES)
    assert first.manifest.facts == {"name": "tiny", "architecture": "BertModel", "tensors": 1}
    assert (first.found, second.found, second.digest) == (False, True, first.digest)


@pytest.mark.parametrize("name", NAMES)
def test_one_changed_byte_is_refused(tmp_path: Path, store: Store, name: str) -> None:
    """The message names the file and both digests, and nothing is committed."""
    spec = write_model(tmp_path / "model")
    path = tmp_path / "model" / name
    changed = bytearray(path.read_bytes())
    changed[-1] ^= 1
    path.write_bytes(changed)

    with pytest.raises(DataError, match=f"{name} has SHA-256 .* pins"):
        adopt_model(store, tmp_path / "model", spec, no_progress)
    path.write_bytes(bytes(changed[:-1] + bytes([changed[-1] ^ 1])))
    assert adopt_model(store, tmp_path / "model", spec, no_progress).found is False


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
        ({"architectures": []}, "architectures"),
    ],
)
def test_a_model_with_code_or_of_another_kind_is_refused(
    tmp_path: Path, store: Store, config: dict[str, object], word: str
) -> None:
    """Only architectures on the list are adopted, and no model brings its own code, however well pinned."""
    spec = write_model(tmp_path / "model", **config)

    with pytest.raises(DataError, match=word):
        adopt_model(store, tmp_path / "model", spec, no_progress)


def test_weights_that_are_no_safetensors_are_refused(tmp_path: Path, store: Store) -> None:
    """A pickle under the right name, pinned, is still no safetensors file."""
    write_model(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"\x80\x04" + b"K\x01." * 40)

    with pytest.raises(DataError, match="unreadable"):
        adopt_model(store, tmp_path / "model", pin(tmp_path / "model"), no_progress)


def test_a_file_that_may_not_be_adopted_cannot_be_pinned() -> None:
    """A spec that names a pickle is refused when it is made."""
    digests = tuple((name, "0" * 64) for name in (*NAMES, "pytorch_model.bin"))

    with pytest.raises(ValueError, match=r"pytorch_model\.bin"):
        BaseModelSpec(name="tiny", digests=digests)
