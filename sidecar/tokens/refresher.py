# SPDX-License-Identifier: Apache-2.0
"""Keeps the key ring fresh: reads every issuer's keys again and again.

Laws:

1. When keys are read is decided by time alone. Nothing that arrives in a token makes us fetch, so
   a flood of unknown key ids costs the issuer nothing.
2. Every fetch has a deadline. A failed one leaves the ring as it is and is tried again, sooner
   than a good one and with growing pauses.
3. Pauses are jittered, so gates that started together do not ask together.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from sidecar.clock import Clock
from sidecar.errors import EnvironmentFailure, UntrustedInputError
from sidecar.tokens.keys import KeyFetcher, KeyRing

__all__ = ["KeyRefresher"]

_log = structlog.get_logger(__name__)

_JITTER: Final = 0.2
_READINGS_PER_AGE: Final = 3
_FIRST_RETRY_S: Final = 1.0
_MAX_DOUBLINGS: Final = 16
_uniform = random.SystemRandom().uniform


class KeyRefresher:
    """Reads the keys of every issuer into *ring*.

    Args:
        ring: What to keep fresh.
        fetchers: One place per issuer name.
        clock: The age of a set starts when its reading began.
        interval_s: Longest pause after a good reading. An issuer whose keys may not grow that old
            is read three times in their ``max_key_age``, so that two readings may fail.
        deadline_s: Longest time of one reading.
        sleep: How to wait; a test passes its own.
        uniform: Where jitter comes from.
    """

    def __init__(
        self,
        *,
        ring: KeyRing,
        fetchers: Mapping[str, KeyFetcher],
        clock: Clock,
        interval_s: float = 300.0,
        deadline_s: float = 15.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> None:
        if interval_s <= 0 or deadline_s <= 0:
            raise ValueError("interval_s and deadline_s are positive")
        self._ring = ring
        self._fetchers = dict(fetchers)
        self._clock = clock
        self._interval_s = interval_s
        self._deadline_s = deadline_s
        self._sleep = sleep
        self._uniform = uniform

    async def run(self) -> None:
        """Refresh every issuer's keys until cancelled."""
        async with asyncio.TaskGroup() as group:
            for issuer_name in self._fetchers:
                group.create_task(self._keep_fresh(issuer_name))

    async def refresh_all(self) -> bool:
        """Read every issuer's keys once, together; return whether all readings were good."""
        results = await asyncio.gather(*(self.refresh(name) for name in self._fetchers))
        return all(results)

    async def refresh(self, issuer_name: str) -> bool:
        """Read the keys of *issuer_name* once; return whether that gave a good set."""
        began_boot_ns = self._clock.boot_ns()
        try:
            async with asyncio.timeout(self._deadline_s):
                key_set = await self._fetchers[issuer_name].fetch()
        except (UntrustedInputError, EnvironmentFailure) as exc:
            return self._failed(issuer_name, exc.message)
        except TimeoutError:
            return self._failed(issuer_name, f"no answer in {self._deadline_s:g} s")
        if self._ring.put(issuer_name, key_set, as_of_boot_ns=began_boot_ns):
            _log.info("issuer keys changed", issuer=issuer_name, key_count=len(key_set.keys))
        return True

    async def _keep_fresh(self, issuer_name: str) -> None:
        failures = 0
        while True:
            is_good = await self.refresh(issuer_name)
            failures = 0 if is_good else failures + 1
            await self._sleep(self._pause_s(issuer_name, failures))

    def _pause_s(self, issuer_name: str, failures: int) -> float:
        pause_s = min(self._interval_s, self._ring.max_age_s(issuer_name) / _READINGS_PER_AGE)
        if failures:  # law 2
            doublings = min(failures - 1, _MAX_DOUBLINGS)
            pause_s = min(pause_s, _FIRST_RETRY_S * 2.0**doublings)
        return pause_s * self._uniform(1 - _JITTER, 1 + _JITTER)  # law 3

    def _failed(self, issuer_name: str, text: str) -> bool:
        self._ring.note_failure(issuer_name, text)
        _log.warning("issuer keys refresh failed", issuer=issuer_name, cause=text)
        return False
