"""The embedded object stores: independent SeaweedFS servers, each an endpoint in its own process, folder and ports.

Replication is ours, not SeaweedFS's: that one writes to all copies, so that with one of three away every write fails.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from operators.core.settings import CacheSettings, EndpointSettings, StorageSettings
from operators.local.credentials import Credentials
from operators.local.layout import Layout, write_private
from operators.local.ports import STORES, Ports, is_free

BACKUP = "backup-store"
VOLUME_MEGABYTES = 1024
"""A volume file's limit; volumes grow as they fill, so that many small ones cost nothing."""
PARTS = ("s3", "master", "volume", "filer")
CACHE_BYTES = 1024**3
"""A night of `mail_triage` reads 0.3 GB, most of it more than once."""


def command(name: str, layout: Layout, ports: Ports, binary: Path) -> list[str]:
    """Return the command line of one store. SIGTERM does not stop it; SIGKILL does, and loses nothing acknowledged."""
    port = {part: str(ports[f"{name}-{part}"]) for part in PARTS}
    grpc = {part: str(ports[f"{name}-{part}-grpc"]) for part in port}
    return [
        # Else it writes files of its own to the machine's temporary folder; standard error is in our log.
        str(binary), "-logtostderr=true",
        "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={layout.endpoints / name}",
        # Without `none` a restart after SIGKILL waits 17 s for peers that it never had.
        "-master.peers=none", "-master.telemetry=false", f"-master.volumeSizeLimitMB={VOLUME_MEGABYTES}",
        f"-master.port={port['master']}", f"-master.port.grpc={grpc['master']}",
        f"-volume.port={port['volume']}", f"-volume.port.grpc={grpc['volume']}", "-volume.max=0",
        "-volume.minFreeSpace=100MiB",
        "-filer", f"-filer.port={port['filer']}", f"-filer.port.grpc={grpc['filer']}",
        f"-filer.localSocket={layout.run / f'{name}-f.sock'}",
        "-s3", f"-s3.port={port['s3']}", f"-s3.port.grpc={grpc['s3']}", f"-s3.config={identities_file(name, layout)}",
        f"-s3.localSocket={layout.run / f'{name}-s.sock'}",
        # Both would listen on one fixed port for all four servers.
        "-s3.port.iceberg=0", "-s3.port.lance=0",
    ]  # fmt: skip


def remove_sockets(ports: Ports) -> None:
    """Have nothing left of what stores that were ended leave outside of their folders."""
    for name in STORES:
        for part in PARTS:
            port = ports[f"{name}-{part}-grpc"]
            if is_free(port):  # else somebody else's store listens there by now
                grpc_socket(part, port).unlink(missing_ok=True)


def grpc_socket(part: str, port: int) -> Path:
    """Return where a part of a store has a Unix socket beside its port: no flag moves it, and SIGKILL leaves it."""
    return Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock")  # noqa: S108 - not our choice


def identities_file(name: str, layout: Layout) -> Path:
    """Return where a store reads who may do what."""
    return layout.secrets / f"{name}.json"


def identities(access_key: str, secret_key: str) -> str:
    """Return what a store reads: one identity that may do everything, with these keys."""
    identity = {
        "name": "nightshift",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    return json.dumps({"identities": [identity]})


def configure(layout: Layout, credentials: Credentials) -> None:
    """Make each store's folder and the file that names its one identity."""
    for name in STORES:
        write_private(identities_file(name, layout), identities(*keys_of(name, credentials)))
        (layout.endpoints / name).mkdir(parents=True, exist_ok=True)


def store_settings(layout: Layout, ports: Ports, credentials: Credentials) -> StorageSettings:
    """Return the settings of the three endpoints that make the store, acknowledged at two, its keys and its cache."""
    return store_of(_addresses(ports), str(layout.cache), credentials)


def backup_settings(ports: Ports, credentials: Credentials) -> StorageSettings:
    """Return the settings of the one endpoint that backups go to; files lie there as in the store, by its keys."""
    return backup_of(_addresses(ports), credentials)


def store_of(addresses: Mapping[str, str], cache: str, credentials: Credentials) -> StorageSettings:
    """Return the settings of the store, given each server's address and the folder of the cache."""
    endpoints = tuple(_endpoint(name, addresses, credentials) for name in STORES if name != BACKUP)
    kept = CacheSettings(folder=cache, bytes=CACHE_BYTES)
    return StorageSettings(endpoints=endpoints, acknowledge=2, encryption=credentials.encryption, cache=kept)


def backup_of(addresses: Mapping[str, str], credentials: Credentials) -> StorageSettings:
    """Return the settings of the backup store, given its server's address."""
    endpoint = _endpoint(BACKUP, addresses, credentials)
    return StorageSettings(endpoints=(endpoint,), acknowledge=1, encryption=credentials.encryption)


def _addresses(ports: Ports) -> dict[str, str]:
    return {name: f"http://127.0.0.1:{ports[f'{name}-s3']}" for name in STORES}


def _endpoint(name: str, addresses: Mapping[str, str], credentials: Credentials) -> EndpointSettings:
    access, secret = keys_of(name, credentials)
    return EndpointSettings(
        name=name,
        url=f"s3://nightshift-{name}",
        endpoint_url=addresses[name],
        access_key=access,
        secret_key=secret,
    )


def keys_of(name: str, credentials: Credentials) -> tuple[str, str]:
    """Return the access key and the secret key that a store gives and asks for."""
    if name == BACKUP:
        return credentials.backup_access_key, credentials.backup_secret_key
    return credentials.store_access_key, credentials.store_secret_key
