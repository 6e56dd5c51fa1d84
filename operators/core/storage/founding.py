"""A new store is made of empty endpoints: each is probed, gets its identity, and all of them the first record."""

from __future__ import annotations

from collections.abc import Iterable

from operators.core.errors import StorageError
from operators.core.settings import StorageSettings
from operators.core.storage.checks import Weight
from operators.core.storage.endpoint import Endpoint, EndpointAway
from operators.core.storage.members import Membership, open_members
from operators.core.storage.probe import may_be_member, may_be_primary, probe, refusals
from operators.core.storage.records import IDENTITY_KEY, Member, Record, encode_identity, new_name, read_identity


def initialise(settings: StorageSettings, *, rounds: int = 1) -> Record:
    """Make a store of empty endpoints; one that is already initialised is left as it is.

    Args:
        settings: The endpoints; the first that may be is the primary.
        rounds: Of the probe that each endpoint of a new store must pass (see `probe`); 0 trusts them.

    Returns:
        The member record that rules.

    Raises:
        StorageError: An endpoint is away, or may be no member, or too few may decide; the message says why.
    """
    membership = open_members(settings)
    try:
        for endpoint in membership.endpoints.values():
            if hasattr(endpoint, "create_bucket"):
                endpoint.create_bucket()
        return found_store(membership, rounds=rounds)
    finally:
        membership.round.close()


def found_store(membership: Membership, *, rounds: int = 0) -> Record:
    """Give each endpoint its identity and write the first record, unless there is one."""
    views = membership.views()
    if any(view.record for view in views.values()):
        return membership.read_record()
    missing = sorted(set(membership.endpoints) - set(views))
    if missing:
        raise EndpointAway(f"a new store needs all its endpoints, {missing} did not answer")
    deciders = _probed(membership, rounds) if rounds else set(membership.endpoints)
    # A crash between identities and the first record leaves identities behind: they are taken up, not refused.
    members = tuple(_give_identity(membership, endpoint, deciders) for endpoint in membership.endpoints.values())
    primary = next(member.name for member in members if member.decides)
    membership.propose(Record(term=1, members=members, primary=primary, acknowledge=membership.acknowledge))
    return membership.read_record()


def _probed(membership: Membership, rounds: int) -> set[str]:
    """Return the endpoints that may decide.

    Raises:
        StorageError: One may be no member, or fewer than W may decide.
    """
    reports = membership.round.ask(membership.endpoints.values(), lambda endpoint: probe(endpoint, rounds=rounds))
    if unfit := refusals(list(reports.values()), None):
        raise StorageError("; ".join(unfit))
    deciders = {name for name, report in reports.items() if may_be_member(report) and may_be_primary(report)}
    if len(deciders) < membership.acknowledge:
        reasons = [f"{name}: {'; '.join(report.against(Weight.NO_PRIMARY))}" for name, report in reports.items()]
        raise StorageError(
            f"{sorted(deciders)} of {sorted(membership.endpoints)} may decide, {membership.acknowledge} must: "
            f"{' | '.join(reason for reason in reasons if not reason.endswith(': '))}"
        )
    return deciders


def _give_identity(membership: Membership, endpoint: Endpoint, deciders: Iterable[str]) -> Member:
    endpoint.put_if_absent(IDENTITY_KEY, encode_identity(new_name(membership.random), new_name(membership.random)))
    identity = read_identity(endpoint)
    if identity is None:
        raise EndpointAway(f"endpoint {endpoint.name} does not keep its identity")
    return Member(
        name=endpoint.name, endpoint=identity[0], incarnation=identity[1], decides=endpoint.name in set(deciders)
    )
