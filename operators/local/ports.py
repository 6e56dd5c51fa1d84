"""Which loopback port each service listens on: a block from one base, any of them movable."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import psutil

from operators.local.layout import Layout, PlatformError, write_private

BASE_VARIABLE = "NIGHTSHIFT_PORT_BASE"
DEFAULT_BASE = 17400
STORES = ("store-1", "store-2", "store-3", "backup-store")
SERVERS = ("server-1", "server-2")
"""Model servers that are started."""
PLACES_VARIABLE = "NIGHTSHIFT_MAX_SERVERS"
DEFAULT_PLACES, MOST_PLACES = 4, 16
"""Places for model servers: the balancer knows each from the start, so that one more costs no change of it."""
# SeaweedFS puts its gRPC ports at port + 10000 unless told, which runs past 65535 or into a neighbour: all are ours.
STORE_PARTS = ("s3", "s3-grpc", "master", "master-grpc", "volume", "volume-grpc", "filer", "filer-grpc")


def port_names(num_places: int) -> tuple[str, ...]:
    """Return the name of every port, in the order of the block."""
    places = [f"server-{number}" for number in range(1, num_places + 1)]
    return (
        "airflow",
        "balancer",
        "balancer-admin",
        *places[:2],
        *(f"{store}-{part}" for store in STORES for part in STORE_PARTS),
        *places[2:],
        *(f"{place}-grpc" for place in places),
    )


PORT_NAMES = port_names(DEFAULT_PLACES)

Ports = Mapping[str, int]


def server_places(ports: Ports) -> list[str]:
    """Return the names of all places for model servers, those of the started ones first."""
    return [name for name in ports if name.startswith("server-") and not name.endswith("-grpc")]


def variable_of(name: str) -> str:
    """Return the environment variable that moves one port, e.g. `NIGHTSHIFT_PORT_SERVER_1`."""
    return f"NIGHTSHIFT_PORT_{name.upper().replace('-', '_')}"


def wanted_ports(environment: Mapping[str, str]) -> dict[str, int]:
    """Return every port by name: the base's block, each moved where its own variable says so.

    Raises:
        PlatformError: A port is no number from 1024 to 65535, or two services would share one.
    """
    base = _number(BASE_VARIABLE, environment.get(BASE_VARIABLE) or str(DEFAULT_BASE))
    names = port_names(_num_places(environment))
    if base + len(names) > 65536:
        raise PlatformError(
            f"{BASE_VARIABLE}={base}: the block of {len(names)} ports would leave 1024 to 65535. Choose a lower."
        )
    ports: dict[str, int] = {}
    for offset, name in enumerate(names):
        variable = variable_of(name)
        ports[name] = _number(variable, environment.get(variable) or str(base + offset))
    owners: dict[int, str] = {}
    for name, port in ports.items():
        if port in owners:
            raise PlatformError(f"{name} and {owners[port]} would both listen on port {port}: move one of them.")
        owners[port] = name
    return ports


def _number(variable: str, text: str) -> int:
    if not text.isdigit() or not 1024 <= int(text) <= 65535:
        raise PlatformError(f"{variable}={text}: a port is a number from 1024 to 65535.")
    return int(text)


def _num_places(environment: Mapping[str, str]) -> int:
    text = environment.get(PLACES_VARIABLE) or str(DEFAULT_PLACES)
    if not text.isdigit() or not len(SERVERS) <= int(text) <= MOST_PLACES:
        raise PlatformError(f"{PLACES_VARIABLE}={text}: {len(SERVERS)} to {MOST_PLACES} model servers have a place.")
    return int(text)


def is_free(port: int) -> bool:
    """Say whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT after a stop is free, one with a listener is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def check_free(ports: Ports) -> None:
    """Return if every port can be listened on.

    Raises:
        PlatformError: Some are taken: by which service each was wanted, and who holds it if that can be seen.
    """
    taken = {name: port for name, port in ports.items() if not is_free(port)}
    if not taken:
        return
    by_holder: dict[str, list[str]] = {}
    for name, port in taken.items():
        by_holder.setdefault(holder(port), []).append(f"port {port}, wanted for {name}")
    lines = [f"  {who} has {_listed(held)}" for who, held in by_holder.items()]
    raise PlatformError(
        "the platform cannot start, ports are taken:\n" + "\n".join(lines) + "\n"
        f"Stop what holds them, or move the service ({variable_of(next(iter(taken)))}=PORT make run), "
        f"or all of them ({BASE_VARIABLE}=PORT make run)."
    )


def _listed(held: list[str]) -> str:
    return held[0] if len(held) == 1 else f"{held[0]}, and {len(held) - 1} more"


def holder(port: int) -> str:
    """Name the process that listens on a port, as far as this user may see it."""
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                process = psutil.Process(connection.pid)
                return f"process {process.pid} ({' '.join(' '.join(process.cmdline()).split())[:80] or process.name()})"
    except (psutil.Error, OSError):
        pass
    return "another process"


def free_base(seed: int, tries: int = 200) -> int:
    """Return a base whose whole block is free now, below the ports that the kernel hands to clients."""
    step = len(PORT_NAMES)
    blocks = (32000 - 18000) // step
    for attempt in range(tries):
        base = 18000 + (seed + attempt) % blocks * step
        if all(is_free(base + offset) for offset in range(step)):
            return base
    raise PlatformError(f"no {step} free ports in a row between 18000 and 32000.")


def save(layout: Layout, ports: Ports) -> None:
    """Record the ports that the running platform has, for `status`, `stop` and the next `run`."""
    write_private(_file(layout), json.dumps(dict(ports), indent=1))


def load(layout: Layout, environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Return the recorded ports, or the wanted ones where no platform ran yet."""
    held = recorded(layout)
    if held is None:
        return wanted_ports(environment)
    # A port that a later release of Nightshift brought stands in the block that the others are in.
    base, places = str(held["airflow"]), environment.get(PLACES_VARIABLE, "")
    block = wanted_ports({BASE_VARIABLE: base, PLACES_VARIABLE: places})
    return {**block, **held}


def recorded(layout: Layout) -> dict[str, int] | None:
    """Return the recorded ports, None where no platform ran yet."""
    try:
        return {name: int(port) for name, port in json.loads(_file(layout).read_text()).items()}
    except FileNotFoundError:
        return None


def _file(layout: Layout) -> Path:
    return layout.run / "ports.json"
