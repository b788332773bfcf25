# SPDX-License-Identifier: Apache-2.0
"""What a channel is: one way to reach people, and how it can fail.

A channel says *how* it failed, because what follows differs: a server that does not answer may answer
soon, one that refuses us needs a person, one that is busy says when to come back, and a message that
is not accepted will not be accepted the second time either.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.notify.notice import Notice, NoticeKind

__all__ = ["EVERYTHING", "Channel", "ChannelHealth", "DeliveryError", "Fault", "Route", "Routed"]


class Fault(StrEnum):
    """How a delivery failed."""

    UNREACHABLE = "unreachable"
    """There was no way to the other side: tried again, the channel is down."""
    BROKEN = "broken"
    """The other side was there and did not take it (an error of its own, no answer in time): tried
    again, the channel is down, and that it can be connected to disproves nothing."""
    REFUSED = "refused"
    """The other side takes nothing from us (token, address, permission): like ``BROKEN``, but only a
    person can repair it."""
    BUSY = "busy"
    """Asked to come back later: tried again then, the channel is not down."""
    REJECTED = "rejected"
    """This message is not accepted, others may be: not tried again."""


class DeliveryError(EnvironmentFailure):
    """A message did not arrive.

    Args:
        message: What happened, in words of ours: it is logged and shown, so it holds neither an
            address nor anything the other side wrote freely.
        fault: How it failed.
        retry_after_s: When the other side wants to be asked again, if it said so.
        hint: What to do about it.
    """

    default_reason = ErrorReason.NO_CHANNEL

    def __init__(
        self, message: str, *, fault: Fault, retry_after_s: float = 0.0, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.fault = fault
        self.retry_after_s = retry_after_s


class Channel(Protocol):
    """One configured way to reach people. Any coroutine of it may be cancelled."""

    @property
    def name(self) -> str:
        """What the configuration calls it; goes into logs and metrics."""

    @property
    def kind(self) -> str:
        """``webhook``, ``smtp``, ``slack`` or ``teams``."""

    @property
    def timeout_s(self) -> float:
        """How long one attempt may take."""

    async def send(self, notice: Notice, handle: str | None) -> str:
        """Deliver *notice* and return a handle to what stands there now; empty if there is none.

        Args:
            notice: What to tell.
            handle: What the last delivery about the same approval gave, or None if this is the
                first. With it a channel that can changes its message in place.

        Raises:
            DeliveryError: It did not arrive, as far as we know.
        """

    async def probe(self) -> None:
        """Find out whether the channel could deliver, without bothering anybody.

        Raises:
            DeliveryError: It could not.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """What a channel is told. ``tiers`` None means every tier; a notice about none has no tier.

    A channel that is not told of openings hears an outcome only of what it was told of otherwise.
    """

    events: frozenset[NoticeKind] = frozenset(NoticeKind)
    tiers: frozenset[str] | None = None

    def carries(self, notice: Notice) -> bool:
        """Return whether a channel with this route takes *notice*."""
        return notice.kind in self.events and self.takes_tier(notice.tier)

    def takes_tier(self, tier: str) -> bool:
        """Return whether *tier* passes; an empty one always does."""
        return not tier or self.tiers is None or tier in self.tiers

    def announces(self, tier: str) -> bool:
        """Return whether requests of *tier* are announced here; of any tier, if it is empty."""
        return NoticeKind.OPENED in self.events and self.takes_tier(tier)


EVERYTHING: Final = Route()
"""The route of a channel that says nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A channel and what it is told."""

    channel: Channel
    route: Route = EVERYTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelHealth:
    """How a channel does, for metrics and doctor. ``is_up`` is None while nothing was tried."""

    name: str
    kind: str
    is_up: bool | None
    last_success_ns: int
    last_error: str
    queued: int
    sent: int
    failed: int
    dropped: int
    superseded: int
