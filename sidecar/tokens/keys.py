# SPDX-License-Identifier: Apache-2.0
"""Which keys of an issuer count right now.

Laws:

1. Before the first good set was read, an issuer has no keys: every token of it is denied.
2. A failed refresh changes nothing: the last good set stays, and its age keeps growing.
3. A set older than the issuer's ``max_key_age`` counts no more. Age runs on the boot clock, from
   the moment the reading *began*, so neither a wall clock nor a slow answer can make keys younger.
4. Reading the same set again renews its age but is the same ``KeySet`` object; another set is
   another object. Whatever was verified with a set is valid only for that very object.
5. Keys of one issuer are never looked up for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.model import ReasonCode
from sidecar.tokens.claims import Rejection
from sidecar.tokens.issuers import IssuerSpec
from sidecar.tokens.jwks import KeySet

__all__ = ["KeyFetcher", "KeyRing", "KeySource", "KeyState", "KeyStatus"]


class KeySource(Protocol):
    """Where the validator takes an issuer's keys from."""

    def current(self, issuer_name: str) -> KeySet | Rejection:
        """Return the keys that count now, or why there are none."""


class KeyFetcher(Protocol):
    """A place where an issuer publishes its keys."""

    async def fetch(self) -> KeySet:
        """Return the set published now.

        Raises:
            UntrustedInputError: What is published is no acceptable key set.
            EnvironmentFailure: It could not be read.
        """


class KeyState(StrEnum):
    """How an issuer's keys stand."""

    NOT_READY = "NOT_READY"
    FRESH = "FRESH"
    STALE = "STALE"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """One issuer's keys, for health and for ``doctor``."""

    issuer_name: str
    state: KeyState
    age_s: float | None
    key_count: int
    failures: int
    last_failure: str


@dataclass(frozen=True, slots=True)
class _Held:
    key_set: KeySet
    as_of_boot_ns: int


class KeyRing:
    """The last good key set of every configured issuer.

    Args:
        issuers: The configured issuers by name.
        clock: Its boot time decides what is stale.
    """

    def __init__(self, *, issuers: Mapping[str, IssuerSpec], clock: Clock) -> None:
        self._max_age_ns = {
            name: spec.max_key_age_s * NS_PER_SECOND for name, spec in issuers.items()
        }
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._failures: dict[str, tuple[int, str]] = {}
        self._not_ready = {
            name: Rejection(
                code=ReasonCode.NOT_READY, text=f"the keys of issuer {name} are not loaded yet"
            )
            for name in issuers
        }

    def put(self, issuer_name: str, key_set: KeySet, *, as_of_boot_ns: int) -> bool:
        """Hold *key_set* as what the issuer published at *as_of_boot_ns*; return if it changed.

        Raises:
            ValueError: No such issuer is configured.
        """
        if issuer_name not in self._max_age_ns:
            raise ValueError(f"issuer {issuer_name} is not configured")
        as_of_boot_ns = min(as_of_boot_ns, self._clock.boot_ns())  # law 3: never from the future
        held = self._held.get(issuer_name)
        if held is not None and as_of_boot_ns < held.as_of_boot_ns:
            return False  # an answer that was overtaken by a newer one
        self._failures.pop(issuer_name, None)
        is_same = held is not None and held.key_set.digest == key_set.digest
        kept = held.key_set if held is not None and is_same else key_set  # law 4
        self._held[issuer_name] = _Held(kept, as_of_boot_ns)
        return not is_same

    def max_age_s(self, issuer_name: str) -> float:
        """Return for how long one reading of the issuer's keys counts."""
        return self._max_age_ns[issuer_name] / NS_PER_SECOND

    def note_failure(self, issuer_name: str, text: str) -> None:
        """Remember that a refresh failed (law 2: nothing else changes)."""
        count, _ = self._failures.get(issuer_name, (0, ""))
        self._failures[issuer_name] = (count + 1, text)

    def current(self, issuer_name: str) -> KeySet | Rejection:
        """Return the issuer's keys, or NOT_READY or ISSUER_KEYS_STALE."""
        held = self._held.get(issuer_name)
        if held is None:  # law 1
            return self._not_ready.get(issuer_name) or Rejection(
                code=ReasonCode.NOT_READY, text="the issuer is not configured"
            )
        if self._clock.boot_ns() - held.as_of_boot_ns > self._max_age_ns[issuer_name]:  # law 3
            return Rejection(
                code=ReasonCode.ISSUER_KEYS_STALE,
                text=f"the keys of issuer {issuer_name} are older than allowed",
            )
        return held.key_set

    def status(self) -> tuple[KeyStatus, ...]:
        """Return how every configured issuer stands."""
        return tuple(self._status_of(name) for name in sorted(self._max_age_ns))

    def _status_of(self, name: str) -> KeyStatus:
        held = self._held.get(name)
        failures, last_failure = self._failures.get(name, (0, ""))
        if held is None:
            return KeyStatus(
                issuer_name=name,
                state=KeyState.NOT_READY,
                age_s=None,
                key_count=0,
                failures=failures,
                last_failure=last_failure,
            )
        age_ns = self._clock.boot_ns() - held.as_of_boot_ns
        return KeyStatus(
            issuer_name=name,
            state=KeyState.STALE if age_ns > self._max_age_ns[name] else KeyState.FRESH,
            age_s=age_ns / NS_PER_SECOND,
            key_count=len(held.key_set.keys),
            failures=failures,
            last_failure=last_failure,
        )
