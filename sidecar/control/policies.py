# SPDX-License-Identifier: Apache-2.0
"""The bundle in force at control: read once, read again on order, never half.

A reload is read, checked and tested in a thread; only a bundle that is valid *and* whose own tests
agree replaces the one in force. Operators are read from the same bundle, so taking somebody's role
away is a reload.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sidecar.clock import Clock
from sidecar.errors import ErrorReason, UntrustedInputError
from sidecar.model import Operator
from sidecar.policy.bundle import Bundle, load_bundle
from sidecar.policy.check import run_tests
from sidecar.policy.engine import PolicyEngine

__all__ = ["ControlPolicy", "PolicyState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """One bundle and when it came into force."""

    bundle: Bundle
    engine: PolicyEngine
    activate_time_ns: int
    epoch: int
    operators: Mapping[str, Operator]


class ControlPolicy:
    """Holds the bundle in force; one immutable snapshot per reader."""

    def __init__(self, *, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._state: PolicyState | None = None
        self.reloading = asyncio.Lock()

    @property
    def state(self) -> PolicyState:
        """The bundle in force."""
        assert self._state is not None  # noqa: S101 - activated before anything is served
        return self._state

    def operators(self) -> Mapping[str, Operator]:
        """Return the operators in force, by identity."""
        return self.state.operators

    async def read(self) -> tuple[Bundle, PolicyEngine]:
        """Return what the directory holds now, checked and tested.

        Raises:
            DocumentError: It is not a valid bundle; names every place.
            UntrustedInputError: Its own tests disagree.
        """
        return await asyncio.to_thread(_load, self._path)

    def activate(self, bundle: Bundle, engine: PolicyEngine, *, epoch: int) -> PolicyState:
        """Let *bundle* be the one in force."""
        operators = {
            spec.identity: Operator(
                name=spec.name,
                kind=spec.kind,
                human_id=spec.human_id or "",
                roles=spec.roles,
                identity=spec.identity,
                emails=spec.emails,
                logins=spec.logins,
            )
            for spec in bundle.operators.values()
        }
        self._state = PolicyState(
            bundle=bundle,
            engine=engine,
            activate_time_ns=self._clock.wall_ns(),
            epoch=epoch,
            operators=operators,
        )
        return self._state


def _load(path: Path) -> tuple[Bundle, PolicyEngine]:
    bundle = load_bundle(path)
    engine = PolicyEngine(bundle)
    report = run_tests(bundle)
    if not report.ok:
        raise UntrustedInputError(
            f"{report.failed} of {len(report.results)} of the bundle's own tests disagree, "
            f"first “{report.failures[0].case.name}”",
            reason=ErrorReason.INVALID_BUNDLE,
            hint="run `holdfast policy test` on the bundle; nothing was changed",
        )
    return bundle, engine
