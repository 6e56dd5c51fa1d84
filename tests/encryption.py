"""Keys for tests: one store's secret and two versions of its master key."""

from __future__ import annotations

from dataclasses import replace

from operators.core.settings import EncryptionSettings, MasterKey

FIRST = MasterKey(version=1, secret="11" * 32)
SECOND = MasterKey(version=2, secret="22" * 32)
ENCRYPTION = EncryptionSettings(masters=(FIRST,), current=1, store_secret="5e" * 32)
ROTATED = replace(ENCRYPTION, masters=(FIRST, SECOND), current=2)
"""The same store's once a second version is current."""
