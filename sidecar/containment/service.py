# SPDX-License-Identifier: Apache-2.0
"""The levers: contain, release, revoke; memory first, durable second, acknowledged third.

Laws:

1. ``contain`` is in memory and in front of every gate before its first ``await``; a caller who
   gives up afterwards changes nothing.
2. Nothing that can fail beside the latch (log, history, isolation, gates) stops or delays a
   containment beyond ``ServiceLimits``; the receipt says what failed.
3. What loosens waits for everything: the log first, then the latch; durable before it is answered.
   It comes with the consent of another human, who was asked elsewhere; so does a directive that is
   more than one hand may order.
4. A request id makes one order, however often and however concurrently it comes.
5. What a receipt calls durable stands until its release or its expiry is published.

Belongs to one event loop. ``run`` must run as long as the service is used: it beats the heart that
the gates listen to. When ``failed`` is set, the process is to exit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from sidecar.clock import Clock
from sidecar.containment.acks import AckTracker
from sidecar.containment.answers import (
    AuditSink,
    ContainmentAnswer,
    ContainmentHealth,
    ContainmentPreview,
    DirectivePage,
    ReleaseAnswer,
    RevocationAnswer,
    ServiceLimits,
)
from sidecar.containment.clockwatch import ClockWatch
from sidecar.containment.commits import Commits
from sidecar.containment.consent import Consent
from sidecar.containment.dossier import Dossiers
from sidecar.containment.drafts import (
    Moment,
    draft_containment,
    draft_expiry,
    draft_release,
    draft_revocation,
    draft_token_rules,
    draft_unsealing,
)
from sidecar.containment.errands import Errands
from sidecar.containment.events import (
    Contained,
    Event,
    PolicyActivated,
    RevocationRule,
    TokensRevoked,
    directive_to_json,
    rule_to_json,
)
from sidecar.containment.history import (
    DirectiveEntry,
    HistoryStore,
    RevocationArchive,
)
from sidecar.containment.isolation import IsolationDriver
from sidecar.containment.journal import ContainmentJournal
from sidecar.containment.lookup import Lookup
from sidecar.containment.machine import ContainmentState
from sidecar.containment.mirror import Mirror
from sidecar.containment.orders import (
    ContainmentOrder,
    ReleaseOrder,
    RevocationOrder,
    UnsealOrder,
)
from sidecar.containment.receipt import ReceiptSigner, SignedReceipt
from sidecar.containment.rules import (
    BlastLimit,
    Fleet,
    covered_agents,
    is_wide,
    protected_agents,
    require_contain,
    require_contain_request,
    require_release,
    require_release_request,
    require_revoke,
    require_unseal,
    unknown_agents,
    weigh,
)
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    NotDurableError,
    PreconditionError,
)
from sidecar.latch.writer import LatchWriter
from sidecar.model import Directive, Level, Operator, Target, TargetKind

__all__ = ["ContainmentService"]

_BEAT_S: Final = 0.5
# Targets that hold whole agents: their KILL stops runtimes and revokes tokens.
_WHOLE_AGENTS: Final = frozenset(
    {TargetKind.AGENT, TargetKind.PRINCIPAL, TargetKind.LABELS, TargetKind.ALL}
)


class ContainmentService:
    """The one service that changes what stands on this host."""

    def __init__(
        self,
        *,
        writer: LatchWriter,
        clock: Clock,
        boot_id: str,
        acks: AckTracker,
        signer: ReceiptSigner,
        audit: AuditSink,
        history: HistoryStore,
        revocations: RevocationArchive,
        fleet: Fleet,
        isolation: Sequence[IsolationDriver] = (),
        blast: BlastLimit | None = None,
        limits: ServiceLimits | None = None,
    ) -> None:
        self._writer = writer
        self._clock = clock
        self._boot_id = boot_id
        self._acks = acks
        self._fleet = fleet
        self._blast = blast or BlastLimit()
        self._limits = limits or ServiceLimits()
        self._journal = ContainmentJournal(writer=writer, clock=clock, boot_id=boot_id)
        self._commits = Commits(target=writer)
        self._mirror = Mirror(history=history, revocations=revocations, ledger=self._journal.ledger)
        self._dossiers = Dossiers(
            clock=clock,
            acks=acks,
            signer=signer,
            audit=audit,
            mirror=self._mirror,
            drivers=isolation,
            limits=self._limits,
        )
        self._lookup = Lookup(
            journal=self._journal,
            dossiers=self._dossiers,
            mirror=self._mirror,
            history=history,
            archive=revocations,
            fleet=fleet,
        )
        self._listeners: list[Callable[[Event], None]] = []
        self._errands = Errands()
        self._clock_watch = ClockWatch(
            clock=clock,
            max_step_s=self._limits.max_clock_step_s,
            unstable_s=self._limits.unstable_clock_s,
        )
        self.failed = asyncio.Event()

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what stood before; call once, before any other method.

        Raises:
            NotDurableError: The latch failed while it was being restored.
        """
        standing: dict[int, DirectiveEntry] = {}
        try:
            standing, notes = await self._lookup.remembered()
            self._journal.ledger.remember_requests(notes)
            self._acks.remember(await self._lookup.gates())
            if self._writer.recovery.is_lost:
                self._journal.restore(entry.contained for entry in standing.values())
                await self._durable()
        except NotDurableError:
            raise
        except HoldfastError as exc:
            self._mirror.problem = exc.message  # the latch alone says what stands, then
        self._dossiers.reconcile(standing, journal=self._journal, fleet=self._fleet.agents())
        self.beat()

    async def run(self) -> None:
        """Beat, expire and catch up until cancelled or ``failed``."""
        while not self.failed.is_set():
            self.tick()
            await asyncio.sleep(_BEAT_S)

    def tick(self) -> None:
        """Do once what ``run`` does over and over."""
        self.beat()
        self._clock_watch.is_trusted()
        if self.failed.is_set():
            return
        for contained in self._journal.due():
            self._expire(contained)
        self._mirror.remember_gates(self._acks.gates)
        self._mirror.kick()
        if self._dossiers.unlogged and "log" not in self._errands:
            self._errands.start("log", self._dossiers.retry_log())

    def beat(self) -> None:
        """Tell the gates that this event loop is alive, if the latch is what they map."""
        if self._writer.check_identity():
            self._writer.heartbeat(self._clock.boot_ns())
        else:
            self.failed.set()

    async def aclose(self) -> None:
        """Finish what was begun. The latch stays as it is, and open."""
        await self._errands.aclose()
        await self._commits.aclose()
        await self._mirror.aclose()

    def add_listener(self, listener: Callable[[Event], None]) -> None:
        """Call *listener* with every event from now on, soon after it was published.

        It runs in the event loop, never inside a containment; what it raises goes to the loop's
        exception handler.
        """
        self._listeners.append(listener)

    # -- what stands ----------------------------------------------------------------------------

    @property
    def state(self) -> ContainmentState:
        """What stands now."""
        return self._journal.state

    @property
    def epoch(self) -> int:
        """The epoch now."""
        return self._journal.next_epoch - 1

    def health(self) -> ContainmentHealth:
        """Return how containment is."""
        problems = []
        if self._writer.is_sealed:
            problems.append(f"the latch is sealed: {self._writer.seal_reason}")
        if self._mirror.problem:
            problems.append(f"the history lags behind: {self._mirror.problem}")
        if self._dossiers.unlogged:
            problems.append(f"the log lacks {self._dossiers.unlogged} entries")
        if not self._clock_watch.is_trusted():
            problems.append("the wall clock has just stepped")
        return ContainmentHealth(
            is_ready=not self._writer.is_failed,
            is_sealed=self._writer.is_sealed,
            epoch=self.epoch,
            problems=tuple(problems),
        )

    def standing_revocations(self) -> tuple[RevocationRule, ...]:
        """Return every rule a gate must know, oldest first. Reads the archive: blocks.

        Raises:
            EnvironmentFailure: The archive cannot be read; nobody knows them all then.
        """
        return self._lookup.revocations()

    async def list_revocations(self) -> tuple[RevocationRule, ...]:
        """Return every rule a gate must know, oldest first.

        Raises:
            EnvironmentFailure: The archive cannot be read; nobody knows them all then.
        """
        return await self._lookup.all_revocations()

    async def list_directives(
        self,
        *,
        include_ended: bool = False,
        before_epoch: int | None = None,
        limit: int = 100,
        agent: str = "",
        target: Target | None = None,
    ) -> DirectivePage:
        """Return directives, newest first.

        Args:
            include_ended: Also those that were released or have expired.
            before_epoch: From the last page.
            limit: At most this many, and at most 1,000.
            agent: Only those that reach this agent.
            target: Only those with exactly this target.
        """
        return await self._lookup.page(
            include_ended=include_ended,
            before_epoch=before_epoch,
            limit=limit,
            agent=agent,
            target=target,
        )

    async def get_receipt(self, epoch: int) -> SignedReceipt:
        """Return the proof of a directive as it stands now.

        Raises:
            NotFoundError: There is no such directive.
            EnvironmentFailure: It ended long ago, and the history cannot be read.
        """
        return self._dossiers.receipt(await self._lookup.entry(epoch))

    async def get_directive(self, epoch: int) -> DirectiveEntry:
        """Return a directive, standing or ended.

        Raises:
            NotFoundError: There is no such directive.
            EnvironmentFailure: It ended long ago, and the history cannot be read.
        """
        return await self._lookup.entry(epoch)

    def remaining(self, entry: DirectiveEntry) -> tuple[Directive, ...]:
        """Return the standing directives that reach an agent that *entry* reached."""
        return self._lookup.remaining(entry)

    # -- tightening -----------------------------------------------------------------------------

    def preview(self, order: ContainmentOrder, caller: Operator) -> ContainmentPreview:
        """Return what *order* would reach, and order nothing.

        Raises:
            RefusedError: *caller* may not order it, with or without the consent of others.
        """
        require_contain_request(caller)
        fleet = self._fleet.agents()
        return ContainmentPreview(
            agents=covered_agents(order.target, fleet),
            is_wide=is_wide(order.target, fleet, self._blast),
            protected=protected_agents(order.target, fleet),
            is_consent_needed=bool(weigh(order.target, order.level, caller, fleet, self._blast)),
            unknown=unknown_agents(order.target, fleet),
        )

    async def contain(
        self, order: ContainmentOrder, caller: Operator, consent: Consent | None = None
    ) -> ContainmentAnswer:
        """Let a directive stand and prove it (laws 1 and 2).

        Raises:
            RefusedError: *caller* may not order it, or not without the consent of another human.
            ConflictError: The request id was used for another order.
            JournalFullError: The latch has no room, and the target is not everything.
        """
        fleet = self._fleet.agents()
        require_contain(
            order.target, caller, fleet, self._blast, level=order.level, consent=consent
        )
        fingerprint = order.fingerprint()
        epoch = self._journal.ledger.find(order.request_id, fingerprint)
        is_repeated = epoch is not None
        if epoch is None:
            agents = covered_agents(order.target, fleet)
            contained = draft_containment(order, caller, self._moment(), consent)
            epoch = contained.epoch
            self._publish_containment(contained, draft_token_rules(contained, agents))
            entry = self._dossiers.open(contained, agents)
            self._errands.start(f"proof {epoch}", self._prove(entry, caller))
        return await self._contained(epoch, is_repeated=is_repeated)

    async def find_containment(self, order: ContainmentOrder) -> ContainmentAnswer | None:
        """Return what came of this very order, if it was given before; order nothing.

        Raises:
            ConflictError: The request id was used for another order.
        """
        epoch = self._journal.ledger.find(order.request_id, order.fingerprint())
        return None if epoch is None else await self._contained(epoch, is_repeated=True)

    async def revoke_tokens(self, order: RevocationOrder, caller: Operator) -> RevocationAnswer:
        """Revoke tokens for good.

        Raises:
            RefusedError: *caller* may not order it.
            ConflictError: The request id was used for another order.
            NotDurableError: It holds in memory only; the latch is sealed.
        """
        require_revoke(caller, is_everything=order.is_everything)
        fingerprint = order.fingerprint()
        epoch = self._journal.ledger.find(order.request_id, fingerprint)
        is_repeated = epoch is not None
        if epoch is None:
            event = draft_revocation(order, caller, self._moment())
            epoch = event.epoch
            self._publish(event)
            self._errands.start(f"revocation {epoch}", self._prove_revocation(event.rule))
        await self._errands.wait_for(f"revocation {epoch}")
        return RevocationAnswer(
            rule=await self._lookup.rule(epoch, order),
            laggards=self._acks.laggards(epoch),
            is_repeated=is_repeated,
        )

    async def activate_policy(self, digest: str, *, author: str) -> int:
        """Let another policy bundle decide; return the epoch. Activating it again changes nothing.

        Raises:
            NotDurableError: It holds in memory only; the latch is sealed.
        """
        if self.state.policy_digest == digest:
            return self.epoch
        event = PolicyActivated(
            epoch=self._journal.next_epoch,
            digest=digest,
            author=author,
            create_time_ns=self._clock.wall_ns(),
        )
        self._publish(event)
        await self._durable()
        return event.epoch

    async def isolate_if_killed(self, agent: str) -> None:
        """Stop the runtimes of *agent* if a KILL stands on it: one was registered just now."""
        known = next((known for known in self._fleet.agents() if known.id == agent), None)
        held = self.state.for_agent(
            agent,
            labels=known.labels if known else {},
            principals=known.principals if known else frozenset(),
        )
        if held and held[0].level is Level.KILL:
            await self._dossiers.isolate(held[0].epoch, [agent])

    # -- loosening ------------------------------------------------------------------------------

    async def releasable(self, order: ReleaseOrder, caller: Operator) -> Contained:
        """Return the standing directive that *caller* may ask to be released; change nothing.

        Raises:
            RefusedError: *caller* may not release, or not this one, whoever consents.
            NotFoundError: There is no such directive.
            PreconditionError: ALREADY_RELEASED.
        """
        entry = await self._lookup.entry(order.directive_epoch)
        require_release_request(entry.contained, caller)
        return self._standing(order.directive_epoch)

    async def find_release(self, order: ReleaseOrder) -> ReleaseAnswer | None:
        """Return what came of this very order, if it was carried out before; change nothing.

        Raises:
            ConflictError: The request id was used for another order.
        """
        epoch = self._journal.ledger.find(order.request_id, order.fingerprint())
        return None if epoch is None else await self._released(order, epoch, is_repeated=True)

    async def release(
        self, order: ReleaseOrder, caller: Operator, consent: Consent | None = None
    ) -> ReleaseAnswer:
        """End one directive (law 3).

        Raises:
            RefusedError: *caller* may not release, or not this one, or not without consent.
            NotFoundError: There is no such directive.
            PreconditionError: ALREADY_RELEASED.
            ConflictError: The request id was used for another order.
            EnvironmentFailure: The log, the latch or the clock does not allow it now.
        """
        entry = await self._lookup.entry(order.directive_epoch)
        require_release(entry.contained, caller, consent)
        fingerprint = order.fingerprint()
        epoch, is_repeated = await self._errands.order(
            order.request_id,
            fingerprint,
            done=self._journal.ledger.find(order.request_id, fingerprint),
            work=lambda: self._release(order, caller, consent),
        )
        return await self._released(order, epoch, is_repeated=is_repeated)

    async def unseal(self, order: UnsealOrder, caller: Operator) -> int:
        """Take the seal off a latch whose storage failed or was lost; return the epoch (law 3).

        What directives must stand is for the caller to know: those of the history were restored.

        Raises:
            RefusedError: *caller* may not unseal.
            PreconditionError: The latch is not sealed.
            ConflictError: The request id was used for another order.
            EnvironmentFailure: The log, the latch or the clock does not allow it now.
        """
        require_unseal(caller)
        fingerprint = order.fingerprint()
        epoch, _ = await self._errands.order(
            order.request_id,
            fingerprint,
            done=self._journal.ledger.find(order.request_id, fingerprint),
            work=lambda: self._unseal(order, caller),
        )
        return epoch

    # -- private: one order ---------------------------------------------------------------------

    async def _contained(self, epoch: int, *, is_repeated: bool) -> ContainmentAnswer:
        await self._errands.wait_for(f"proof {epoch}")
        entry = await self._lookup.entry(epoch)
        return ContainmentAnswer(
            receipt=self._dossiers.receipt(entry),
            is_repeated=is_repeated,
            approval=entry.contained.approval,
        )

    async def _released(
        self, order: ReleaseOrder, epoch: int, *, is_repeated: bool
    ) -> ReleaseAnswer:
        entry = await self._lookup.entry(order.directive_epoch)
        return ReleaseAnswer(
            entry=entry,
            epoch=epoch,
            remaining=self._lookup.remaining(entry),
            is_repeated=is_repeated,
        )

    async def _prove(self, entry: DirectiveEntry, caller: Operator) -> None:
        """Do everything of a containment that may wait (law 2)."""
        epoch, directive = entry.epoch, entry.directive
        settled = self._errands.start(f"durable {epoch}", self._settle(epoch))
        await asyncio.wait([settled], timeout=self._limits.durable_timeout_s)
        if directive.level is Level.KILL and directive.target.kind in _WHOLE_AGENTS:
            self._errands.start(f"isolation {epoch}", self._dossiers.isolate(epoch, entry.agents))
        body = {
            "directive": directive_to_json(directive),
            "author_kind": caller.kind.value,
            "author_identity": caller.identity,
            "agents": list(entry.agents),
            **_consented(entry.contained.approval, entry.contained.approvers),
        }
        waits: list[Coroutine[Any, Any, Any]] = [
            self._dossiers.log("contain", body, directive_epoch=epoch)
        ]
        if not self._writer.is_failed:
            waits.append(self._acks.wait_for(epoch, timeout_s=self._limits.ack_timeout_s))
        await asyncio.gather(*waits)

    async def _prove_revocation(self, rule: RevocationRule) -> None:
        await self._durable()
        await asyncio.gather(
            self._dossiers.log("revoke_tokens", {"rule": rule_to_json(rule)}),
            self._acks.wait_for(rule.epoch, timeout_s=self._limits.ack_timeout_s),
        )

    async def _release(self, order: ReleaseOrder, caller: Operator, consent: Consent | None) -> int:
        self._require_calm()
        contained = self._standing(order.directive_epoch)
        body = {
            "directive": directive_to_json(contained.directive),
            "releaser": caller.name,
            "releaser_identity": caller.identity,
            "reason": order.reason,
            "request_id": order.request_id,
            **(_consented(consent.approval, consent.humans) if consent is not None else {}),
        }
        await self._dossiers.require_log("release_requested", body)
        # The log took its time: whatever was looked at before it is looked at again, that nobody
        # has used the request id for something else included.
        self._standing(order.directive_epoch)
        self._journal.ledger.find(order.request_id, order.fingerprint())
        event = draft_release(order, caller, self._moment(), consent)
        self._publish(event)
        self._dossiers.end(event)
        await self._durable()
        await self._dossiers.log("release", body | {"epoch": str(event.epoch)})
        return event.epoch

    async def _unseal(self, order: UnsealOrder, caller: Operator) -> int:
        self._require_calm()
        if not self._writer.is_sealed:
            raise PreconditionError("the latch is not sealed")
        body = {
            "author": caller.name,
            "author_identity": caller.identity,
            "reason": order.reason,
            "seal_reason": self._writer.seal_reason,
            "request_id": order.request_id,
        }
        await self._dossiers.require_log("unseal_requested", body)
        self._journal.ledger.find(order.request_id, order.fingerprint())
        event = draft_unsealing(order, caller, self._moment())
        self._publish(event, is_unsealing=True)
        await self._durable()
        await self._dossiers.log("unseal", body | {"epoch": str(event.epoch)})
        return event.epoch

    def _expire(self, contained: Contained) -> None:
        event = draft_expiry(contained, self._moment())
        try:
            self._publish(event)
        except EnvironmentFailure:
            return  # it goes on standing; the next tick tries again, or the process exits
        self._dossiers.end(event)
        body = {"directive": directive_to_json(contained.directive), "epoch": str(event.epoch)}
        self._errands.start(f"expiry {event.epoch}", self._dossiers.log("expire", body))
        self._errands.start(f"durable {event.epoch}", self._settle(event.epoch))

    def _moment(self) -> Moment:
        return Moment(
            epoch=self._journal.next_epoch,
            wall_ns=self._clock.wall_ns(),
            boot_ns=self._clock.boot_ns(),
            boot_id=self._boot_id,
        )

    # -- private: publishing --------------------------------------------------------------------

    def _publish(self, event: Event, *, is_unsealing: bool = False) -> None:
        try:
            notes = self._journal.publish(event, is_unsealing=is_unsealing)
        except NotDurableError:
            self.failed.set()
            raise
        self._mirror.add(requests=notes)
        self._tell([event])

    def _publish_containment(
        self, contained: Contained, revoked: tuple[TokensRevoked, ...]
    ) -> None:
        """Publish; a latch that failed is a fact for the receipt (law 2)."""
        before = self._journal.state.epoch
        try:
            self._mirror.add(requests=self._journal.publish_containment(contained, revoked))
        except NotDurableError:
            self.failed.set()
        events: tuple[Event, ...] = (contained, *revoked)
        self._tell(event for event in events if before < event.epoch <= self.state.epoch)

    def _tell(self, events: Iterable[Event]) -> None:
        loop = asyncio.get_running_loop()
        for event in events:
            for listener in self._listeners:
                loop.call_soon(listener, event)

    async def _durable(self) -> None:
        try:
            await self._commits.durable()
        except NotDurableError:
            self.failed.set()
            raise

    async def _settle(self, epoch: int) -> None:
        try:
            await self._durable()
        except NotDurableError:
            return  # the receipt says so, and the process exits
        self._dossiers.mark_durable(epoch)

    # -- private: conditions --------------------------------------------------------------------

    def _require_calm(self) -> None:
        """Refuse to loosen while the latch or the clock cannot be relied on (law 3)."""
        if self._writer.is_failed:
            raise NotDurableError(f"the latch is sealed: {self._writer.seal_reason}")
        if not self._clock_watch.is_trusted():
            raise EnvironmentFailure(
                "the wall clock has just stepped",
                reason=ErrorReason.CLOCK_UNSTABLE,
                hint="nothing is released until the clock has been steady for a minute",
            )

    def _standing(self, epoch: int) -> Contained:
        contained = self.state.contained.get(epoch)
        if contained is None:
            raise PreconditionError(
                f"directive {epoch} does not stand any more",
                reason=ErrorReason.ALREADY_RELEASED,
            )
        return contained


def _consented(approval: str, humans: Sequence[str]) -> dict[str, Any]:
    """Return who agreed, for the log; nothing where nobody had to."""
    return {"approval": approval, "approvers": list(humans)} if approval else {}
