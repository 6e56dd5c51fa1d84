"""What an operator's file may say of certificates: all of it or nothing, and nothing that does not fit together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from operators.local import airflow, ports, services, serving
from operators.local.credentials import load_credentials
from operators.local.layout import Layout, PlatformError
from operators.local.tls import Tls
from tests.local.certificates import authority, issue

PLACED = ports.wanted_ports({ports.BASE_VARIABLE: "20000"})


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Two certificates of one authority, another authority, and a certificate for another host."""
    own, ca = authority(tmp_path, "own")
    _, other_ca = authority(tmp_path, "other")
    here, there = issue(own, tmp_path, "here"), issue(own, tmp_path, "there", "models.example.org")
    return {
        "chain": here.chain, "key": here.key, "ca": ca, "other_ca": other_ca,
        "there_chain": there.chain, "there_key": there.key, "missing": str(tmp_path / "missing.pem"),
    }  # fmt: skip


def _read(files: dict[str, str], wanted: dict[str, Any]) -> Tls:
    text = json.dumps(wanted)
    for name, path in files.items():
        text = text.replace(f'"{name}"', json.dumps(path))
    tls = Tls.read(json.loads(text))
    tls.check()
    return tls


SERVERS = {"tls_certificate": "chain", "tls_key": "key", "tls_ca": "ca"}
BALANCER = {"tls_certificate": "there_chain", "tls_key": "there_key"}


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"tls_certificate": "chain"}, "^tls_certificate and tls_key: give both files, or neither"),
        ({"balancer": {"tls_key": "key"}}, "balancer: tls_certificate and tls_key: give both files"),
        ({"tls_certificate": "chain", "tls_key": "key"}, "need tls_ca"),
        ({"tls_ca": "ca"}, "tls_certificate and tls_key of the servers need tls_ca, and it needs them"),
        ({**SERVERS, "tls_key": "there_key"}, r"cannot be used \(.*MISMATCH"),
        ({**SERVERS, "tls_key": "missing"}, r"tls_key=.*missing\.pem: there is no such file"),
        ({**SERVERS, "tls_certificate": "chain.pem"}, "there is no such file; give an absolute path"),
        ({**SERVERS, "tls_ca": "other_ca"}, "does not vouch for .* issued by that authority"),
        ({**SERVERS, "tls_ca": "key"}, "does not vouch for"),
        ({**SERVERS, **BALANCER}, r"at 127\.0\.0\.1 \(.*mismatch.*must name 127\.0\.0\.1"),
        ({"balancer": {"host": "0.0.0.0"}}, r"host=0\.0\.0\.0 is reached from elsewhere, so it needs"),
        ({"balancer": {**BALANCER, "host": "here"}}, "'here' does not appear to be an IPv4 or IPv6 address"),
        ({"balancer": {"port": 1}}, r"balancer: \['port'\] are unknown"),
    ],
)
def test_half_settings_and_what_does_not_fit_are_refused(
    files: dict[str, str], wanted: dict[str, Any], message: str
) -> None:
    """Before anything starts, with what is wrong and what to do."""
    with pytest.raises(ValueError, match=message):
        _read(files, wanted)


def test_whole_settings_are_taken(files: dict[str, str]) -> None:
    """The servers' certificate names loopback, the balancer's whatever callers know it by; addresses are as secure."""
    tls = _read(files, {**SERVERS, "balancer": {**BALANCER, "host": "0.0.0.0"}})

    assert (tls.server_url(1), tls.balancer_url(2)) == ("https://127.0.0.1:1", "https://127.0.0.1:2")
    assert Tls().server_url(1) == "http://127.0.0.1:1"
    assert _read(files, {"balancer": {**BALANCER, "host": "::1"}}).balancer_url(3) == "https://[::1]:3"


def test_the_operator_s_file_is_named(short_path: Path) -> None:
    """As for whatever else it may say wrongly; a file that went missing stops a start, and nobody who only looks."""
    layout = Layout(home=short_path / "h")
    layout.make()
    (layout.secrets / "serving.json").write_text('{"tls_ca": "/nowhere.pem"}')

    with pytest.raises(PlatformError, match=r"secrets/serving\.json cannot be used: tls_certificate and tls_key"):
        serving.tls_settings(layout)
    (layout.secrets / "serving.json").write_text('{"balancer": {"tls_certificate": "/no.pem", "tls_key": "/no.pem"}}')
    with pytest.raises(PlatformError, match=r"serving\.json cannot be used: tls_certificate=/no\.pem: there"):
        services.configure(layout, PLACED, load_credentials(layout), Path("/dags"))
    assert serving.tls_settings(layout).balancer_url(1) == "https://127.0.0.1:1"


def watched(layout: Layout) -> str:
    """Return the address at which the platform's watcher asks the balancer."""
    (watcher,) = [one for one in services.all_services(layout, PLACED) if one.name == "watcher"]
    return watcher.command[watcher.command.index("--balancer") + 1]


def test_every_part_of_the_platform_is_told(files: dict[str, str], short_path: Path) -> None:
    """Services, probes and the connection of controllers: addresses by https, and what to verify them with."""
    layout = Layout(home=short_path / "h")
    layout.make()
    wanted = {name: files[file] for name, file in SERVERS.items()}
    balancer = {name: files[file] for name, file in BALANCER.items()}
    (layout.secrets / "serving.json").write_text(json.dumps({**wanted, "balancer": balancer}))
    credentials = load_credentials(layout)
    variables = airflow.environment(layout, PLACED, credentials, Path("/dags"))
    extra = json.loads(variables["AIRFLOW_CONN_NIGHTSHIFT_SERVING"])["extra"]
    probed = {one.name: one for one in services.all_services(layout, PLACED) if one.certificate}

    assert extra["servers"] == [f"https://127.0.0.1:{PLACED[name]}" for name in ports.SERVERS]
    assert (extra["balancer"], extra["ca_file"]) == (f"https://127.0.0.1:{PLACED['balancer']}", files["ca"])
    assert set(probed) == {"balancer", *ports.SERVERS}
    assert all(str(one.url).startswith("https://") for one in probed.values())
    assert serving.server_settings(layout, credentials).certificate == (Path(files["chain"]), Path(files["key"]))
    assert watched(layout) == f"127.0.0.1:{PLACED['balancer']}"
    (layout.secrets / "serving.json").write_text(json.dumps({"balancer": {**balancer, "host": "127.0.0.2"}}))
    assert watched(layout) == f"127.0.0.2:{PLACED['balancer']}"
