"""What may go live: a verdict that the platform's gate signed, as it signed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from operators.core.deployment.releases import Wanted
from operators.core.errors import GateFailed, SignatureRefused
from operators.core.manifest import Manifest
from operators.core.storage import Store
from tests.core.deployment.tiny import GOOD, INVERTED, RECIPE, tiny_model, tiny_verdict
from tests.core.signers import SIGNER, STRANGER, TRUSTED


def _forged(store: Store, verdict: str, change: Callable[[Manifest], Manifest]) -> str:
    """Put what somebody made of a verdict beside it, as who can write to the store could."""
    return store.put_manifest(change(store.manifest(verdict)))


def _with_facts(**facts: object) -> Callable[[Manifest], Manifest]:
    return lambda manifest: replace(manifest, facts={**manifest.facts, **facts})


def test_a_signed_verdict_names_the_model_that_may_go_live(store: Store) -> None:
    """What the gate signed is taken as it is."""
    verdict = tiny_verdict(store)

    assert Wanted.read(store, RECIPE, verdict, TRUSTED).digest == tiny_model(store, GOOD)


def test_an_unsigned_verdict_is_refused(store: Store) -> None:
    """One from before Nightshift signed them says that the gate has to be run again."""
    before = _forged(store, tiny_verdict(store), lambda manifest: replace(manifest, files=()))

    with pytest.raises(SignatureRefused, match=r"is not signed: it is from before .* Run the gate again"):
        Wanted.read(store, RECIPE, before, TRUSTED)


def test_a_verdict_under_another_key_is_refused_until_that_key_is_trusted(store: Store) -> None:
    """Both keys are named, and what to do after a change of keys; trusted again, the old verdict holds."""
    verdict = tiny_verdict(store, signer=STRANGER)
    with pytest.raises(SignatureRefused, match=f"{STRANGER.public_key[:12]}, trusted are .*{SIGNER.public_key[:12]}"):
        Wanted.read(store, RECIPE, verdict, TRUSTED)

    assert Wanted.read(store, RECIPE, verdict, (*TRUSTED, STRANGER.public_key)).verdict == verdict


def test_a_stranger_who_names_our_key_is_refused(store: Store) -> None:
    """The key that a verdict names is not believed: the signature must be that key's."""
    verdict = tiny_verdict(store, signer=STRANGER)
    forged = _forged(store, verdict, lambda manifest: replace(manifest, spec={"signed_by": SIGNER.public_key}))

    with pytest.raises(SignatureRefused, match="it was changed, or its signature is another one's"):
        Wanted.read(store, RECIPE, forged, TRUSTED)


@pytest.mark.parametrize(
    "facts", [{"day": "2030-01-01"}, {"model": "0" * 64}, {"recipe": "another"}], ids=["day", "model", "recipe"]
)
def test_a_verdict_that_was_changed_is_refused(store: Store, facts: dict[str, str]) -> None:
    """A later day, another model or another recipe under the same signature is none of the gate's words."""
    forged = _forged(store, tiny_verdict(store), _with_facts(**facts))

    with pytest.raises(SignatureRefused, match="it was changed"):
        Wanted.read(store, str(facts.get("recipe", RECIPE)), forged, TRUSTED)


def test_a_failed_verdict_does_not_become_a_passed_one(store: Store) -> None:
    """The verdict itself is signed."""
    forged = _forged(store, tiny_verdict(store, verdict="failed"), _with_facts(verdict="passed"))

    with pytest.raises(SignatureRefused, match="it was changed"):
        Wanted.read(store, RECIPE, forged, TRUSTED)


def test_a_signature_is_of_one_verdict(store: Store) -> None:
    """The signature of a verdict on one model does not lift another model's."""
    signed = store.manifest(tiny_verdict(store))
    forged = _forged(store, tiny_verdict(store, INVERTED), lambda manifest: replace(manifest, files=signed.files))

    with pytest.raises(SignatureRefused, match="its signature is another one's"):
        Wanted.read(store, RECIPE, forged, TRUSTED)


def test_a_verdict_of_another_recipe_is_refused(store: Store) -> None:
    """Also where it is signed as it should be."""
    with pytest.raises(GateFailed, match=f"on a model of '{RECIPE}', not of 'another'"):
        Wanted.read(store, "another", tiny_verdict(store), TRUSTED)
