"""Ports: a block from one base, movable, and never taken unsaid."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from operators.local import ports
from operators.local.layout import Layout, PlatformError


@pytest.fixture
def listener():
    """A socket that holds a loopback port."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_ports_are_one_block_of_distinct_numbers_from_the_base():
    """Every service has a port of its own, the gRPC ports of the object stores included."""
    wanted = ports.wanted_ports({ports.BASE_VARIABLE: "20000"})

    assert list(range(20000, 20000 + len(ports.PORT_NAMES))) == list(wanted.values())
    assert {"store-1-s3-grpc", "backup-store-filer-grpc"} <= set(wanted)


def test_somebody_else_s_airflow_is_no_obstacle():
    """UI, logs and health: none of the ports that Airflow takes unless told is asked for."""
    assert not set(ports.wanted_ports({}).values()) & {8080, 8793, 8794, 8974, 9091}


def test_a_single_port_can_be_moved():
    """A service's own variable moves it alone."""
    wanted = ports.wanted_ports({"NIGHTSHIFT_PORT_SERVER_1": "25000"})

    assert wanted["server-1"] == 25000
    assert wanted["airflow"] == ports.DEFAULT_BASE


@pytest.mark.parametrize("value", ["80", "65530", "99999", "x", "-1"])
def test_a_base_that_leaves_the_range_is_refused(value):
    """No port of the block may leave 1024 to 65535: SeaweedFS's own default for gRPC would."""
    with pytest.raises(PlatformError, match="1024 to 65535"):
        ports.wanted_ports({ports.BASE_VARIABLE: value})


def test_two_services_on_one_port_are_refused():
    """A port moved onto another service's is a message that names both."""
    with pytest.raises(PlatformError, match=r"server-1 and airflow"):
        ports.wanted_ports({"NIGHTSHIFT_PORT_SERVER_1": str(ports.DEFAULT_BASE)})


def test_a_taken_port_names_service_port_process_and_remedy(listener):
    """Who starts the platform beside another server learns what is in the way and what to set."""
    with pytest.raises(PlatformError) as refused:
        ports.check_free({"server-1": listener})

    message = str(refused.value)
    assert re.search(rf"process {os.getpid()} .* has port {listener}, wanted for server-1\n", message)
    assert "NIGHTSHIFT_PORT_SERVER_1" in message
    assert ports.BASE_VARIABLE in message


def test_one_process_with_many_ports_is_one_line(listener):
    """Another platform holds the whole block: its processes are named, not each of its ports."""
    with pytest.raises(PlatformError, match=r"wanted for server-1, and 1 more\n"):
        ports.check_free({"server-1": listener, "server-2": listener})


def test_a_free_base_has_a_whole_free_block():
    """Tests get ports that nobody listens on, all below 65536."""
    base = ports.free_base(os.getpid())

    ports.check_free(ports.wanted_ports({ports.BASE_VARIABLE: str(base)}))


def test_a_platform_from_before_gets_the_ports_that_came_later(short_path: Path):
    """What was recorded stays; a name that is new has its place in the same block."""
    layout = Layout(home=short_path / "h")
    block = ports.wanted_ports({ports.BASE_VARIABLE: "21000"})
    ports.save(layout, {name: port for name, port in block.items() if "grpc" not in name or "store" in name})

    assert block == ports.load(layout, {})


@pytest.mark.parametrize("value", ["1", "17", "x"])
def test_a_number_of_servers_that_cannot_be_is_refused(value: str):
    """Fewer than are started, or more than there are places for."""
    with pytest.raises(PlatformError, match="2 to 16"):
        ports.wanted_ports({ports.PLACES_VARIABLE: value})


def test_recorded_ports_rule_over_the_environment(short_path: Path):
    """`status` and `stop` find a running platform where it is, not where the shell would put a new one."""
    layout = Layout(home=short_path / "h")
    layout.make()
    placed = ports.wanted_ports({ports.BASE_VARIABLE: "21000"})
    ports.save(layout, placed)

    assert placed == ports.load(layout, {ports.BASE_VARIABLE: "22000"})
