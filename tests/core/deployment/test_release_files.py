"""What a server loads: by digest, by the gate's signed word on that very model, and nothing beside it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from operators.core.deployment.releases import Release, Wanted, make_release
from operators.core.deployment.server.release_files import ReleaseFiles
from operators.core.errors import DataError, DeploymentError, NightshiftError, SignatureRefused
from operators.core.manifest import Made, StageCall
from operators.core.storage import Store
from tests.core.deployment.tiny import GOOD, INVERTED, RECIPE, tiny_dataset, tiny_evaluation, tiny_model, tiny_verdict
from tests.core.signers import STRANGER, TRUSTED

SECRET = "what this server alone knows"


def _release(store: Store, verdict: str, model: str | None = None) -> Release:
    """Write a release of a verdict as somebody would who can write to the store."""
    judged = store.manifest(verdict)
    digest = model or str(judged.facts["model"])
    wanted = Wanted(recipe=RECIPE, verdict=verdict, digest=digest, model=store.manifest(digest).identity, day="d")
    return make_release(store, wanted)


def _files(store: Store, trusted: tuple[str, ...] = TRUSTED, secret: str = SECRET) -> ReleaseFiles:
    return ReleaseFiles(RECIPE, lambda: store, trusted, secret)


def _gone() -> Store:
    raise DeploymentError("no store")


def _unsigned(store: Store) -> Release:
    model = tiny_model(store, GOOD)
    evaluation = tiny_evaluation(store, model, tiny_dataset(store, "d"), 0.97)
    call = StageCall(stage="gate", revision=1, inputs=(store.as_input("evaluation", evaluation),), spec={})
    facts = {"verdict": "passed", "recipe": RECIPE, "day": "d", "model": model}
    return _release(store, store.once(call, lambda: Made(facts=facts)).digest)


def _of_a_stranger(store: Store) -> Release:
    return _release(store, tiny_verdict(store, signer=STRANGER))


def _not_passed(store: Store) -> Release:
    return _release(store, tiny_verdict(store, verdict="failed"))


def _of_another_model(store: Store) -> Release:
    return _release(store, tiny_verdict(store), tiny_model(store, INVERTED))


@pytest.mark.parametrize("forge", [_unsigned, _of_a_stranger, _not_passed, _of_another_model])
def test_no_release_is_fetched_but_by_the_gate_s_word(
    forge: Callable[[Store], Release], store: Store, tmp_path: Path
) -> None:
    """Who can write to the store cannot have a model served: nothing of it reaches the server's disk."""
    release = forge(store)
    with pytest.raises(SignatureRefused):
        _files(store).have(tmp_path / "v", release.digest, was_served=False)

    assert not (tmp_path / "v").exists()


def test_a_whole_copy_needs_no_store(store: Store, tmp_path: Path) -> None:
    """What was fetched once is loaded from the disk, its verdict checked again."""
    release = _release(store, tiny_verdict(store))
    _files(store).have(tmp_path / "v", release.digest, was_served=False)
    again = ReleaseFiles(RECIPE, _gone, TRUSTED, SECRET).have(tmp_path / "v", release.digest, was_served=False)

    assert again.digest == release.digest


def test_after_a_change_of_keys_what_was_served_is_served_and_nothing_else_loaded(store: Store, tmp_path: Path) -> None:
    """The server's own mark carries what is live over a restart; asked to load it anew, the gate's word counts."""
    release = _release(store, tiny_verdict(store))
    _files(store).have(tmp_path / "v", release.digest, was_served=False)
    changed = _files(store, trusted=(STRANGER.public_key,))

    assert changed.have(tmp_path / "v", release.digest, was_served=True).digest == release.digest
    with pytest.raises(SignatureRefused):
        changed.have(tmp_path / "v", release.digest, was_served=False)


def test_a_mark_that_somebody_else_made_counts_for_nothing(store: Store, tmp_path: Path) -> None:
    """Who can write to the server's disk and not to its environment cannot mark a release."""
    release = _release(store, tiny_verdict(store, signer=STRANGER))
    forged = _files(store, trusted=(STRANGER.public_key,), secret="a guess")
    forged.have(tmp_path / "v", release.digest, was_served=False)

    with pytest.raises(SignatureRefused):
        _files(store).have(tmp_path / "v", release.digest, was_served=True)


@pytest.mark.parametrize("damage", ["changed", "unlisted", "missing", "linked", "unsigned"])
def test_a_copy_that_is_not_the_release_is_fetched_anew_or_refused(damage: str, store: Store, tmp_path: Path) -> None:
    """One byte, one file more or less, a link, another signature: with the store gone such a copy is refused."""
    release, folder = _release(store, tiny_verdict(store)), tmp_path / "v"
    _files(store).have(folder, release.digest, was_served=False)
    model = folder / "files" / "model.onnx"
    if damage == "changed":
        model.write_bytes(model.read_bytes()[:-1] + b"x")
    elif damage == "unlisted":
        (folder / "files" / "extra.py").write_text("print()")
    elif damage == "missing":
        model.unlink()
    elif damage == "linked":
        shutil.move(model, tmp_path / "elsewhere")
        model.symlink_to(tmp_path / "elsewhere")
    else:
        (folder / "signature").write_bytes(bytes(64))

    with pytest.raises(NightshiftError, match="no store"):
        ReleaseFiles(RECIPE, _gone, TRUSTED, SECRET).have(folder, release.digest, was_served=True)
    assert _files(store).have(folder, release.digest, was_served=True).digest == release.digest


def test_a_release_of_another_recipe_is_refused(store: Store, tmp_path: Path) -> None:
    """A server answers for one recipe."""
    release = _release(store, tiny_verdict(store))

    with pytest.raises(DataError, match="not a release of"):
        ReleaseFiles("other", lambda: store, TRUSTED, SECRET).have(tmp_path / "v", release.digest, was_served=False)
