"""How long a server is waited for, what is asked again, and when it is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import SystemRandom

from operators.core.storage.endpoint import EndpointAway

_RANDOM = SystemRandom()


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Limits of one request and of a row of them, in seconds."""

    connect_seconds: float = 3.0
    """A handshake across the earth and one lost packet take 1.5 s."""
    silence_seconds: float = 15.0
    """Without a byte. One that must flush 16 MiB to a busy disk answers in a second or two; what hangs does not."""
    slowest_bytes_per_second: float = 256 * 1024.0
    """A body that comes or goes slower is given up: at this pace 10 GiB take half a day."""
    tries: int = 4
    """Of what is safe to repeat, unless the server was silent: then another endpoint is asked instead."""
    first_wait_seconds: float = 0.1
    """Wait between tries at most so long, then four times as long, and so on; drawn evenly, so that crowds disperse."""
    failures: int = 3
    """Requests in a row, each with all its tries, after which a server is left alone; silence counts for all."""
    pause_seconds: float = 2.0
    """How long it is left alone; doubled while it stays away."""
    longest_pause_seconds: float = 30.0
    trial_seconds: float = 3.0
    """How long the one small request may take that ends a pause."""

    def __post_init__(self) -> None:
        if min(self.tries, self.failures) < 1:
            raise ValueError(f"tries={self.tries}, failures={self.failures}: both must be at least 1")

    def limit_seconds(self, size_bytes: int) -> float:
        """Return how long a request with so large a body may take, whatever it waits for."""
        return self.connect_seconds + self.silence_seconds + size_bytes / self.slowest_bytes_per_second

    def wait_seconds(self, tried: int) -> float:
        """Return how long to wait after so many tries."""
        return _RANDOM.uniform(0, self.first_wait_seconds * 4 ** (tried - 1))


class Breaker:
    """Remembers whether a server answers. Asked and told by one thread.

    A server that hangs would cost every request its whole limit. After a pause one small request tries it, and only
    when that is answered do the others go out again.
    """

    def __init__(self, patience: Patience, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience, self._clock = patience, clock
        self._failures = 0
        self._until: float | None = None
        self._pause = patience.pause_seconds
        self._reason = ""
        self._is_tried = False

    async def admit(self, trial: Callable[[], Awaitable[object]]) -> None:
        """Let a request through, or refuse it at once because the server is left alone.

        Raises:
            EndpointAway: It is, and why.
        """
        if self._until is None:
            return
        left = self._until - self._clock()
        if left > 0 or self._is_tried:
            raise EndpointAway(f"left alone for {max(left, 0):.1f} s more after {self._reason}")
        self._is_tried = True
        try:
            await trial()
        except Exception as error:
            self._pause = min(2 * self._pause, self._patience.longest_pause_seconds)
            self._until = self._clock() + self._pause
            raise EndpointAway(f"still away, left alone for {self._pause:.1f} s after {self._reason}") from error
        finally:
            self._is_tried = False
        self.succeeded()

    def succeeded(self) -> None:
        """Note that the server answered, whatever it said."""
        self._failures, self._until, self._pause = 0, None, self._patience.pause_seconds

    def failed(self, reason: str, *, silent: bool) -> None:
        """Note that a request got no answer.

        Args:
            reason: What went wrong, for those who are refused from now on.
            silent: Whether it waited until its limit.
        """
        self._failures = self._patience.failures if silent else self._failures + 1
        if self._failures >= self._patience.failures and self._until is None:
            self._until, self._reason = self._clock() + self._pause, reason
