# SPDX-License-Identifier: Apache-2.0
"""The gate's view of the world: what the latch says, joined with what control has sent.

Laws:
1. The gate acts under an epoch only when it has applied every event up to it. It notices a new one
   by comparing two words of the mapped latch, at every call, and applies it there and then: a kill
   needs no message.
2. It is not ready, and denies, until it has had one full set of revocations and the bundle that the
   latch names. Nothing is remembered from an earlier life.
3. A latch that is sealed, torn, replaced or of an unknown format denies everything, and says so.
4. Control's heartbeat must be younger than ``max_staleness``; the age is taken from a clock that
   counts suspend.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from sidecar.authorize.world import PolicyInForce, World
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.containment.events import TokensRevoked, decode_event
from sidecar.containment.machine import ContainmentState
from sidecar.errors import IntegrityError
from sidecar.gate.policies import MAX_STAGED
from sidecar.latch.reader import JournalPosition, LatchReader, LatchState
from sidecar.model import Level, Reason, ReasonCode
from sidecar.tokens.revocations import RevocationRule, RevocationSet

__all__ = ["GateState"]

_NOT_READY: Final = Reason(
    ReasonCode.NOT_READY, "the gate has not yet had the revocations and the policy from control"
)
log = structlog.get_logger("holdfast.gate")


class GateState:
    """Implements ``WorldSource`` over a mapped latch."""

    def __init__(
        self,
        *,
        latch: LatchReader,
        clock: Clock,
        max_staleness_s: float,
        changed: Callable[[World], None],
    ) -> None:
        self._latch = latch
        self._clock = clock
        self._max_staleness_ns = round(max_staleness_s * NS_PER_SECOND)
        self._max_staleness_s = max_staleness_s
        self._changed = changed
        self._containment = ContainmentState.empty()
        self._revocations = RevocationSet.empty()
        self._has_revocations = False
        self._staged: OrderedDict[str, PolicyInForce] = OrderedDict()
        self._position: JournalPosition | None = None
        self._failure: Reason | None = None
        self._world = World(
            epoch=0,
            containment=self._containment,
            revocations=self._revocations,
            policy=None,
            blocker=_NOT_READY,
        )
        self._refresh()

    # -- WorldSource --------------------------------------------------------------------------

    def current(self) -> World:
        """Return the world as of now (law 1)."""
        if not self._latch.is_current():
            self._refresh()
        return self._world

    @property
    def latest(self) -> World:
        """The world as it was last applied, for observers: to look must not apply anything.

        Whoever scrapes metrics does so from another thread, and the state belongs to the event loop.
        """
        return self._world

    def is_current(self, world: World) -> bool:
        """Return whether *world* is still the newest."""
        if not self._latch.is_current():
            self._refresh()
        return self._world is world

    def staleness(self) -> Reason | None:
        """Return why control's last heartbeat is too old, or None (law 4)."""
        age = self._latch.heartbeat_age_ns(self._clock.boot_ns())
        if age <= self._max_staleness_ns:
            return None
        return Reason(
            ReasonCode.STALE,
            f"control has not been heard for more than {self._max_staleness_s:g} s",
        )

    # -- what control sends -------------------------------------------------------------------

    def take_revocations(self, rules: Sequence[RevocationRule]) -> None:
        """Take the full set of standing revocations, beside those the journal has brought."""
        self._revocations = self._revocations.with_rules(rules)
        self._has_revocations = True
        self._swap()

    def stage_policy(self, policy: PolicyInForce) -> None:
        """Keep *policy* ready; it decides as soon as the latch names it, or at once if it does."""
        digest = policy.bundle.digest
        self._staged[digest] = policy
        self._staged.move_to_end(digest)
        while len(self._staged) > MAX_STAGED:
            in_force = self._containment.policy_digest
            del self._staged[next(key for key in self._staged if key != in_force)]
        self._swap()

    def policy(self, digest: str) -> PolicyInForce | None:
        """Return the staged policy of *digest*, if it is there."""
        return self._staged.get(digest)

    def check_latch(self) -> None:
        """Notice a latch file that was deleted or replaced under us (law 3)."""
        if not self._latch.check_identity():
            self._refresh()

    # -- applying -----------------------------------------------------------------------------

    def _refresh(self) -> None:
        state = self._latch.read_since(self._position)
        if state.is_sealed:
            self._seal(state)
            return
        containment = ContainmentState.empty() if state.is_rebased else self._containment
        try:
            events = [decode_event(record) for record in state.records]
            containment = containment.apply_all(events)
        except IntegrityError as exc:
            self._seal(replace(state, seal_reason=exc.message, is_doubtful=True))
            return
        rules = [event.rule for event in events if isinstance(event, TokensRevoked)]
        if rules:
            self._revocations = self._revocations.with_rules(rules)
        failure = _global_hold(state)
        is_changed = (
            bool(state.records)
            or state.is_rebased
            or failure != self._failure
            or state.epoch != self._world.epoch
        )
        self._containment = containment
        self._position, self._failure = state.position, failure
        if is_changed:
            self._swap(epoch=state.epoch)
        self._latch.mark_applied(state)

    def _seal(self, state: LatchState) -> None:
        reason = Reason(
            ReasonCode.LATCH_UNREADABLE, f"the latch denies everything: {state.seal_reason}"
        )
        if reason != self._failure:
            log.error("latch sealed: every call is denied", problem=state.seal_reason)
            self._failure, self._position = reason, None
            self._swap(epoch=max(state.epoch, self._world.epoch))
        self._latch.mark_applied(state)

    def _swap(self, *, epoch: int | None = None) -> None:
        policy = self._staged.get(self._containment.policy_digest)
        earlier = self._world.policy
        if policy is not None and earlier is not None and policy is not earlier:
            # Charges made since the new policy was built count under it too.
            policy.limiter.inherit(earlier.limiter, boot_ns=self._clock.boot_ns())
        blocker = self._failure
        if blocker is None and (policy is None or not self._has_revocations):
            blocker = _NOT_READY
        self._world = World(
            epoch=self._world.epoch if epoch is None else epoch,
            containment=self._containment,
            revocations=self._revocations,
            policy=policy,
            blocker=blocker,
        )
        self._changed(self._world)


def _global_hold(state: LatchState) -> Reason | None:
    """Return what the slot alone says, which stands even if the journal had no room for why."""
    if state.global_level >= Level.KILL:
        return Reason(ReasonCode.KILLED, "every agent of this host is killed")
    if state.global_level >= Level.FREEZE:
        return Reason(ReasonCode.FROZEN, "every agent of this host is frozen")
    return None
