# SPDX-License-Identifier: Apache-2.0
"""From host names to addresses, without ever waiting too long.

Laws:

1. Every answer comes before the deadline, or is a ``ResolutionError``; no answer is no address.
2. ``getaddrinfo`` cannot be cancelled: a look-up that missed its deadline still holds its thread.
   So look-ups have threads of their own, and once all of them are busy the next name is refused at
   once instead of queueing behind a dead name server.
3. Everybody who asks for a name while it is being looked up shares that one look-up.
4. Good answers are kept for a few seconds in a bounded table; failures never. A kept answer is as
   safe as a fresh one, because the addresses are pinned either way.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.destination.rules import MAX_ADDRESSES
from sidecar.errors import EnvironmentFailure, ErrorReason

__all__ = ["ResolutionError", "Resolver", "SystemResolver", "system_lookup"]

Lookup = Callable[[str], Sequence[str]]

_DEFAULT_TIMEOUT_S: Final = 2.0
_DEFAULT_TTL_S: Final = 5.0


class ResolutionError(EnvironmentFailure):
    """A name has no usable address now; the call is denied with DESTINATION_ADDRESS."""

    default_reason = ErrorReason.DEADLINE


class Resolver(Protocol):
    """Turns a host name (never an address literal) into addresses."""

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of *host*; raises ``ResolutionError`` if there is no answer."""


class SystemResolver:
    """The host's own resolver (``getaddrinfo``), with a deadline and a short memory.

    Args:
        clock: Ages the kept answers.
        timeout_s: Longest wait for one answer.
        ttl_s: How long a good answer is kept.
        max_entries: Answers kept at most.
        max_in_flight: Look-ups at a time, and so threads.
        lookup: Replaces ``getaddrinfo`` in tests; runs in a thread.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        timeout_s: float = _DEFAULT_TIMEOUT_S,
        ttl_s: float = _DEFAULT_TTL_S,
        max_entries: int = 1024,
        max_in_flight: int = 8,
        lookup: Lookup | None = None,
    ) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._ttl_ns = round(ttl_s * NS_PER_SECOND)
        self._max_entries = max_entries
        self._max_in_flight = max_in_flight
        self._lookup = lookup or system_lookup
        self._threads = ThreadPoolExecutor(max_in_flight, thread_name_prefix="holdfast-dns")
        self._is_closed = False
        self._in_flight: dict[str, asyncio.Future[tuple[str, ...]]] = {}
        self._kept: OrderedDict[str, tuple[int, tuple[str, ...]]] = OrderedDict()

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of *host*, at most 16.

        Raises:
            ResolutionError: No such name, no answer in time, too many addresses or look-ups.
        """
        kept = self._kept.get(host)
        if kept is not None:
            if self._clock.boot_ns() < kept[0]:
                self._kept.move_to_end(host)
                return kept[1]
            del self._kept[host]
        future = self._in_flight.get(host) or self._start(host)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await asyncio.shield(future)
        except TimeoutError as exc:
            raise ResolutionError(f"no address for the host within {self._timeout_s} s") from exc

    def close(self) -> None:
        """Start no more look-ups; those that hang are left to the operating system."""
        self._is_closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, host: str) -> asyncio.Future[tuple[str, ...]]:
        if self._is_closed:
            raise ResolutionError("the resolver is closed")
        if len(self._in_flight) >= self._max_in_flight:
            raise ResolutionError("too many hosts are being looked up", hint="try again")
        loop = asyncio.get_running_loop()
        future = asyncio.ensure_future(loop.run_in_executor(self._threads, self._answer, host))
        self._in_flight[host] = future
        future.add_done_callback(lambda done: self._finish(host, done))
        return future

    def _finish(self, host: str, done: asyncio.Future[tuple[str, ...]]) -> None:
        del self._in_flight[host]
        # Asking for the exception also marks it as seen if nobody waits any more.
        if done.cancelled() or done.exception() is not None:
            return
        self._kept[host] = (self._clock.boot_ns() + self._ttl_ns, done.result())
        while len(self._kept) > self._max_entries:
            self._kept.popitem(last=False)

    def _answer(self, host: str) -> tuple[str, ...]:
        """Runs in a thread; touches nothing but its argument."""
        try:
            addresses = tuple(dict.fromkeys(self._lookup(host)))
        except (OSError, UnicodeError) as exc:
            raise ResolutionError("the host has no address", reason=ErrorReason.NOT_FOUND) from exc
        if not addresses:
            raise ResolutionError("the host has no address", reason=ErrorReason.NOT_FOUND)
        if len(addresses) > MAX_ADDRESSES:
            raise ResolutionError(f"the host has more than {MAX_ADDRESSES} addresses")
        return addresses


def system_lookup(host: str) -> list[str]:
    """Return the stream addresses of *host* from ``getaddrinfo``; raises ``OSError``."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for _, _, _, _, sockaddr in answers]
