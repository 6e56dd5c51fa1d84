"""Load on one server, from a process of its own: `serve_load URL BODIES CONNECTIONS SECONDS RATE`.

RATE 0 is a closed loop: each connection asks again when it is answered. Above 0 requests are sent at that rate whatever
comes back, and one that is not answered within the deadline counts as lost. BODIES is a file of one request a line.
Prints a JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp

DEADLINE_SECONDS = 1.0
WARM_UP_SECONDS = 0.5


@dataclass
class Counted:
    """What came back, after the warm-up."""

    seconds: list[float] = field(default_factory=list)
    """Of each request that was answered in time."""
    warm_up: int = 0
    """Answered before."""
    refused: int = 0
    lost: int = 0


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes, counted: Counted) -> None:
    begun = time.perf_counter()
    try:
        async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
            await response.read()
            if response.status == 200:
                counted.seconds.append(time.perf_counter() - begun)
            else:
                counted.refused += 1
    except (aiohttp.ClientError, TimeoutError):
        counted.lost += 1


async def _closed(
    session: aiohttp.ClientSession, url: str, bodies: Sequence[bytes], connections: int, seconds: float
) -> Counted:
    warm, counted = Counted(), Counted()
    begun = time.perf_counter()
    source = cycle(bodies)

    async def caller() -> None:
        while (passed := time.perf_counter() - begun) < seconds + WARM_UP_SECONDS:
            await _ask(session, url, next(source), counted if passed > WARM_UP_SECONDS else warm)

    await asyncio.gather(*(caller() for _ in range(connections)))
    counted.warm_up = len(warm.seconds)
    return counted


async def _open(
    session: aiohttp.ClientSession, url: str, bodies: Sequence[bytes], rate: float, seconds: float
) -> Counted:
    counted, asked = Counted(), list[asyncio.Task[None]]()
    begun = time.perf_counter()
    for number, body in zip(range(int(rate * seconds)), cycle(bodies), strict=False):
        pause = begun + number / rate - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        asked.append(asyncio.create_task(_ask(session, url, body, counted)))
    await asyncio.gather(*asked)
    return counted


async def run(url: str, bodies: Sequence[bytes], connections: int, seconds: float, rate: float) -> dict[str, Any]:
    """Return rate, latencies and what was not answered."""
    timeout = aiohttp.ClientTimeout(total=DEADLINE_SECONDS if rate else 60)
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        if rate:
            counted = await _open(session, url, bodies, rate, seconds)
        else:
            counted = await _closed(session, url, bodies, connections, seconds)
    ordered = sorted(counted.seconds) or [float("inf")]
    return {
        "answered": len(counted.seconds) + counted.warm_up,
        "rate": round(len(counted.seconds) / seconds, 1),
        "p50_ms": round(ordered[len(ordered) // 2] * 1e3, 2),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 2),
        "refused": counted.refused,
        "lost": counted.lost,
    }


if __name__ == "__main__":
    _url, _bodies, _connections, _seconds, _rate = sys.argv[1:]
    _lines = Path(_bodies).read_bytes().splitlines()
    print(json.dumps(asyncio.run(run(_url, _lines, int(_connections), float(_seconds), float(_rate)))))
