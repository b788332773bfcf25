# SPDX-License-Identifier: Apache-2.0
"""The state of the world one decision is made under.

A ``World`` is immutable and swapped whole. A call takes one and keeps it to the end, so a reload can
never mix an old rule with a new one; just before the answer the pipeline asks whether that world is
still the current one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sidecar.arguments import FormatRules
from sidecar.authorize.limits import Limiter
from sidecar.containment.machine import ContainmentState
from sidecar.model import Reason
from sidecar.policy.bundle import Bundle
from sidecar.policy.engine import PolicyEngine
from sidecar.tokens.revocations import RevocationSet
from sidecar.tokens.validator import TokenValidator

__all__ = ["PolicyInForce", "World", "WorldSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyInForce:
    """Everything that is built from one bundle; swapped together with it."""

    bundle: Bundle
    engine: PolicyEngine
    limiter: Limiter
    validator: TokenValidator
    formats: Mapping[str, FormatRules]
    """By tool, for those alone whose arguments name files or programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One epoch's containment, revocations and policy.

    ``blocker`` is set while the gate must deny everything whatever the call: the latch is sealed or
    unreadable, or the first full snapshot has not arrived.
    """

    epoch: int
    containment: ContainmentState
    revocations: RevocationSet
    policy: PolicyInForce | None
    blocker: Reason | None


class WorldSource(Protocol):
    """Where the pipeline gets the world from."""

    def current(self) -> World:
        """Return the world as of now, having applied every event the latch shows."""

    def is_current(self, world: World) -> bool:
        """Return whether no event has reached the latch since *world* was made."""

    def staleness(self) -> Reason | None:
        """Return why control's last word is too old to act on, or None."""
