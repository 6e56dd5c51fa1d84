"""The server's routes over a real socket: the protocol, its errors, the guarded repository, metrics."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
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
    sample = controlled[0].scrape().everything[live.version]

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
    assert controlled[0].scrape().everything[broken.version].failed == 2


def test_what_the_split_shares_out_is_counted_apart(
    caller: httpx.Client, store: Store, live: Release, controlled: list[Server]
) -> None:
    """By the version that was chosen: not what names its version, nor what another one answered instead."""
    broken = _release(store, BREAKS_ON_POISON, "2002-09-27")
    releases = {live.version: live.digest, broken.version: broken.digest}
    bring(controlled[0], Serving(releases=releases, current=live.version, candidate=broken.version, share=0.999))
    caller.post(f"{MODEL}/infer", json=_body("poison"))
    caller.post(f"{MODEL}/infer", json=_body("lottery", "meeting"))
    caller.post(f"{MODEL}/versions/{broken.version}/infer", json=_body("lottery"))
    scrape = controlled[0].scrape()

    assert (scrape.callers[broken.version].answered, scrape.callers[broken.version].failed) == (1.0, 1.0)
    assert scrape.callers[broken.version].labels == {"spam": 1.0, "ham": 1.0}
    assert live.version not in scrape.callers
    assert (scrape.everything[broken.version].answered, scrape.everything[live.version].answered) == (2.0, 1.0)


def test_a_request_has_an_id_in_the_answer(caller: httpx.Client, live: Release) -> None:
    """The id that a caller gave comes back and stands for a missing `id`; without one, one is made."""
    given = caller.post(f"{MODEL}/infer", json=_body("meeting"), headers={"X-Request-Id": "mine-7"})
    made = caller.get("/v2", headers={"X-Request-Id": "no good"}).headers["X-Request-Id"]

    assert (given.headers["X-Request-Id"], given.json()["id"]) == ("mine-7", "mine-7")
    assert len(made) == 32


def test_texts_and_outputs_travel_in_binary(caller: httpx.Client, live: Release) -> None:
    """Texts behind their lengths after the JSON part; outputs that ask for it likewise, the others in JSON."""
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"meeting", b"lottery lottery"))
    tensor = {"name": "text", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": len(texts)}}
    outputs = [{"name": "score", "parameters": {"binary_data": True}}, {"name": "label"}]
    head = json.dumps({"inputs": [tensor], "outputs": outputs}).encode()
    response = caller.post(
        f"{MODEL}/infer", content=head + texts, headers={"Inference-Header-Content-Length": str(len(head))}
    )
    length = int(response.headers["Inference-Header-Content-Length"])
    score, label = json.loads(response.content[:length])["outputs"]

    assert label["data"] == ["ham", "spam"]
    assert (score["parameters"], "data" in score) == ({"binary_data_size": 8}, False)
    assert struct.unpack("<2f", response.content[length:]) == pytest.approx((0.98201379, 0.98201379))


@pytest.mark.parametrize(
    ("raw", "length", "message"),
    [
        (b"\x05\0\0\0", None, "ends within a text"),
        (b"\x01\0\0\0\xff", None, "UTF-8"),
        (b"\x01\0\0\0ab", None, "ends within a text"),
        (b"\x01\0\0\0a" * 65, None, "at most 64"),
        (b"", "99999", "at most"),
        (b"", "-1", "bytes of the JSON part"),
    ],
)
def test_wrong_binary_input_is_a_clear_400(
    caller: httpx.Client, live: Release, raw: bytes, length: str | None, message: str
) -> None:
    """Lengths that do not add up and texts that are none are refused with a sentence."""
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    headers = {"Inference-Header-Content-Length": length or str(len(head))}
    response = caller.post(f"{MODEL}/infer", content=head + raw, headers=headers)

    assert (response.status_code, message in response.json()["error"]) == (400, True), response.text


def test_the_repository_answers_clients_of_the_protocol(
    caller: httpx.Client, store: Store, live: Release, controlled: list[Server]
) -> None:
    """Index, load by the parameter `config`, and unload of all that answers nothing, in the protocol's own routes."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    other = _release(store, day="2002-09-27")
    config = json.dumps({"version": other.version, "release": other.digest})
    loaded = caller.post(f"{REPOSITORY}/load", headers=headers, json={"parameters": {"config": config}}).json()
    index = caller.post("/v2/repository/index", headers=headers, json={"ready": True}).json()
    unloaded = caller.post(f"{REPOSITORY}/unload", headers=headers, json={}).json()

    assert loaded == {"version": other.version, "loaded": True}
    assert {line["version"]: line["state"] for line in index} == {live.version: "READY", other.version: "READY"}
    assert unloaded == {"unloaded": [other.version]}
    assert controlled[0].serving().releases == {live.version: live.digest}


def test_a_load_that_names_no_release_is_a_400(caller: httpx.Client) -> None:
    """The protocol's load route says what it wants in `config`."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = caller.post(f"{REPOSITORY}/load", headers=headers, json={"parameters": {"config": "{}"}})

    assert (response.status_code, "'release'" in response.json()["error"]) == (400, True)


def test_a_request_without_an_id_has_one_everywhere(caller: httpx.Client, live: Release) -> None:
    """The id that is made for a request is the answer's, the header's and so the log's, and no other request has it."""
    answers = [caller.post(f"{MODEL}/infer", json=_body("meeting")) for _ in range(2)]
    ids = [answer.json()["id"] for answer in answers]

    assert [answer.headers["X-Request-Id"] for answer in answers] == ids
    assert len(set(ids)) == 2


def test_an_inference_is_asked_for_by_post(caller: httpx.Client, live: Release) -> None:
    """Another method is 405, and the answer says which one is taken."""
    response = caller.get(f"{MODEL}/infer")

    assert (response.status_code, response.headers["Allow"], "POST" in response.json()["error"]) == (405, "POST", True)


def test_the_description_is_of_what_is_served(caller: httpx.Client, live: Release) -> None:
    """`/openapi.json` names every route, and answers fit what it says of them."""
    document = caller.get("/openapi.json").json()
    operation = document["paths"][f"{MODEL}/infer"]["post"]
    request, answers = operation["requestBody"]["content"], operation["responses"]
    body = _body("meeting", "lottery", parameters={"timeout": 5_000_000})
    jsonschema.validate(body, request["application/json"]["schema"])
    right, wrong = caller.post(f"{MODEL}/infer", json=body), caller.post(f"{MODEL}/infer", json={})

    jsonschema.validate(right.json(), answers["200"]["content"]["application/json"]["schema"])
    jsonschema.validate(wrong.json(), answers["400"]["content"]["application/json"]["schema"])
    assert {
        f"{MODEL}/versions/{{version}}/infer",
        f"{REPOSITORY}/load",
        "/v2/repository/index",
        "/metrics",
        "/v2/health/ready",
    } <= set(document["paths"])
    assert caller.get("/docs").status_code == 404
