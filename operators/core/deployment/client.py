"""A model server as a controller sees it: asked again while it is away, for as long as a supervisor may need."""

from __future__ import annotations

import contextlib
import logging
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import httpx

from operators.core.deployment.scrape import Scrape, read_scrape
from operators.core.errors import DeploymentError, HealthCheckFailed, Overtaken
from operators.core.settings import ServingSettings

LOG = logging.getLogger("nightshift.deployment")
RETRY_SECONDS = 0.25
REQUEST_SECONDS = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Serving:
    """What a server serves, or should."""

    releases: Mapping[str, str] = field(default_factory=dict)
    """Version to release digest, for every resident version."""
    current: str | None = None
    former: str | None = None
    candidate: str | None = None
    share: float = 0.0
    is_shadow: bool = False
    """The candidate answers copies of callers' requests."""
    order: int = 0
    """Place in the deploy stream of the step that this follows from; a server takes nothing earlier."""
    by_hand: Mapping[str, Any] | None = None
    """The newest rollback that was made on the servers first; see `roll_back`."""

    @property
    def split(self) -> dict[str, Any]:
        """Who answers what."""
        names = ("current", "former", "candidate", "share", "is_shadow")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a server answered to one text; `label` is None where there is no answer."""

    version: str
    label: str | None
    status: int = 200
    seconds: float = 0.0
    """As the caller sees it."""

    @property
    def is_refused(self) -> bool:
        """Whether the server had no room or no time: that says nothing of the version."""
        return self.status in (408, 429, 503)


class Server:
    """One model server, reached directly and never through the balancer."""

    def __init__(self, url: str, model: str, token: str, timeout_seconds: float, *, ca_file: str | None = None) -> None:
        """Reach the server at `url`; it may be away for `timeout_seconds` before a call fails.

        Args:
            url: Its base address.
            model: What it answers for.
            token: Of its repository routes.
            timeout_seconds: How long it may be away.
            ca_file: Authorities that its certificate is verified with; None for the system's.

        Raises:
            DeploymentError: The file cannot be read.
        """
        self.url, self._model, self._timeout = url.rstrip("/"), model, timeout_seconds
        self._client = httpx.Client(
            base_url=self.url,
            timeout=REQUEST_SECONDS,
            headers={"Authorization": f"Bearer {token}"},
            trust_env=False,
            verify=True if ca_file is None else _trusting(ca_file),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def serving(self) -> Serving:
        """Return what it serves."""
        return Serving(**self._expect_ok("GET", f"/v2/repository/models/{self._model}/traffic").json())

    def load(self, version: str, release: str) -> None:
        """Have a version resident and warm there."""
        self._expect_ok("POST", f"/v2/repository/models/{self._model}/versions/{version}/load", {"release": release})

    def unload(self, version: str) -> None:
        """Have a version no longer resident there."""
        self._expect_ok("POST", f"/v2/repository/models/{self._model}/versions/{version}/unload")

    def switch(self, serving: Serving) -> None:
        """Make `serving` its traffic, from the next request on."""
        body = {**serving.split, "order": serving.order, "by_hand": serving.by_hand}
        self._expect_ok("POST", f"/v2/repository/models/{self._model}/traffic", body)

    def infer(self, text: str, request_id: str, version: str | None = None, *, patient: bool = False) -> Answer:
        """Ask for the label of one text, from a given version or from the one that the split chooses."""
        path = f"/v2/models/{self._model}" + (f"/versions/{version}" if version else "") + "/infer"
        tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [text]}
        body = {"id": request_id, "inputs": [tensor], "outputs": [{"name": "label"}]}
        begun = time.monotonic()
        response = self._ask("POST", path, body, patient=patient)
        seconds = time.monotonic() - begun
        if response.status_code != 200:
            return Answer(version=version or "", label=None, status=response.status_code, seconds=seconds)
        document = response.json()
        return Answer(version=document["model_version"], label=document["outputs"][0]["data"][0], seconds=seconds)

    def scrape(self) -> Scrape:
        """Return the counters of every version, from the Prometheus exposition."""
        return read_scrape(self._expect_ok("GET", "/metrics").text)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _expect_ok(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """Return a successful response.

        Raises:
            DeploymentError: The server stays away, or cannot do it now.
            Overtaken: Another controller, or a person, has gone on meanwhile.
            HealthCheckFailed: The server refuses, and would refuse again.
        """
        response = self._ask(method, path, body, patient=True)
        if response.status_code == 200:
            return response
        reason = f"{self.url} answered {response.status_code} to {method} {path}: {response.text[:500]}"
        raise {409: Overtaken, 422: HealthCheckFailed}.get(response.status_code, DeploymentError)(reason)

    def _ask(self, method: str, path: str, body: Any, *, patient: bool) -> httpx.Response:
        """Ask until there is an answer, and when `patient` until it is another than "not now" (429, 503)."""
        until = time.monotonic() + self._timeout
        while True:
            try:
                response = self._client.request(method, path, json=body)
                if response.status_code not in (429, 503) or not patient or time.monotonic() > until:
                    return response
            except httpx.TransportError as error:
                _check_believed(self.url, error)
                if time.monotonic() > until:
                    raise DeploymentError(
                        f"the model server at {self.url} is away for {self._timeout:g} s ({type(error).__name__}): "
                        "start it again, then retry"
                    ) from error
            time.sleep(RETRY_SECONDS)


@contextlib.contextmanager
def open_servers(settings: ServingSettings, model: str, timeout_seconds: float) -> Iterator[list[Server]]:
    """Reach the servers of the settings, in their order, until the block ends.

    Raises:
        DeploymentError: There are none.
    """
    if not settings.servers:
        raise DeploymentError("no model server is configured: list at least one in the serving connection")
    with contextlib.ExitStack() as opened:
        yield [
            opened.enter_context(Server(url, model, settings.token, timeout_seconds, ca_file=settings.ca_file))
            for url in settings.servers
        ]


def _with_what_loads(server: Server, wanted: Serving) -> Serving:
    """Return `wanted`, without its former release where a server that does not hold that one refuses it.

    Whom the platform trusts no longer may have signed it. That takes nothing from what is live there; the servers that
    hold it can still go back.
    """
    former = str(wanted.former)
    try:
        server.load(former, wanted.releases[former])
    except HealthCheckFailed as refusal:
        LOG.warning("%s has no former release to go back to: %s", server.url, refusal)
        rest = {version: digest for version, digest in wanted.releases.items() if version != former}
        return replace(wanted, releases=rest, former=None)
    return wanted


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise DeploymentError(
            f"ca_file {ca_file} of the serving connection cannot be read ({error}): it holds, in PEM, the authorities "
            "that the servers' certificates are verified with"
        ) from None


def _check_believed(url: str, error: httpx.TransportError) -> None:
    """Return unless a server showed a certificate that is not believed: no waiting helps then."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise DeploymentError(
                f"the certificate of {url} is not believed ({cause.verify_message}): it must name that host, be valid, "
                "and be issued by an authority of `ca_file` in the serving connection"
            ) from error
        cause = cause.__cause__ or cause.__context__


def highest_order(servers: Iterable[Server]) -> int:
    """Return the place of the latest step that a server has taken."""
    return max((server.serving().order for server in servers), default=0)


def bring(server: Server, wanted: Serving, *, tidy: bool = False) -> bool:
    """Bring a server to `wanted` from whatever it serves now; return whether anything had to be done.

    Args:
        server: The server.
        wanted: What it shall hold and serve.
        tidy: Also unload what is not wanted.
    """
    now = server.serving()
    if wanted.former not in (None, *now.releases):
        wanted = _with_what_loads(server, wanted)
    missing = {version: digest for version, digest in wanted.releases.items() if now.releases.get(version) != digest}
    for version, digest in missing.items():
        server.load(version, digest)
    is_moved = now.split != wanted.split
    # Also where nothing moves: from now on an earlier step comes too late there.
    if is_moved or now.order < wanted.order:
        is_noted = now.by_hand is not None and now.by_hand["is_noted"]
        server.switch(replace(wanted, by_hand=now.by_hand) if is_noted and not wanted.by_hand else wanted)
    surplus = sorted(set(now.releases) - set(wanted.releases)) if tidy else []
    for version in surplus:
        server.unload(version)
    return bool(missing or is_moved or surplus)
