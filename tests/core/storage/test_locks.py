"""Object lock on a real S3 server: what was locked cannot be deleted, and what was hidden is shown again."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace

import pytest

from operators.core.errors import StorageError
from operators.core.settings import StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.bucket import S3Endpoint
from operators.core.storage.locks import lock_keys, show_first_versions
from operators.core.storage.probe import PROBE_KEY, probe, read_report
from tests.seaweed import Seaweed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
KEY, CONTENT = f"0a1b/obj/aa/{'a' * 64}", b"the right bytes"


@pytest.fixture
def endpoint(seaweed: list[Seaweed]) -> S3Endpoint:
    """A bucket of its own that has object lock."""
    return S3Endpoint(seaweed[0].locking_bucket())


def test_the_probe_finds_object_lock(endpoint: S3Endpoint) -> None:
    """And that a bucket without it has none."""
    report = probe(endpoint, rounds=2)

    assert (report.traits["object_lock"], report.traits["versioning"]) == ("Enabled", "Enabled")


def test_what_is_locked_cannot_be_deleted(endpoint: S3Endpoint) -> None:
    """The server refuses; a shorter lock changes nothing; what is not there is not locked."""
    endpoint.put(KEY, CONTENT)
    until = time.time() + 3600

    assert [endpoint.versions.lock(KEY, until), endpoint.versions.lock(KEY, until - 1800)] == [True, True]
    (version,) = endpoint.versions.below(KEY)
    assert not endpoint.versions.delete(version)
    assert endpoint.get(KEY) == CONTENT
    assert not endpoint.versions.lock(f"{KEY}b", until)


@pytest.mark.parametrize("harm", ["deleted", "replaced", "replaced and deleted"])
def test_what_was_hidden_is_shown_again(endpoint: S3Endpoint, harm: str) -> None:
    """By who holds the credentials, with a lock or without; again: nothing changes."""
    endpoint.put(KEY, CONTENT)
    if "replaced" in harm:
        endpoint.put(KEY, b"others")
    if "deleted" in harm:
        endpoint.delete(KEY)

    assert endpoint.get(KEY) != CONTENT
    assert show_first_versions(endpoint).keys == 1
    assert endpoint.get(KEY) == CONTENT
    assert show_first_versions(endpoint).keys == 0


def test_what_may_change_is_left_as_it_is(endpoint: S3Endpoint) -> None:
    """A pin, a lifted hold; of the identity a deletion alone is taken back, for a resync writes it anew."""
    for key in ("0a1b/pin/one", "0a1b/hold/two", "identity.json"):
        endpoint.put(key, b"old")
        endpoint.put(key, b"new")
        endpoint.delete(key)
    show_first_versions(endpoint)

    assert [endpoint.get(key) for key in ("0a1b/pin/one", "0a1b/hold/two", "identity.json")] == [None, None, b"new"]


def test_a_server_that_does_not_lock_what_it_said_is_told(seaweed: list[Seaweed]) -> None:
    """A bucket that lost its object lock since the last probe: an error, not a backup that is thought safe."""
    seaweed[0].empty()
    settings = StorageSettings(endpoints=(seaweed[0].settings(),), acknowledge=1)
    initialise(settings, rounds=1)
    endpoint = S3Endpoint(settings.endpoints[0])
    report = read_report(endpoint)
    assert report is not None and report.traits["object_lock"] == "off"
    endpoint.put(PROBE_KEY, replace(report, traits={"object_lock": "Enabled"}).encode())
    with closing(open_store(settings)) as store, pytest.raises(StorageError, match="is not locked: endpoint site_a"):
        lock_keys(store.membership, store.record, lambda listed: True, time.time() + 3600)


def test_what_hides_and_is_locked_itself_is_named(endpoint: S3Endpoint) -> None:
    """Somebody locked other bytes over the first ones: both stay, and the key is told."""
    endpoint.put(KEY, CONTENT)
    endpoint.put(KEY, b"others")
    endpoint.versions.lock(KEY, time.time() + 3600)

    assert show_first_versions(endpoint).left == (KEY,)
