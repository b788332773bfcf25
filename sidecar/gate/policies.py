# SPDX-License-Identifier: Apache-2.0
"""Builds everything that decides from a bundle's files, off the event loop.

Parsing and validating Cedar holds the interpreter for a while, so it runs in a thread; the gate goes
on deciding under the old policy until the new one is whole.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from sidecar.arguments import FormatRules
from sidecar.authorize.limits import Limiter
from sidecar.authorize.world import PolicyInForce
from sidecar.clock import Clock
from sidecar.errors import HoldfastError
from sidecar.policy.bundle import Bundle, load_bundle_from_files
from sidecar.policy.engine import PolicyEngine
from sidecar.policy.issuers import IssuerSpec as BundledIssuer
from sidecar.policy.limits import LimitSpec
from sidecar.tokens.issuers import IssuerSpec
from sidecar.tokens.jwks import KeySet, parse_jwk_set
from sidecar.tokens.jwks_http import JwksHttp
from sidecar.tokens.keys import KeyFetcher, KeyRing
from sidecar.tokens.refresher import KeyRefresher
from sidecar.tokens.validator import TokenValidator

__all__ = ["MAX_STAGED", "PolicyBuilder"]

MAX_STAGED = 3
"""Policies that are kept ready at once: the one in force, and those that may be next."""


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, HoldfastError):
        await task


class _BundledKeys:
    """Keys that came with the bundle: as fresh as the bundle is."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def fetch(self) -> KeySet:
        return parse_jwk_set(self._data)


class PolicyBuilder:
    """Makes a ``PolicyInForce`` and keeps its issuers' keys fresh while it is in force."""

    def __init__(self, *, clock: Clock, restore: Callable[[Limiter], None]) -> None:
        self._clock = clock
        self._restore = restore
        self._previous: PolicyInForce | None = None
        self._refreshing: deque[asyncio.Task[None]] = deque()

    async def build(self, files: Mapping[str, bytes]) -> PolicyInForce:
        """Return what *files* decide.

        Raises:
            DocumentError: They are no valid bundle.
        """
        bundle, engine, formats = await asyncio.to_thread(_load, dict(files))
        issuers = {name: _issuer(spec) for name, spec in bundle.issuers.items()}
        ring = KeyRing(issuers=issuers, clock=self._clock)
        limiter = Limiter([_Limit.of(spec) for spec in bundle.limits])
        if self._previous is not None:
            limiter.inherit(self._previous.limiter, boot_ns=self._clock.boot_ns())
        else:
            self._restore(limiter)
        policy = PolicyInForce(
            bundle=bundle,
            engine=engine,
            limiter=limiter,
            validator=TokenValidator(issuers=issuers, keys=ring, clock=self._clock),
            formats=formats,
        )
        await self._keep_keys(ring, issuers, bundle)
        self._previous = policy
        return policy

    async def _keep_keys(
        self, ring: KeyRing, issuers: Mapping[str, IssuerSpec], bundle: Bundle
    ) -> None:
        refresher = KeyRefresher(
            ring=ring,
            fetchers={name: _fetcher(spec, bundle) for name, spec in issuers.items()},
            clock=self._clock,
        )
        if issuers:
            await refresher.refresh_all()
            self._refreshing.append(asyncio.create_task(refresher.run()))
        while len(self._refreshing) > MAX_STAGED:
            await _end(self._refreshing.popleft())

    async def aclose(self) -> None:
        """Stop refreshing keys."""
        while self._refreshing:
            await _end(self._refreshing.popleft())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """A limit of the bundle in the flat form that the limiter takes."""

    name: str
    agents: frozenset[str] | None
    tools: frozenset[str] | None
    rate_calls: int | None = None
    rate_per_s: int | None = None
    rate_burst: int | None = None
    budget_calls: int | None = None
    budget_argument: str | None = None
    budget_maximum: Decimal | None = None
    budget_per_s: int | None = None

    @classmethod
    def of(cls, spec: LimitSpec) -> _Limit:
        if spec.rate is not None:
            return cls(
                name=spec.name,
                agents=spec.agents,
                tools=spec.tools,
                rate_calls=spec.rate.calls,
                rate_per_s=spec.rate.per_s,
                rate_burst=spec.rate.burst,
            )
        budget = spec.budget
        assert budget is not None  # noqa: S101 - exactly one of the two, checked at load
        is_sum = budget.argument is not None
        return cls(
            name=spec.name,
            agents=spec.agents,
            tools=spec.tools,
            budget_calls=None if is_sum else int(budget.maximum),
            budget_argument=budget.argument,
            budget_maximum=budget.maximum if is_sum else None,
            budget_per_s=budget.per_s,
        )


def _load(files: dict[str, bytes]) -> tuple[Bundle, PolicyEngine, Mapping[str, FormatRules]]:
    bundle = load_bundle_from_files(files)
    rules = {name: FormatRules.of(tool.arguments_schema) for name, tool in bundle.tools.items()}
    formats = MappingProxyType({name: found for name, found in rules.items() if found})
    return bundle, PolicyEngine(bundle), formats


def _issuer(spec: BundledIssuer) -> IssuerSpec:
    return IssuerSpec(
        name=spec.name,
        issuer=spec.issuer,
        audience=spec.audience,
        algorithms=frozenset(spec.algorithms),
        jwks_file=spec.jwks_file,
        jwks_url=spec.jwks_url,
        max_token_life_s=spec.max_token_life_s,
        leeway_s=spec.leeway_s,
        max_key_age_s=spec.max_key_age_s,
    )


def _fetcher(spec: IssuerSpec, bundle: Bundle) -> KeyFetcher:
    if spec.jwks_file is not None:
        return _BundledKeys(bundle.files[spec.jwks_file])
    assert spec.jwks_url is not None  # noqa: S101 - exactly one of the two, checked by the spec
    return JwksHttp(url=spec.jwks_url, issuer_name=spec.name)
