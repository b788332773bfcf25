# SPDX-License-Identifier: Apache-2.0
"""One dossier per directive: what is known of it, its log entry, its runtimes, its receipt.

Laws:

1. Nothing here can stop or delay a containment: each outside party has its own deadline, and its
   failure is a fact in the dossier.
2. What could not be logged is logged later, in order, as long as there is room to remember it; what
   was dropped is counted and makes health red.
3. A receipt is made from the dossier as it is now, and signed anew each time.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sidecar.clock import Clock
from sidecar.containment.acks import AckTracker
from sidecar.containment.answers import AuditPosition, AuditSink, ServiceLimits
from sidecar.containment.events import Contained, Expired, Released, directive_to_json
from sidecar.containment.history import DirectiveEntry, DirectiveState
from sidecar.containment.isolation import IsolationDriver, IsolationItem, IsolationResult
from sidecar.containment.journal import ContainmentJournal
from sidecar.containment.mirror import Mirror
from sidecar.containment.receipt import NO_LOG_INDEX, Receipt, ReceiptSigner, SignedReceipt
from sidecar.containment.rules import FleetAgent, covered_agents
from sidecar.errors import EnvironmentFailure, ErrorReason, HoldfastError

__all__ = ["Dossiers", "ended"]

_MAX_ENDED: Final = 4096
_MAX_UNLOGGED: Final = 10_000
_UNKNOWN_END: Final = "Ended before a restart; the log says by whom."


@dataclass(frozen=True, slots=True)
class _Unlogged:
    kind: str
    body: Mapping[str, Any]
    directive_epoch: int | None


class Dossiers:
    """The dossiers of standing and lately ended directives. Belongs to one event loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        acks: AckTracker,
        signer: ReceiptSigner,
        audit: AuditSink,
        mirror: Mirror,
        drivers: Sequence[IsolationDriver],
        limits: ServiceLimits,
    ) -> None:
        self._clock = clock
        self._acks = acks
        self._signer = signer
        self._audit = audit
        self._mirror = mirror
        self._drivers = tuple(drivers)
        self._limits = limits
        self._entries: dict[int, DirectiveEntry] = {}
        self._ended: OrderedDict[int, None] = OrderedDict()
        self._unlogged: deque[_Unlogged] = deque()
        self._dropped = 0

    # -- entries --------------------------------------------------------------------------------

    def find(self, epoch: int) -> DirectiveEntry | None:
        """Return the dossier of a directive, if it is in memory."""
        return self._entries.get(epoch)

    def all(self) -> tuple[DirectiveEntry, ...]:
        """Return every dossier in memory, newest first."""
        return tuple(entry for _, entry in sorted(self._entries.items(), reverse=True))

    def put(self, entry: DirectiveEntry) -> None:
        """Take *entry* in, in place of what was known of the directive."""
        self._entries[entry.epoch] = entry
        if entry.state is not DirectiveState.ACTIVE:
            self._ended[entry.epoch] = None
            while len(self._ended) > _MAX_ENDED:
                del self._entries[self._ended.popitem(last=False)[0]]
        self._mirror.add(entries=[entry])

    def open(self, contained: Contained, agents: tuple[str, ...]) -> DirectiveEntry:
        """Begin the dossier of a directive that has just been published."""
        entry = DirectiveEntry(contained=contained, agents=agents)
        self.put(entry)
        return entry

    def end(self, event: Released | Expired) -> DirectiveEntry | None:
        """Note in its dossier that a directive has ended."""
        entry = self._entries.get(event.directive_epoch)
        if entry is None:
            return None
        entry = ended(entry, event)
        self.put(entry)
        return entry

    def mark_durable(self, epoch: int) -> None:
        """Note that the directive survives a power cut."""
        entry = self._entries.get(epoch)
        if entry is not None and not entry.is_durable:
            self.put(replace(entry, is_durable=True))

    def reconcile(
        self,
        remembered: Mapping[int, DirectiveEntry],
        *,
        journal: ContainmentJournal,
        fleet: Sequence[FleetAgent],
    ) -> None:
        """Open the dossiers of an earlier run; the journal is the truth about what stands.

        Args:
            remembered: What the history holds to be standing.
            journal: What stands, and the ends that the latch still knows.
            fleet: The agents that are known.
        """
        for epoch, contained in journal.state.contained.items():
            entry = remembered.get(epoch) or DirectiveEntry(
                contained=contained, agents=covered_agents(contained.directive.target, fleet)
            )
            self.put(replace(entry, contained=contained, is_durable=True))
        for event in journal.recovered:
            then = journal.ledger.ended_directive(event.epoch)
            if then is not None and isinstance(event, Released | Expired):
                entry = remembered.get(then.epoch) or DirectiveEntry(
                    contained=then, is_durable=True
                )
                self.put(ended(entry, event))
        for epoch, entry in remembered.items():
            if epoch not in self._entries:
                self.put(replace(entry, state=DirectiveState.RELEASED, release_reason=_UNKNOWN_END))

    # -- the log --------------------------------------------------------------------------------

    @property
    def unlogged(self) -> int:
        """How many entries the log still lacks, those included that were dropped."""
        return len(self._unlogged) + self._dropped

    async def log(
        self, kind: str, body: Mapping[str, Any], *, directive_epoch: int | None = None
    ) -> AuditPosition | None:
        """Log what has happened; None if that failed for now (laws 1 and 2)."""
        try:
            position = await self._append(kind, body)
        except EnvironmentFailure:
            if len(self._unlogged) >= _MAX_UNLOGGED:
                self._unlogged.popleft()
                self._dropped += 1
            self._unlogged.append(_Unlogged(kind, body, directive_epoch))
            return None
        self._note_position(directive_epoch, position)
        return position

    async def require_log(self, kind: str, body: Mapping[str, Any]) -> AuditPosition:
        """Log what is about to happen.

        Raises:
            EnvironmentFailure: AUDIT_UNAVAILABLE; it must not happen then.
        """
        return await self._append(kind, body)

    async def retry_log(self) -> None:
        """Log what could not be logged before, oldest first, until it fails again."""
        while self._unlogged:
            missing = self._unlogged[0]
            try:
                position = await self._append(missing.kind, {**missing.body, "is_late": True})
            except EnvironmentFailure:
                return
            if self._unlogged and self._unlogged[0] is missing:
                self._unlogged.popleft()
            self._note_position(missing.directive_epoch, position)

    # -- runtimes -------------------------------------------------------------------------------

    def pending(self, agents: Collection[str]) -> tuple[IsolationItem, ...]:
        """Return what the drivers would stop."""
        return tuple(item for driver in self._drivers for item in driver.pending(agents))

    async def isolate(self, epoch: int, agents: Collection[str]) -> None:
        """Let every driver stop the runtimes of *agents*, in order; the dossier gets the items."""
        self._set_items(epoch, self.pending(agents))
        for driver in self._drivers:
            if not driver.pending(agents):
                continue
            try:
                items = await driver.isolate(agents)
            except (HoldfastError, OSError, RuntimeError, ValueError) as exc:
                items = [
                    IsolationItem(
                        driver=driver.name,
                        subject=", ".join(sorted(agents)),
                        result=IsolationResult.FAILED,
                        detail=f"the driver failed: {type(exc).__name__}",
                    )
                ]
            self._set_items(epoch, items, driver=driver.name)
        entry = self._entries.get(epoch)
        if entry is not None and entry.isolation:
            await self.log("isolate", _isolation_body(entry))

    def _set_items(
        self, epoch: int, items: Iterable[IsolationItem], *, driver: str | None = None
    ) -> None:
        """Put *items* in place of those that were RUNNING, of one driver or of all."""
        entry = self._entries.get(epoch)
        if entry is None:
            return
        kept = [
            item
            for item in entry.isolation
            if item.result is not IsolationResult.RUNNING
            or (driver is not None and item.driver != driver)
        ]
        self.put(replace(entry, isolation=(*kept, *items)))

    # -- receipts -------------------------------------------------------------------------------

    def receipt(self, entry: DirectiveEntry) -> SignedReceipt:
        """Return the proof of *entry* as it stands now (law 3)."""
        is_whole_fleet = not entry.agents
        return self._signer.sign(
            Receipt(
                directive=entry.directive,
                state=entry.state,
                is_durable=entry.is_durable,
                agents=entry.agents,
                gates=self._acks.items(
                    entry.epoch, agents=None if is_whole_fleet else entry.agents
                ),
                isolation=entry.isolation,
                log_index=entry.log_index,
                checkpoint=entry.checkpoint,
                issue_time_ns=self._clock.wall_ns(),
                key_id=self._signer.key_id,
            )
        )

    # -- private --------------------------------------------------------------------------------

    async def _append(self, kind: str, body: Mapping[str, Any]) -> AuditPosition:
        try:
            async with asyncio.timeout(self._limits.audit_timeout_s):
                return await self._audit.append(kind, body)
        except TimeoutError as exc:
            raise _audit_unavailable("did not answer in time") from exc
        except (HoldfastError, OSError) as exc:
            raise _audit_unavailable("cannot be written") from exc

    def _note_position(self, directive_epoch: int | None, position: AuditPosition) -> None:
        entry = self._entries.get(directive_epoch) if directive_epoch is not None else None
        if entry is not None and entry.log_index == NO_LOG_INDEX:
            self.put(replace(entry, log_index=position.index, checkpoint=position.checkpoint))


def ended(entry: DirectiveEntry, event: Released | Expired) -> DirectiveEntry:
    """Return *entry* after *event* ended its directive."""
    is_released = isinstance(event, Released)
    return replace(
        entry,
        state=DirectiveState.RELEASED if is_released else DirectiveState.EXPIRED,
        end_epoch=event.epoch,
        end_time_ns=event.create_time_ns,
        releaser=event.releaser if isinstance(event, Released) else "",
        release_reason=event.reason if isinstance(event, Released) else "",
        release_approval=event.approval if isinstance(event, Released) else "",
        release_approvers=event.approvers if isinstance(event, Released) else (),
    )


def _isolation_body(entry: DirectiveEntry) -> dict[str, Any]:
    return {
        "directive": directive_to_json(entry.directive),
        "items": [
            {
                "driver": item.driver,
                "subject": item.subject,
                "result": item.result.value,
                "detail": item.detail,
            }
            for item in entry.isolation
        ],
    }


def _audit_unavailable(what: str) -> EnvironmentFailure:
    return EnvironmentFailure(
        f"control's log {what}",
        reason=ErrorReason.AUDIT_UNAVAILABLE,
        hint="containment works without it; releases and approvals wait until it is back",
    )
