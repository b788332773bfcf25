# SPDX-License-Identifier: Apache-2.0
"""Remembers what the policy said, for as long as it would say the same again.

Laws:

1. The key holds everything the verdict depends on: agent, token, policy digest, epoch and the
   projection of the call that the policies can read. It is a tuple compared part by part, never a
   joined text. A kill, a revocation or a new policy changes the epoch or the digest, and so no
   earlier entry can answer.
2. An entry answers only before its deadline on the boot clock. The deadline is that of whatever the
   verdict rests on (token, lease), cut to ``max_life_ns``; for a denial to ``max_denial_life_ns``,
   so that an agent whose denial was mended does not wait.
3. In memory only, at most ``max_entries``, the least recently used leaves first.
4. A verdict is a frozen dataclass: what was put is what is got.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import is_dataclass
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from cachetools import LRUCache

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.model import Effect

__all__ = ["CacheKey", "CachedVerdict", "DecisionCache", "cache_key"]

CacheKey: TypeAlias = tuple[Hashable, ...]

_MAX_LIFE_NS: Final = 30 * NS_PER_SECOND
_MAX_DENIAL_LIFE_NS: Final = NS_PER_SECOND


class CachedVerdict(Protocol):
    """What the cache needs to know of a verdict."""

    @property
    def effect(self) -> Effect: ...


V = TypeVar("V", bound=CachedVerdict)


def cache_key(
    *, agent: str, token: Hashable, policy_digest: str, epoch: int, projection: Hashable
) -> CacheKey:
    """Return the key of a verdict (law 1).

    Args:
        agent: Who asks.
        token: ``VerifiedToken.identity``, or ``""`` where the tool asks for none.
        policy_digest: Digest of the bundle that decides.
        epoch: Epoch of the world that the verdict is made under.
        projection: What of the call the policies of its action can read.
    """
    return (agent, token, policy_digest, epoch, projection)


class DecisionCache(Generic[V]):
    """A bounded memory of verdicts.

    Args:
        max_entries: How many verdicts are kept.
        clock: Its boot time starts an entry's life.
        max_life_ns: Longest life of any entry.
        max_denial_life_ns: Longest life of a denial.
    """

    def __init__(
        self,
        *,
        max_entries: int,
        clock: Clock,
        max_life_ns: int = _MAX_LIFE_NS,
        max_denial_life_ns: int = _MAX_DENIAL_LIFE_NS,
    ) -> None:
        if max_entries < 1:
            raise ValueError("max_entries is at least 1")
        self._clock = clock
        self._max_life_ns = max_life_ns
        self._max_denial_life_ns = min(max_denial_life_ns, max_life_ns)
        self._entries: LRUCache[CacheKey, tuple[V, int]] = LRUCache(maxsize=max_entries)  # law 3
        self.hits = 0
        self.misses = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: CacheKey, now_boot_ns: int) -> V | None:
        """Return the verdict under *key* if it still counts at *now_boot_ns*."""
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            return None
        if now_boot_ns >= entry[1]:  # law 2
            del self._entries[key]
            self.misses += 1
            return None
        self.hits += 1
        return entry[0]

    def put(self, key: CacheKey, verdict: V, deadline_boot_ns: int) -> None:
        """Remember *verdict* under *key* until *deadline_boot_ns* at the latest.

        Raises:
            ValueError: The verdict is not frozen (law 4).
        """
        if not _is_frozen(verdict):
            raise ValueError("only frozen verdicts can be cached")
        is_denial = verdict.effect is Effect.DENY
        life_ns = self._max_denial_life_ns if is_denial else self._max_life_ns
        now_boot_ns = self._clock.boot_ns()
        deadline_boot_ns = min(deadline_boot_ns, now_boot_ns + life_ns)
        if deadline_boot_ns <= now_boot_ns:
            self._entries.pop(key, None)
            return
        self._entries[key] = (verdict, deadline_boot_ns)

    def clear(self) -> None:
        """Forget everything; the counters go on."""
        self._entries.clear()


def _is_frozen(verdict: object) -> bool:
    parameters = getattr(type(verdict), "__dataclass_params__", None)
    return is_dataclass(verdict) and bool(getattr(parameters, "frozen", False))
