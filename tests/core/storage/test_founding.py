"""A new store takes only endpoints that can do what the protocol asks, and lets only those decide that decide once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.core.errors import StorageError
from operators.core.settings import StorageSettings
from operators.core.storage import initialise, open_store
from operators.core.storage.directory import DirectoryEndpoint
from operators.core.storage.founding import found_store
from operators.core.storage.members import Membership, open_members
from operators.core.storage.primary import move_primary
from operators.core.storage.probe import probe
from operators.core.storage.resync import resync
from operators.core.storage.slots import put_once
from tests.core.storage.flaky import Fault, FlakyEndpoint
from tests.core.storage.test_resync import folder_of

SLOT = "run/" + "a" * 64


class Careless(DirectoryEndpoint):
    """Puts if absent, or not: whoever comes last wins, as on a server that ignores `If-None-Match`."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Put."""
        self.put(key, data)
        return True


def careless(settings: StorageSettings, *names: str) -> Membership:
    """Open the members, some of them careless."""
    members = open_members(settings)
    for name in names:
        members.endpoints[name] = Careless(name, folder_of(settings, name))
    return members


def with_fault(members: Membership, name: str, fault: Fault) -> Membership:
    """Put a fault before one of them."""
    flaky = FlakyEndpoint(members.endpoints[name])
    flaky.faults.append(fault)
    members.endpoints[name] = flaky
    return members


def test_a_new_store_probes_its_endpoints(storage_settings: StorageSettings) -> None:
    """Each has its report, and all may decide."""
    record = initialise(storage_settings, rounds=1)

    assert (record.primary, record.deciders) == ("site_a", record.names)
    assert all((folder_of(storage_settings, name) / "probe.json").is_file() for name in record.names)


def test_one_that_lets_two_writers_win_is_a_member_that_never_decides(storage_settings: StorageSettings) -> None:
    """The next one is the primary; commits go on; the primary cannot be moved there."""
    members = careless(storage_settings, "site_a")

    record = found_store(members, rounds=1)

    assert (record.primary, record.deciders) == ("site_b", ("site_b", "site_c"))
    assert put_once(members, SLOT, b"one") == put_once(members, SLOT, b"two") == b"one"
    with pytest.raises(ValueError, match="two writers"):
        move_primary(members, "site_a")


def test_too_few_that_decide_are_no_store(storage_settings: StorageSettings) -> None:
    """The message names who may, and why the others may not; nothing was founded."""
    members = careless(storage_settings, "site_a", "site_c")

    with pytest.raises(StorageError, match=r"\['site_b'\] of .* 2 must: site_a: .*site_c: "):
        found_store(members, rounds=1)
    assert not any(view.record for view in members.views().values())


def test_one_that_loses_what_it_was_given_is_refused(storage_settings: StorageSettings) -> None:
    """It may be no member, and the message says which and why."""
    fault = Fault(verb="put", key="probe/", kind="lose_call", times=-1)
    members = with_fault(open_members(storage_settings), "site_c", fault)

    with pytest.raises(StorageError, match="site_c may be no member"):
        found_store(members, rounds=1)


def test_a_careless_endpoint_has_no_vote(storage_settings: StorageSettings) -> None:
    """It would hold the one record and then the other of one number, and each would have two endpoints."""
    record = found_store(careless(storage_settings, "site_a"), rounds=1)
    away = Fault(verb="*", key="", kind="refuse", times=-1)
    first, second = (replace(record, term=2, primary=name) for name in ("site_b", "site_c"))

    taken = [
        with_fault(careless(storage_settings, "site_a"), "site_c", away).propose(first),
        with_fault(careless(storage_settings, "site_a"), "site_b", away).propose(second),
    ]

    assert taken == [None, None]


def test_a_resync_onto_a_careless_server_takes_its_vote(storage_settings: StorageSettings) -> None:
    """Its last probe says so; the store goes on while enough others decide, and refuses where they would not."""
    initialise(storage_settings, rounds=0)
    members = careless(storage_settings, "site_c")
    probe(members.endpoints["site_c"], rounds=1)

    done = resync(members, "site_c", anew=True)

    assert done.record.deciders == ("site_a", "site_b")
    members = careless(storage_settings, "site_b", "site_c")
    probe(members.endpoints["site_b"], rounds=1)
    with pytest.raises(ValueError, match="Use another server"):
        resync(members, "site_b", anew=True)
    assert open_store(storage_settings).record == done.record
