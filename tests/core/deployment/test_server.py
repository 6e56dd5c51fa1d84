"""The server's routes over a real socket: the protocol, its errors, the guarded repository, metrics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from operators.core.deployment.client import Server, Serving, bring
from operators.core.deployment.releases import Release, Wanted, make_release
from operators.core.deployment.server.limits import Limits
from operators.core.storage import Store
from tests.core.deployment.conftest import TOKEN, ServerThread
from tests.core.deployment.tiny import BREAKS_ON_POISON, GOOD, INVERTED, RECIPE, tiny_verdict
from tests.core.signers import STRANGER, TRUSTED

pytestmark = pytest.mark.integration

MODEL = f"/v2/models/{RECIPE}"
REPOSITORY = f"/v2/repository/models/{RECIPE}"


def _release(store: Store, votes: Any = GOOD, day: str = "2002-09-26") -> Release:
    return make_release(store, Wanted.read(store, RECIPE, tiny_verdict(store, votes, day), TRUSTED))


def _body(*texts: str, **more: Any) -> dict[str, Any]:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": list(texts)}
    return {"inputs": [tensor], **more}


@pytest.fixture
def caller(servers: list[ServerThread]) -> Iterator[httpx.Client]:
    """A caller of the first server."""
    with httpx.Client(base_url=servers[0].url) as client:
        yield client


@pytest.fixture
def live(store: Store, controlled: list[Server]) -> Release:
    """A release that the first server serves."""
    release = _release(store)
    bring(controlled[0], Serving(releases={release.version: release.digest}, current=release.version))
    return release


def test_an_answer_has_label_score_and_version(caller: httpx.Client, live: Release) -> None:
    """Each text gets its label and score, and the response says which version gave them."""
    document = caller.post(f"{MODEL}/infer", json=_body("meeting", "lottery lottery", id="7")).json()
    outputs = {one["name"]: one for one in document["outputs"]}

    assert (RECIPE, live.version, "7") == (document["model_name"], document["model_version"], document["id"])
    assert outputs["label"]["data"] == ["ham", "spam"]
    assert (
        outputs["probabilities"]["parameters"]["classes"], outputs["probabilities"]["shape"],
    ) == (["ham", "spam"], [2, 2])  # fmt: skip
    # softmax of (4, 0): 1 / (1 + exp(-4))
    assert outputs["score"]["data"] == pytest.approx([0.98201379, 0.98201379])


def test_only_the_outputs_asked_for_are_given(caller: httpx.Client, live: Release) -> None:
    """`outputs` selects tensors by name."""
    document = caller.post(f"{MODEL}/infer", json=_body("meeting", outputs=[{"name": "label"}])).json()

    assert [one["name"] for one in document["outputs"]] == ["label"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "no JSON"),
        (b"[]", "JSON object"),
        (b"{}", "exactly one tensor"),
        (b'{"inputs":[{"name":"text","datatype":"FP32","shape":[1],"data":[1]}]}', "datatype BYTES"),
        (b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[2],"data":["a"]}]}', "'shape'"),
        (b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":[1]}]}', "list of strings"),
        (b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[0],"data":[]}]}', "non-empty"),
        (b'{"id":5,"inputs":[]}', "'id'"),
        (b'{"inputs":[{"name":"text","datatype":"BYTES","shape":[1],"data":["\\ud800"]}]}', "surrogate"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_wrong_input_is_a_clear_400(caller: httpx.Client, live: Release, body: bytes, message: str) -> None:
    """A wrong request is refused with a sentence about what is wrong, in the protocol's form."""
    response = caller.post(f"{MODEL}/infer", content=body)

    assert response.status_code == 400
    assert message in response.json()["error"]


def test_a_body_over_the_limit_is_refused(caller: httpx.Client, live: Release) -> None:
    """A request of more than a mebibyte is refused before it is parsed."""
    response = caller.post(f"{MODEL}/infer", content=b" " * (Limits().body_bytes + 1))

    assert (response.status_code, "larger than" in response.json()["error"]) == (413, True)


def test_health_tells_live_from_ready(caller: httpx.Client, store: Store, controlled: list[Server]) -> None:
    """An empty server is live and not ready, and says so to a caller; with a release it is both."""
    before = [caller.get(path).status_code for path in ("/v2/health/live", "/v2/health/ready", f"{MODEL}/ready")]
    refused = caller.post(f"{MODEL}/infer", json=_body("meeting")).status_code
    release = _release(store)
    bring(controlled[0], Serving(releases={release.version: release.digest}, current=release.version))
    after = [caller.get(path).status_code for path in ("/v2/health/live", "/v2/health/ready", f"{MODEL}/ready")]

    assert (before, refused, after) == ([200, 503, 503], 503, [200, 200, 200])


def test_metadata_names_versions_and_tensors(caller: httpx.Client, live: Release) -> None:
    """Server, model and version describe themselves; an unknown version is a 404."""
    model = caller.get(MODEL).json()

    assert caller.get("/v2").json()["name"] == "server-1"
    assert ([live.version], "text") == (model["versions"], model["inputs"][0]["name"])
    assert caller.get(f"{MODEL}/versions/{live.version}").status_code == 200
    assert caller.get(f"{MODEL}/versions/other").status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "10.0.0.1"}, 403),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
def test_the_repository_is_guarded(caller: httpx.Client, headers: dict[str, str], status: int) -> None:
    """Repository routes answer the token's holder only, and nobody who comes through a balancer."""
    assert status == caller.get(f"{REPOSITORY}/traffic", headers=headers).status_code


def test_a_version_that_answers_cannot_be_unloaded(caller: httpx.Client, live: Release) -> None:
    """Unloading what answers requests is refused."""
    headers = {"Authorization": f"Bearer {TOKEN}"}

    assert caller.post(f"{REPOSITORY}/versions/{live.version}/unload", headers=headers).status_code == 409


def test_what_is_no_release_is_refused(caller: httpx.Client, store: Store) -> None:
    """A digest that names another manifest than a release of this model is not loaded."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = caller.post(f"{REPOSITORY}/versions/v/load", headers=headers, json={"release": tiny_verdict(store)})

    assert (response.status_code, "not a release" in response.json()["error"]) == (422, True)


def test_a_release_that_the_gate_did_not_sign_is_refused_and_what_is_live_stays(
    caller: httpx.Client, store: Store, live: Release
) -> None:
    """A release with a stranger's verdict is not loaded; the live version answers on."""
    judged = store.manifest(verdict := tiny_verdict(store, INVERTED, signer=STRANGER))
    digest = str(judged.facts["model"])
    forged = make_release(
        store,
        Wanted(recipe=RECIPE, verdict=verdict, digest=digest, model=store.manifest(digest).identity, day="2002-09-27"),
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    path = f"{REPOSITORY}/versions/{forged.version}/load"
    response = caller.post(path, headers=headers, json={"release": forged.digest})

    assert (response.status_code, "trusted" in response.json()["error"]) == (422, True)
    assert live.version == caller.post(f"{MODEL}/infer", json=_body("meeting")).json()["model_version"]


def test_a_version_name_cannot_leave_the_folder(caller: httpx.Client, store: Store) -> None:
    """A version that would be a path elsewhere is refused."""
    headers = {"Authorization": f"Bearer {TOKEN}"}

    for name in ("..%2f..%2fetc", "..", "%2e%2e", ".hidden"):
        response = caller.post(f"{REPOSITORY}/versions/{name}/load", headers=headers, json={"release": "0" * 64})
        assert response.status_code in (400, 404, 405)


def test_metrics_are_labelled_by_version(caller: httpx.Client, live: Release, controlled: list[Server]) -> None:
    """Requests, times and shares are counted for the version that answered."""
    caller.post(f"{MODEL}/infer", json=_body("meeting"))
    sample = controlled[0].samples()[live.version]

    assert (sample.answered, sample.failed, sample.buckets[-1][1]) == (1.0, 0.0, 1.0)
    assert f'nightshift_share{{model="{RECIPE}",version="{live.version}"}} 1.0' in caller.get("/metrics").text


def test_a_breaking_candidate_costs_the_caller_nothing(
    caller: httpx.Client, store: Store, live: Release, controlled: list[Server]
) -> None:
    """Where the candidate breaks, the current version answers and the candidate's failure is counted."""
    broken = _release(store, BREAKS_ON_POISON, "2002-09-27")
    releases = {live.version: live.digest, broken.version: broken.digest}
    bring(controlled[0], Serving(releases=releases, current=live.version, candidate=broken.version, share=1.0))
    document = caller.post(f"{MODEL}/infer", json=_body("poison lottery")).json()
    by_name = caller.post(f"{MODEL}/versions/{broken.version}/infer", json=_body("poison"))

    assert live.version == document["model_version"]
    assert by_name.status_code == 500
    assert controlled[0].samples()[broken.version].failed == 2
