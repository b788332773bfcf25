# SPDX-License-Identifier: Apache-2.0
"""How much of control's one event loop the twin may take, whoever asks and however many they are.

gRPC's levers run on the same loop. So what comes in here is paced *before* it costs anything: a flood
waits in the kernel's queues and in its own connections, and the loop stays free.

Laws:

1. ``Pace`` lets so many things a second through, in all and per address; what is too many waits
   and is not answered, for an answer costs as much as the thing itself.
2. ``Slots`` bounds what is being answered at the same time, in all and per caller; too many is refused.
   Some slots are kept for methods that change something, called by whoever may: watching cannot
   crowd out containing.
3. What is remembered about addresses is bounded.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from sidecar.jsonapi.errors import ApiError

__all__ = ["Pace", "Slots"]

_MAX_REMEMBERED: Final = 4096


@dataclass(slots=True)
class _Bucket:
    """Tokens that fill up with time; debt is allowed, and is what one waits for."""

    level: float
    at_s: float

    def take(self, now_s: float, rate: float, burst: float) -> float:
        """Take one token; return how long to wait until it is there."""
        self.level = min(burst, self.level + (now_s - self.at_s) * rate) - 1
        self.at_s = now_s
        return max(0.0, -self.level / rate)


class Pace:
    """Law 1.

    Args:
        rate: Things a second, in all.
        burst: How many may come at once after a quiet time.
        address_rate: Things a second of one address.
        address_burst: How many of one address may come at once.
        clock_s: Monotonic seconds; the running loop's unless given.
    """

    def __init__(
        self,
        *,
        rate: float,
        burst: float,
        address_rate: float,
        address_burst: float,
        clock_s: Callable[[], float] | None = None,
    ) -> None:
        self._rate, self._burst = rate, burst
        self._address_rate, self._address_burst = address_rate, address_burst
        self._clock_s = clock_s or (lambda: asyncio.get_running_loop().time())
        self._all = _Bucket(burst, 0.0)
        self._by_address: OrderedDict[str, _Bucket] = OrderedDict()

    def delay_s(self, address: str) -> float:
        """Count one thing of *address*, and return how long it has to wait for its own turn."""
        now_s = self._clock_s()
        bucket = self._by_address.pop(address, None) or _Bucket(self._address_burst, now_s)
        self._by_address[address] = bucket
        if len(self._by_address) > _MAX_REMEMBERED:
            self._by_address.popitem(last=False)
        return bucket.take(now_s, self._address_rate, self._address_burst)

    def common_delay_s(self) -> float:
        """Count one thing, whosever it is, and return how long it has to wait."""
        return self._all.take(self._clock_s(), self._rate, self._burst)

    async def wait(self, address: str) -> None:
        """Return when one more thing of *address* may cost something.

        What waits for its own turn does not stand in anybody else's way.
        """
        if (own_s := self.delay_s(address)) > 0:
            await asyncio.sleep(own_s)
        if (common_s := self.common_delay_s()) > 0:
            await asyncio.sleep(common_s)


class Slots:
    """Law 2.

    Args:
        total: How many requests may be answered at the same time.
        kept: How many of these are only for methods that change something.
        per_caller: How many of one caller.
    """

    def __init__(self, *, total: int, kept: int, per_caller: int) -> None:
        self._total, self._kept, self._per_caller = total, kept, per_caller
        self._taken = 0
        self._by_caller: dict[str, int] = {}

    @contextmanager
    def one(self, caller: str, *, is_lever: bool) -> Iterator[None]:
        """Hold one slot while the block runs.

        Raises:
            ApiError: There is none.
        """
        limit = self._total if is_lever else self._total - self._kept
        own = self._by_caller.get(caller, 0)
        if self._taken >= limit or own >= self._per_caller:
            raise ApiError(
                code="resource_exhausted",
                message="too many requests are being answered",
                hint="ask again a second later, and fewer at once",
                headers=(("Retry-After", "1"),),
            )
        self._taken += 1
        self._by_caller[caller] = own + 1
        try:
            yield
        finally:
            self._taken -= 1
            left = self._by_caller[caller] - 1
            if left:
                self._by_caller[caller] = left
            else:
                del self._by_caller[caller]
