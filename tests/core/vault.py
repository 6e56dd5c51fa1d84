"""Keys of vaults for tests, made for this run."""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

PRIVATE, OTHER = X25519PrivateKey.generate(), X25519PrivateKey.generate()
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def pem_of(key: X25519PrivateKey) -> bytes:
    """Return a private key as the file that a person keeps."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
