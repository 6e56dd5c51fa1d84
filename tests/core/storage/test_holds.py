"""What somebody wants kept is kept until it is lifted everywhere."""

from __future__ import annotations

import pytest

from operators.core.errors import QuorumLost
from operators.core.manifest import Made, Manifest, StageCall
from operators.core.settings import StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.holds import Hold, held, lift_hold, place_hold
from tests.core.storage.flaky import bring_back, cut_off


def test_a_hold_is_not_lifted_while_an_endpoint_may_keep_it(storage_settings: StorageSettings) -> None:
    """A scrub would give it back to the others: whoever lifts it is told, and does it again."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)
    digest = store.put_manifest(Manifest.of(StageCall(stage="test", revision=1), Made()))
    place_hold(store.membership, store.record, Hold(manifest=digest, reason="legal"))
    cut_off(store, "site_c")

    with pytest.raises(QuorumLost, match="site_c"):
        lift_hold(store.membership, store.record, digest)
    bring_back(store, "site_c")

    assert [hold.manifest for hold in held(store.membership, store.record)] == [digest]
    lift_hold(store.membership, store.record, digest)
    assert held(store.membership, store.record) == []


def test_a_hold_needs_a_reason(storage_settings: StorageSettings) -> None:
    """Years later somebody asks why."""
    initialise(storage_settings, rounds=0)
    store = open_store(storage_settings)

    with pytest.raises(ValueError, match="reason"):
        place_hold(store.membership, store.record, Hold(manifest="0" * 64, reason="  "))
