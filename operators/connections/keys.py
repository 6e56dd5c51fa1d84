"""Keys: what signs and whose signature is believed, what makes pseudonyms, what seals their originals."""

from __future__ import annotations

from airflow.sdk import Connection

from operators.connections.fields import extra_of, hexadecimal

SIGNING = "nightshift_signing"


def pseudonym_key() -> bytes:
    """Return the key of the pseudonyms, at least 32 bytes.

    Raises:
        ValueError: It is missing, not hexadecimal or too short; the message does not repeat it.
    """
    key = hexadecimal(Connection.get("nightshift_pseudonyms").password)
    if len(key) < 32:
        raise ValueError("connection nightshift_pseudonyms: its password must be at least 64 hexadecimal digits")
    return key


def signing_key() -> bytes:
    """Return the private key that the gate signs its verdicts with, 32 bytes.

    Raises:
        ValueError: It is missing or no key; the message does not repeat it.
    """
    key = hexadecimal(Connection.get(SIGNING).password)
    if len(key) != 32:
        raise ValueError(f"connection {SIGNING}: its password must be 64 hexadecimal digits, of `openssl rand -hex 32`")
    return key


def trusted_keys() -> frozenset[str]:
    """Return the public keys that a verdict may be signed with: those listed, and the signing key's where it is held.

    Raises:
        ValueError: There is none, or what is listed is no key.
    """
    from operators.core.signing import Signer

    connection = Connection.get(SIGNING)
    listed = connection.extra_dejson.get("trusted", [])
    if not isinstance(listed, list) or not all(isinstance(key, str) and len(hexadecimal(key)) == 32 for key in listed):
        raise ValueError(f"connection {SIGNING}: 'trusted' of its extra must list public keys of 64 hexadecimal digits")
    own = {Signer(signing_key()).public_key} if connection.password or not listed else set()
    return frozenset(own.union(key.lower() for key in listed))


def vault_public_key() -> str:
    """Return what seals originals of pseudonyms, in PEM; the key that opens them is in no connection."""
    return str(extra_of("nightshift_vault", "public_key"))


def fernet_keys() -> tuple[str, ...]:
    """Return what Airflow encrypts connections and variables with, the current key first; none where it does not."""
    from airflow.configuration import conf

    return tuple(key for key in conf.get("core", "fernet_key", fallback="").split(",") if key)
