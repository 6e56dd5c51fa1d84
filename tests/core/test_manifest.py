"""Manifests, identities and run keys."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.core.errors import DataError
from operators.core.manifest import (
    FileEntry,
    Input,
    Made,
    Manifest,
    StageCall,
    canonical,
    sha256_hex,
    sha256_of_file,
    spec_json,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
digests = st.binary(max_size=8).map(sha256_hex)
names = st.from_regex(r"[a-z0-9_]{1,6}(/[a-z0-9_]{1,6}){0,2}\.bin", fullmatch=True)
entries = st.builds(
    FileEntry,
    name=names,
    sha256=digests,
    bytes=st.integers(0, 2**40),
    stored_sha256=digests,
    stored_bytes=st.integers(0, 2**40),
    rows=st.none() | st.integers(0, 2**32),
)
inputs = st.builds(Input, role=st.sampled_from(["source", "dataset"]), identity=digests, manifest=st.none() | digests)
specs = st.dictionaries(st.text(max_size=8), json_values, max_size=4)
calls = st.builds(
    StageCall,
    stage=st.sampled_from(["ingest", "evaluate"]),
    revision=st.integers(1, 9),
    inputs=st.lists(inputs, max_size=3).map(tuple),
    spec=specs,
    seed=st.integers(0, 2**32),
)
made = st.builds(Made, files=st.lists(entries, max_size=4, unique_by=lambda entry: entry.name).map(tuple), facts=specs)


def entry(name: str = "a.bin", content: bytes = b"a", stored: bytes | None = None) -> FileEntry:
    stored = content if stored is None else stored
    return FileEntry(
        name=name,
        sha256=sha256_hex(content),
        bytes=len(content),
        stored_sha256=sha256_hex(stored),
        stored_bytes=len(stored),
    )


@settings(max_examples=50, deadline=None)
@given(call=calls, made=made)
def test_decode_undoes_encode(call: StageCall, made: Made) -> None:
    """A manifest read back from its bytes is the same manifest, with the same digest and identity."""
    manifest = Manifest.of(call, made)
    back = Manifest.decode(manifest.encode())

    assert manifest == back
    assert (manifest.digest, manifest.identity) == (back.digest, back.identity)


@settings(max_examples=50, deadline=None)
@given(call=calls, made=made, seed=st.randoms())
def test_the_order_in_which_files_were_made_changes_nothing(call: StageCall, made: Made, seed) -> None:
    """Files are named, not numbered: any order of making gives the same bytes."""
    shuffled = list(made.files)
    seed.shuffle(shuffled)

    assert Manifest.of(call, made).encode() == Manifest.of(call, Made(files=tuple(shuffled), facts=made.facts)).encode()


@settings(max_examples=50, deadline=None)
@given(value=json_values)
def test_canonical_bytes_depend_on_the_value_only(value: object) -> None:
    """Equal JSON gives equal bytes, and the bytes are that JSON."""
    data = canonical(value)

    assert json.loads(data) == value
    assert canonical(json.loads(data)) == data


def test_canonical_refuses_what_no_other_reader_would_take() -> None:
    """NaN is no JSON: it never reaches a key or a document."""
    with pytest.raises(ValueError, match="JSON"):
        canonical({"loss": float("nan")})


def test_a_run_key_is_what_it_was() -> None:
    """The formula of run keys is fixed: results made by an older Nightshift are found by a newer one."""
    call = StageCall(
        stage="fine_tune", revision=3, inputs=(Input(role="dataset", identity="0" * 64),), spec={"b": 1, "a": [2]}
    )

    expected = (
        b'{"format":1,"inputs":[["dataset","'
        + b"0" * 64
        + b'"]],"revision":3,"seed":0,"spec":{"a":[2],"b":1},"stage":"fine_tune"}'
    )
    assert sha256_hex(expected) == call.run_key


@settings(max_examples=50, deadline=None)
@given(call=calls)
def test_a_run_key_sees_identities_not_manifests(call: StageCall) -> None:
    """Two manifests of one identity are the same input: where it is stored does not change what is computed."""
    elsewhere = tuple(dataclasses.replace(item, manifest=sha256_hex(b"elsewhere")) for item in call.inputs)

    assert call.run_key == dataclasses.replace(call, inputs=elsewhere).run_key


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "other"},
        {"revision": 2},
        {"seed": 1},
        {"spec": {"x": 2}},
        {"inputs": (Input(role="r", identity="1" * 64),)},
    ],
)
def test_everything_that_decides_a_result_changes_its_run_key(change: dict) -> None:
    """Stage, revision, inputs, spec and seed are each seen."""
    call = StageCall(stage="ingest", revision=1, inputs=(Input(role="r", identity="0" * 64),), spec={"x": 1})

    assert call.run_key != dataclasses.replace(call, **change).run_key


def test_the_order_of_inputs_is_part_of_a_run_key() -> None:
    """Inputs are a sequence: two parts swapped are another call."""
    first, second = Input(role="part", identity="0" * 64), Input(role="part", identity="1" * 64)
    call = StageCall(stage="publish", revision=1, inputs=(first, second))

    assert call.run_key != dataclasses.replace(call, inputs=(second, first)).run_key


def test_an_identity_sees_the_plaintext_only() -> None:
    """The same file stored otherwise (encrypted, say) is the same result, under another digest."""
    call = StageCall(stage="ingest", revision=1)
    plain = Manifest.of(call, Made(files=(entry(),)))
    sealed = Manifest.of(call, Made(files=(entry(stored=b"sealed"),)))

    assert plain.identity == sealed.identity
    assert plain.digest != sealed.digest


def test_an_identity_sees_every_byte_of_the_files() -> None:
    """Another plaintext is another result."""
    call = StageCall(stage="ingest", revision=1)

    assert (
        Manifest.of(call, Made(files=(entry(),))).identity
        != Manifest.of(call, Made(files=(entry(content=b"b"),))).identity
    )


class Colour(enum.Enum):
    """An enum as specs have them."""

    RED = "red"


@dataclasses.dataclass(frozen=True)
class Spec:
    """A spec with one of each kind of value."""

    days: tuple[datetime.date, ...] = (datetime.date(2002, 9, 26),)
    colour: Colour = Colour.RED
    labels: frozenset[str] = frozenset({"spam", "ham"})


def test_specs_become_plain_json() -> None:
    """Tuples become lists, dates ISO text, enums their value, sets sorted lists."""
    assert spec_json(Spec()) == {"days": ["2002-09-26"], "colour": "red", "labels": ["ham", "spam"]}


@pytest.mark.parametrize("name", ["../a", "/a", "a//b", "a/../b", ".hidden", "a b", "", "a/"])
def test_a_file_name_cannot_lead_outside(name: str) -> None:
    """Names become paths when files are fetched: none may leave its folder."""
    with pytest.raises(DataError):
        entry(name=name)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"format":2}',
        b'{"format":1}',
        b"null",
        b'{"format":1,"files":[],"inputs":[],"more":1}',
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    """Bytes that are no manifest of this format are wrong data, never another error."""
    with pytest.raises(DataError):
        Manifest.decode(data)


def test_a_role_that_must_be_single_is() -> None:
    """Asking for the one input of a role fails when there are two."""
    call = StageCall(
        stage="s", revision=1, inputs=(Input(role="r", identity="0" * 64), Input(role="r", identity="1" * 64))
    )
    manifest = Manifest.of(call, Made())

    assert len(manifest.inputs_of("r")) == 2
    with pytest.raises(DataError, match="2 inputs"):
        manifest.input("r")


def test_a_file_is_hashed_as_its_bytes_are(tmp_path: Path) -> None:
    """Hashing a file in pieces gives the digest of its bytes."""
    (tmp_path / "x").write_bytes(b"x" * 3_000_000)

    assert sha256_hex(b"x" * 3_000_000) == sha256_of_file(tmp_path / "x")
