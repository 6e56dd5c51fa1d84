"""The whole store against a model: whatever is done to it, in whatever order, it answers as the model does.

Endpoints are the simulator's, in memory and without chance: what goes away, rots or is wiped does so by a rule.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import chain
from typing import TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from operators.core.errors import PrimaryAway
from operators.core.manifest import FileEntry, Made, Manifest, StageCall
from operators.core.storage.collect import Collector
from operators.core.storage.collection import CollectSpec
from operators.core.storage.founding import found_store
from operators.core.storage.holds import Hold, lift_hold, place_hold
from operators.core.storage.primary import move_primary, settle_slots
from operators.core.storage.resync import resync
from operators.core.storage.scrub import PARTS, scrub
from tests.faults.simulation.world import NAMES, PIN_SECONDS, World

Answer = TypeVar("Answer")
GRACE = CollectSpec(grace_seconds=50, skew_seconds=0, max_share=1)
ENDPOINTS = st.sampled_from(NAMES)
JOBS = st.integers(0, 3)
STREAMS = st.sampled_from(["versions", "released"])


def call_of(job: int) -> StageCall:
    """Return the call of a job."""
    return StageCall(stage="modelled", revision=1, spec={"job": job})


class StoreMachine(RuleBasedStateMachine):
    """What a store holds is what was acknowledged, never less, never other bytes."""

    @initialize()
    def found(self) -> None:
        """An empty store."""
        logging.disable(logging.ERROR)
        self.world = World(0)
        self.world.faults = False
        found_store(self.world.members())
        self.store = self.world.store()
        self.primary, self.away = NAMES[0], ""
        self.files: dict[FileEntry, bytes] = {}
        """Put since the store was opened: only these may be named by a commit."""
        self.manifests: dict[str, dict[FileEntry, bytes]] = {}
        """What was acknowledged reaches these."""
        self.results: dict[int, str] = {}
        self.streams: dict[str, list[str]] = {"versions": [], "released": []}
        self.holds: set[str] = set()

    def teardown(self) -> None:
        """Let others log again."""
        logging.disable(logging.NOTSET)

    # What users do ------------------------------------------------------------------------------------------------

    @rule(data=st.binary(max_size=40), name=st.sampled_from(["a", "b/c"]))
    def put(self, data: bytes, name: str) -> None:
        """A file can be read as soon as it was put, whichever endpoint is away."""
        entry = self.store.put_bytes(name, data)
        assert self.store.read(entry) == data
        self.files[entry] = data

    @rule(job=JOBS, data=st.data())
    def commit(self, job: int, data: st.DataObject) -> None:
        """The first manifest of a job stays its result."""
        manifest = Manifest.of(call_of(job), Made(files=self._some_files(data)))
        result = self._commit_or_wait(lambda: self.store.commit(manifest))
        if result is not None:
            assert result.digest == self.results.setdefault(job, manifest.digest)
            if result.digest == manifest.digest:
                self._remember(manifest)

    @rule(name=STREAMS, behind=st.integers(0, 2), data=st.data())
    def append(self, name: str, behind: int, data: st.DataObject) -> None:
        """An entry after the newest is added; an entry after an older one loses against what followed it."""
        known, stream = self.streams[name], self.store.stream(name)
        manifest = Manifest.of(call_of(100 + len(known)), Made(files=self._some_files(data)))
        digest = self.store.put_manifest(manifest)
        generation = max(0, len(known) - behind)
        after = stream.at(generation - 1) if generation and self.away != self.primary else None
        if generation and after is None:
            return
        entry = self._commit_or_wait(lambda: stream.append(digest, after))
        if entry is not None and generation == len(known):
            self._remember(manifest)
            known.append(digest)
        if entry is not None:
            assert (entry.generation, entry.manifest) == (generation, known[generation])

    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        """A manifest that nothing reaches is kept."""
        manifest = Manifest.of(call_of(200), Made(files=self._some_files(data)))
        self.store.put_manifest(manifest)
        place_hold(self.store.membership, self.store.record, Hold(manifest=manifest.digest, reason="asked for"))
        self._remember(manifest)
        self.holds.add(manifest.digest)

    @precondition(lambda self: self.holds and not self.away)
    @rule()
    def lift(self) -> None:
        """From then on it may go, unless something else reaches it."""
        digest = self.holds.pop()
        assert lift_hold(self.store.membership, self.store.membership.read_record(), digest)
        if digest not in {*self.results.values(), *chain(*self.streams.values())}:
            del self.manifests[digest]

    @rule()
    def reopen(self) -> None:
        """Another process goes on."""
        self.store.close()
        self.store, self.files = self.world.store(), {}

    # What happens to endpoints --------------------------------------------------------------------------------------

    @precondition(lambda self: not self.away)
    @rule(name=ENDPOINTS)
    def go_away(self, name: str) -> None:
        """One endpoint does not answer."""
        self.away, self.world.sites[name].up = name, False

    @precondition(lambda self: self.away)
    @rule()
    def come_back(self) -> None:
        """It answers again."""
        self.world.sites[self.away].up, self.away = True, ""

    @rule(name=ENDPOINTS)
    def move(self, name: str) -> None:
        """Another endpoint decides."""
        if name != self.away:
            assert move_primary(self.world.members(), name).primary == name
            assert settle_slots(self.world.members()) == []
            self.primary = name

    @precondition(lambda self: not self.away)
    @rule(name=ENDPOINTS)
    def wipe(self, name: str) -> None:
        """One endpoint is lost and replaced by an empty one."""
        self.world.sites[name].held.clear()
        assert resync(self.world.members(), name).lost == ()

    @precondition(lambda self: not self.away)
    @rule(name=ENDPOINTS, data=st.data())
    def rot(self, name: str, data: st.DataObject) -> None:
        """What was written while an endpoint was away gets its copy; a copy that rots is found and mended."""
        assert scrub(self.world.members(), parts=range(PARTS)).is_clean
        held, keys = self.world.sites[name].held, self._keys(name, "obj/", "man/", "run/", "log/")
        if not keys:
            return
        prefix = self._prefix(name)
        key = prefix + data.draw(st.sampled_from(sorted(keys)))
        content, modified = held[key]
        held[key] = (content[:-1] if content else b"x", modified)
        report = scrub(self.world.members(), parts=range(PARTS))
        assert (report.repaired, report.is_clean) == (1, True)
        assert held[key][0] == content
        assert scrub(self.world.members(), parts=range(PARTS)).is_clean

    @precondition(lambda self: self.manifests and not self.away and (self.results or any(self.streams.values())))
    @rule()
    def collect(self) -> None:
        """What nothing reaches is gone everywhere, what something reaches is not."""
        self.reopen()
        # A pin that its writer could not take away has expired by then.
        self.world.now += PIN_SECONDS + 60
        plan = Collector(self.world.store(), GRACE).mark()
        self.world.now += 60
        assert Collector(self.world.store(), GRACE).sweep().keys == plan.keys
        reached = {f"man/{digest[:2]}/{digest}" for digest in self.manifests}
        stored = {entry.stored_sha256 for files in self.manifests.values() for entry in files}
        reached |= {f"obj/{digest[:2]}/{digest}" for digest in stored}
        for name in NAMES:
            assert self._keys(name, "obj/", "man/") <= reached

    # What must hold -------------------------------------------------------------------------------------------------

    @invariant()
    def everything_acknowledged_is_there(self) -> None:
        """Results, streams and files answer as the model does; with the primary away too, once slots are settled."""
        store = self.world.store()
        for job in range(4):
            found = store.find(call_of(job).run_key)
            assert self.results.get(job) == (found.digest if found else None)
        for digest, files in self.manifests.items():
            assert {entry: store.read(entry) for entry in store.manifest(digest).files} == files
        for name, known in self.streams.items():
            assert [entry.manifest for entry in store.stream(name).entries()] == known
            head = store.stream(name).head()
            assert (head.manifest if head else None) == (known[-1] if known else None)

    def _prefix(self, name: str) -> str:
        """Return where an endpoint's keys lie that count: below, there may be those of a former life."""
        return f"{self.world.members().read_record().line(name).incarnation}/"

    def _keys(self, name: str, *kinds: str) -> set[str]:
        prefix = self._prefix(name)
        keys = {key.removeprefix(prefix) for key in self.world.sites[name].held if key.startswith(prefix)}
        return {key for key in keys if key.startswith(kinds)}

    def _some_files(self, data: st.DataObject) -> tuple[FileEntry, ...]:
        names: dict[str, FileEntry] = {}
        if self.files:
            for entry in data.draw(st.lists(st.sampled_from(list(self.files)), max_size=3)):
                names[entry.name] = entry
        return tuple(names.values())

    def _remember(self, manifest: Manifest) -> None:
        self.manifests[manifest.digest] = {entry: self.files[entry] for entry in manifest.files}

    def _commit_or_wait(self, commit: Callable[[], Answer]) -> Answer | None:
        """Return what a commit came to; without the primary there are none."""
        if self.away != self.primary:
            return commit()
        try:
            return commit()
        except PrimaryAway:
            return None


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # Every step costs a look at the whole store: making a failing example smaller takes minutes.
    phases=[Phase.reuse, Phase.generate],
)
