"""Certificate authorities of a test, and what they issue, as files."""

from __future__ import annotations

from pathlib import Path

import trustme

from operators.local.tls import Certificate


def authority(folder: Path, name: str) -> tuple[trustme.CA, str]:
    """Return a new authority, and the file that it is trusted by."""
    made, path = trustme.CA(), folder / f"{name}.pem"
    made.cert_pem.write_to_path(path)
    return made, str(path)


def issue(by: trustme.CA, folder: Path, name: str, host: str = "127.0.0.1") -> Certificate:
    """Return a certificate for a host, with its key, in two files of this name."""
    issued = by.issue_cert(host)
    chain, key = folder / f"{name}-chain.pem", folder / f"{name}-key.pem"
    issued.cert_chain_pems[0].write_to_path(chain)
    issued.private_key_pem.write_to_path(key)
    return Certificate(chain=str(chain), key=str(key))
