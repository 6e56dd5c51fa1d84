"""The keys that tests sign verdicts with."""

from __future__ import annotations

from operators.core.signing import Signer

SIGNER = Signer(bytes(range(32)))
TRUSTED = (SIGNER.public_key,)
STRANGER = Signer(bytes(range(1, 33)))
"""Whom nobody trusts."""
