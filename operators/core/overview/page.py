"""All that the page of the morning shows, put together: what is known, what needs a person, what could not be read."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from operators.core.overview.attention import Need, Severity, of_broken, of_live, of_night, of_pipeline, worst
from operators.core.overview.availability import History
from operators.core.overview.live import ServerState
from operators.core.overview.parts import Part
from operators.core.overview.prices import PriceList
from operators.core.overview.runs import Pipeline
from operators.core.overview.safekeeping import of_backup, of_platform_backup, of_safety


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What is known of one recipe."""

    pipeline: Pipeline
    live: Part
    """Of a `Live`, or None before the first release."""
    servers: tuple[ServerState, ...]
    backup: Part
    """Of a `Dated`, or None before the first backup."""
    night: Part
    """Of a `Night`; never read where there was no run."""

    @property
    def is_served(self) -> bool:
        """Say whether any server answers for this recipe: those of a small platform answer for one."""
        return any(one.serving is not None for one in self.servers)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """Everything that the page shows."""

    at: datetime.datetime
    cards: tuple[Card, ...]
    upkeep: tuple[Pipeline, ...]
    safety: Part
    """Of a `Safety`."""
    keepers: frozenset[str] | None
    """Fingerprints of keepers' recovery keys; None where that is not known here."""
    needs: tuple[Need, ...]
    """Most urgent first."""
    prices: PriceList | None
    availability: History | None
    """What a watcher saw; None where nobody watches, or it cannot be read."""
    gaps: tuple[str, ...]
    """What could not be read, and why."""

    @property
    def severity(self) -> Severity:
        """Return how soon somebody must act."""
        return worst(self.needs)

    def severity_of(self, *about: str) -> Severity:
        """Return how soon somebody must act for one figure: `("scrub",)`, `("servers", recipe)`."""
        return worst(need for need in self.needs if need.about == about)


def needs_of(
    pipelines: Sequence[Pipeline],
    cards: Sequence[Card],
    safety: Part,
    keepers: frozenset[str] | None,
    now: datetime.datetime,
) -> tuple[Need, ...]:
    """Return what needs a person, most urgent first."""
    needs = [*of_broken(pipelines), *(need for pipeline in pipelines for need in of_pipeline(pipeline, now))]
    if safety.value is not None:
        live = [card.live.value for card in cards if card.live.value is not None]
        needs += of_safety(safety.value, live, now)
        needs += of_platform_backup(safety.value.backup, live, keepers, now)
    elif safety.error:
        words = "The store does not answer."
        needs.append(Need(severity=Severity.ACT, what=words, todo=f"make status says what is up. {safety.error}"))
    for card in cards:
        title = card.pipeline.title
        # The servers of a small platform answer for one recipe: of another, their silence means nothing.
        if card.live.value is not None:
            served = card.servers if card.is_served or len(cards) == 1 else ()
            needs += of_live(title, card.live.value, served)
            # After a release the backup is on its way: only a run that ended has left something undone.
            if card.backup.is_known and (card.pipeline.newest is None or card.pipeline.newest.has_ended):
                needs += of_backup(title, card.live.value, card.backup.value)
        if card.night.value is not None:
            needs += of_night(title, card.night.value)
    return tuple(sorted(needs, key=lambda need: -need.severity))


def gaps_of(named: dict[str, Part], cards: Sequence[Card]) -> tuple[str, ...]:
    """Return in words what failed, each with its reason, and in one line what has not answered yet."""
    for card in cards:
        title = card.pipeline.title
        named |= {f"{title}: what is live": card.live, f"{title}: its backup": card.backup}
        if card.pipeline.newest:
            named[f"{title}: what the run came to"] = card.night
    failed = tuple(f"{what}: {part.error}{_known(part)}" for what, part in named.items() if part.error)
    late = [f"{what}{_known(part)}" for what, part in named.items() if part.is_late and not part.error]
    return (*failed, f"No answer yet, reload in a moment: {'; '.join(late)}") if late else failed


def _known(part: Part) -> str:
    return "" if part.age_seconds is None else f" (shown is what was known {part.age_seconds:.0f} s ago)"
