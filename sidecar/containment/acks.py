# SPDX-License-Identifier: Apache-2.0
"""Which gate enforces what, since when.

Laws:

1. A gate enforces a directive once it has acknowledged its epoch or a later one, and as long as it
   has not been started anew since. What a restarted gate applied is what it says, not what it said.
2. A gate that is connected and has not acknowledged is a laggard; one that is not connected is
   DISCONNECTED, and denies by itself once control's heartbeat is stale to it.
3. Acknowledged epochs only grow within one connection.
4. A gate that was ever known is listed until it is forgotten on purpose.
5. Of the acknowledgements only the newest ``MAX_ACKS`` are kept: an older directive is then dated
   by the oldest that is known, never earlier than it was.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

__all__ = ["MAX_ACKS", "AckTracker", "GateItem", "GateStanding"]

MAX_ACKS: Final = 1024


class GateStanding(StrEnum):
    """Where a gate stands with regard to one directive (laws 1 and 2)."""

    ENFORCED = "ENFORCED"
    LAGGARD = "LAGGARD"
    DISCONNECTED = "DISCONNECTED"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateItem:
    """One gate in a receipt. Times are wall nanoseconds; None where there is nothing to tell."""

    gate: str
    standing: GateStanding
    applied_epoch: int
    ack_time_ns: int | None = None
    last_allow_time_ns: int | None = None


@dataclass(frozen=True, slots=True)
class _Ack:
    epoch: int
    wall_ns: int
    last_allow_ns: Mapping[str, int]


@dataclass(slots=True)
class _Gate:
    agents: frozenset[str]
    is_connected: bool = False
    applied_epoch: int = 0
    acks: list[_Ack] = field(default_factory=list)


class AckTracker:
    """What control knows of its gates. Belongs to one event loop."""

    def __init__(self) -> None:
        self._gates: dict[str, _Gate] = {}
        self._waiting: set[tuple[int, asyncio.Future[None]]] = set()

    # -- what gates tell ------------------------------------------------------------------------

    def remember(self, known: Mapping[str, Collection[str]]) -> None:
        """Note gates of earlier runs, which have not connected yet (law 4)."""
        for gate, agents in known.items():
            self._gates.setdefault(gate, _Gate(agents=frozenset(agents)))

    def connect(self, gate: str, *, agents: Collection[str]) -> None:
        """Note that *gate* has connected, and has applied nothing yet (law 1)."""
        known = self._gates.setdefault(gate, _Gate(agents=frozenset(agents)))
        known.agents = frozenset(agents)
        known.is_connected = True
        known.applied_epoch = 0

    def disconnect(self, gate: str) -> None:
        """Note that the connection of *gate* has ended."""
        if gate in self._gates:
            self._gates[gate].is_connected = False
            self._wake()

    def acknowledge(
        self, gate: str, *, epoch: int, last_allow_ns: Mapping[str, int], wall_ns: int
    ) -> None:
        """Note that *gate* enforces *epoch*.

        Args:
            gate: A connected gate; others are not listened to.
            epoch: What it has applied.
            last_allow_ns: The wall time of its last ALLOW, per agent.
            wall_ns: Now.
        """
        known = self._gates.get(gate)
        if known is None or not known.is_connected or epoch < known.applied_epoch:  # law 3
            return
        known.applied_epoch = epoch
        if not known.acks or known.acks[-1].epoch < epoch:
            known.acks.append(_Ack(epoch, wall_ns, dict(last_allow_ns)))
            del known.acks[:-MAX_ACKS]
        self._wake()

    def forget(self, gate: str) -> None:
        """Stop listing *gate*, which was taken out of service (law 4)."""
        self._gates.pop(gate, None)
        self._wake()

    # -- what receipts ask ----------------------------------------------------------------------

    @property
    def gates(self) -> Mapping[str, frozenset[str]]:
        """Every known gate and its agents."""
        return {gate: known.agents for gate, known in self._gates.items()}

    def items(self, epoch: int, *, agents: Collection[str] | None = None) -> tuple[GateItem, ...]:
        """Return where every gate stands with regard to *epoch*.

        Args:
            epoch: Of a directive.
            agents: Whose last ALLOW counts; None for every agent's.
        """
        return tuple(
            self._item(gate, known, epoch, agents) for gate, known in sorted(self._gates.items())
        )

    def laggards(self, epoch: int) -> tuple[str, ...]:
        """Return the gates that do not enforce *epoch* yet, connected or not."""
        return tuple(
            sorted(gate for gate, known in self._gates.items() if known.applied_epoch < epoch)
        )

    async def wait_for(self, epoch: int, *, timeout_s: float) -> bool:
        """Wait until every connected gate enforces *epoch*; return whether they all do in time.

        With no gate connected it waits, too: after a restart of control they are on their way.
        """
        if self._is_enforced(epoch):
            return True
        woken = (epoch, asyncio.get_running_loop().create_future())
        self._waiting.add(woken)
        try:
            async with asyncio.timeout(timeout_s):
                await woken[1]
        except TimeoutError:
            return False
        finally:
            self._waiting.discard(woken)
        return True

    # -- private --------------------------------------------------------------------------------

    def _item(
        self, gate: str, known: _Gate, epoch: int, agents: Collection[str] | None
    ) -> GateItem:
        if known.applied_epoch >= epoch:
            standing = GateStanding.ENFORCED
        elif known.is_connected:
            standing = GateStanding.LAGGARD
        else:
            standing = GateStanding.DISCONNECTED
        at = bisect_left(known.acks, epoch, key=lambda ack: ack.epoch)
        first = known.acks[at] if at < len(known.acks) else None
        return GateItem(
            gate=gate,
            standing=standing,
            applied_epoch=known.applied_epoch,
            ack_time_ns=first.wall_ns if first else None,
            last_allow_time_ns=_latest(first.last_allow_ns, agents) if first else None,
        )

    def _is_enforced(self, epoch: int) -> bool:
        connected = [known for known in self._gates.values() if known.is_connected]
        return bool(connected) and all(known.applied_epoch >= epoch for known in connected)

    def _wake(self) -> None:
        for epoch, future in self._waiting:
            if not future.done() and self._is_enforced(epoch):
                future.set_result(None)


def _latest(last_allow_ns: Mapping[str, int], agents: Collection[str] | None) -> int | None:
    times: Iterable[int] = (
        time for agent, time in last_allow_ns.items() if agents is None or agent in agents
    )
    return max((time for time in times if time > 0), default=None)
