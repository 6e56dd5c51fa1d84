"""Who may ask what: callers by API key, the controller by its bearer token and only directly."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping

FORWARDING = ("forwarded", "x-forwarded-for", "via")
"""Headers that a balancer adds: what carries one did not come from a controller."""
ANYONE = "anyone"
CONTROLLER = "controller"


class Access:
    """Tells callers by their keys; of keys it holds digests only, and compares in constant time."""

    def __init__(self, api_keys: Mapping[str, str], token: str) -> None:
        """Ask for no key where none is listed.

        Args:
            api_keys: Caller's name to the SHA-256 of its key, in hexadecimal digits.
            token: The controller's bearer token.
        """
        self._names = {digest: name for name, digest in api_keys.items()}
        self._expected = f"Bearer {token}".encode()

    def caller(self, headers: Mapping[str, str]) -> str | None:
        """Return who asks for an inference, None where nobody who may.

        The key comes as `X-API-Key` or as `Authorization: Bearer`; names of headers are lower case.
        """
        if not self._names:
            return ANYONE
        authorization = headers.get("authorization", "")
        key = headers.get("x-api-key") or authorization.removeprefix("Bearer ")
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for known, name in self._names.items():  # all of them, always
            if secrets.compare_digest(known, digest):
                found = name
        return CONTROLLER if found is None and self._is_token(headers) else found

    def refusal(self, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return why this is not the controller, as a status and a sentence; None if it is."""
        if any(name in headers for name in FORWARDING):
            return 403, "repository routes are for a controller that reaches this server directly"
        if not self._is_token(headers):
            return 401, "a bearer token is needed"
        return None

    def _is_token(self, headers: Mapping[str, str]) -> bool:
        given = headers.get("authorization", "").encode()
        return secrets.compare_digest(given, self._expected)
