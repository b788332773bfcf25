# SPDX-License-Identifier: Apache-2.0
"""The gate's end of the approvals, which control keeps.

Laws:

1. Control alone opens, grants and uses; the gate asks, over its own stream, for its own agents. What
   is not answered in time, or not understood, is a denial.
2. A waiting caller costs an event and holds nothing else up.
3. An agent may look at, and withdraw, its own requests and no others. Control checks it, not we.
4. A caller whose wait is broken off has ``GRACE_S`` to come back (its connection may have broken);
   then its request is withdrawn: nobody is left to make the call. One who never waited, or whose wait
   ran out, is not taken for gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import structlog

from sidecar.authorize.holds import Grant, HeldCall, Opened, Outcome, Turned, Used
from sidecar.internal.v1 import sync_pb2
from sidecar.model import Reason, ReasonCode

__all__ = ["GRACE_S", "ApprovalDesk", "ApprovalStatus", "approval_id"]

GRACE_S: Final = 2.0
_ANSWER_S: Final = 2.0
_PREFIX: Final = "approvals/"
_MAX_QUESTIONS: Final = 1024
_CODES: Final = frozenset(ReasonCode)
log = structlog.get_logger("holdfast.gate")

Send = Callable[[sync_pb2.SyncRequest], bool]

_UNAVAILABLE: Final = Turned(
    reason=Reason(
        ReasonCode.APPROVAL_UNAVAILABLE,
        "a human must decide this call, and control, which asks them, does not answer",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalStatus:
    """How control says that an approval stands."""

    state: str
    code: str = ""
    text: str = ""
    expire_time_ns: int = 0

    @property
    def is_pending(self) -> bool:
        """Whether humans have still to decide."""
        return self.state == "PENDING"


def approval_id(name: str) -> str:
    """Return the id in a resource name; of anything else, what control will not know."""
    return name.removeprefix(_PREFIX)[:128]


@dataclass(slots=True, eq=False)
class _Waiters:
    agent: str
    count: int = 0
    status: ApprovalStatus | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class ApprovalDesk:
    """Implements ``authorize.holds.Desk`` over the stream to control. Belongs to one event loop."""

    def __init__(self) -> None:
        self._send: Send | None = None
        self._next = 0
        self._questions: dict[int, asyncio.Future[Outcome]] = {}
        self._waiters: dict[str, _Waiters] = {}
        self._leaving: dict[str, asyncio.TimerHandle] = {}
        self._unsaid: dict[str, str] = {}
        self._is_closing = False

    # -- the stream ---------------------------------------------------------------------------

    def connected(self, send: Send) -> None:
        """Ask again what somebody waits for, and say what could not be said."""
        self._send = send
        for approval, waiters in self._waiters.items():
            self._ask(waiters.agent, approval)
        for approval, agent in list(self._unsaid.items()):
            self._abandon(agent, approval)

    def disconnected(self) -> None:
        """Deny what waits for an answer that cannot come any more (law 1)."""
        self._send = None
        questions, self._questions = self._questions, {}
        for future in questions.values():
            if not future.done():
                future.set_result(_UNAVAILABLE)

    def close(self) -> None:
        """Stop taking broken waits for agents that are gone: it is the gate that goes."""
        self._is_closing = True
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()

    def take_held(self, message: sync_pb2.SyncResponse.Held) -> None:
        """Take control's answer about a held call."""
        future = self._questions.pop(message.id, None)
        if future is not None and not future.done():
            future.set_result(_outcome(message))

    def take_change(self, message: sync_pb2.SyncResponse.ApprovalChanged) -> None:
        """Take how an approval stands now, and wake whoever waits for it."""
        waiters = self._waiters.get(message.approval)
        if waiters is None or waiters.agent != message.agent:
            return
        waiters.status = ApprovalStatus(
            state=message.state,
            code=message.reason.code,
            text=message.reason.text,
            expire_time_ns=message.expire_time_ns,
        )
        changed, waiters.changed = waiters.changed, asyncio.Event()
        changed.set()

    # -- held calls ---------------------------------------------------------------------------

    async def settle(self, call: HeldCall) -> Outcome:
        """Let control use the grant for *call*, or ask humans for one."""
        if self._send is None or len(self._questions) >= _MAX_QUESTIONS:
            return _UNAVAILABLE
        self._next += 1
        id_ = self._next
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._questions[id_] = future
        question = sync_pb2.SyncRequest.Hold(
            id=id_,
            agent=call.agent,
            canonical=call.canonical,
            policy_digest=call.policy_digest,
            epoch=call.epoch,
            decision_id=call.decision_id,
            reason=call.reason,
            tier=call.tier,
            approver_role=call.approver_role,
            quorum=call.quorum,
            expiry_s=call.expiry_s,
            policies=call.policies,
        )
        try:
            if not self._send(sync_pb2.SyncRequest(hold=question)):
                return _UNAVAILABLE
            async with asyncio.timeout(_ANSWER_S):
                return await future
        except TimeoutError:
            return _UNAVAILABLE
        finally:
            self._questions.pop(id_, None)

    # -- waiting ------------------------------------------------------------------------------

    async def wait(self, agent: str, approval: str, *, timeout_s: float) -> ApprovalStatus | None:
        """Return how *approval* stands once it is no longer pending, or at the end of the wait.

        None means that control did not say in all that time.
        """
        leaving = self._leaving.pop(approval, None)
        if leaving is not None:
            leaving.cancel()
        waiters = self._waiters.setdefault(approval, _Waiters(agent))
        if waiters.agent != agent:
            return ApprovalStatus(state="UNKNOWN")
        waiters.count += 1
        is_broken_off = True
        try:
            async with asyncio.timeout(timeout_s):
                self._ask(agent, approval)
                changed = waiters.changed
                while True:
                    await changed.wait()
                    changed = waiters.changed
                    if waiters.status is not None and not waiters.status.is_pending:
                        break
        except TimeoutError:
            is_broken_off = False
        else:
            is_broken_off = False
        finally:
            waiters.count -= 1
            status = waiters.status
            if not waiters.count:
                self._waiters.pop(approval, None)
                if is_broken_off and not self._is_closing:
                    self._leaving[approval] = asyncio.get_running_loop().call_later(
                        GRACE_S, self._gone, agent, approval
                    )
        return status

    async def withdraw(self, agent: str, approval: str) -> ApprovalStatus | None:
        """Withdraw *approval* on the agent's word and return how it stands then."""
        if self._send is None:
            return None
        waiters = self._waiters.setdefault(approval, _Waiters(agent))
        if waiters.agent != agent:
            return ApprovalStatus(state="UNKNOWN")
        waiters.count += 1
        try:
            async with asyncio.timeout(_ANSWER_S):
                abandon = sync_pb2.SyncRequest.Abandon(agent=agent, approval=approval, asked=True)
                self._send(sync_pb2.SyncRequest(abandon=abandon))
                changed = waiters.changed
                while waiters.status is None or waiters.status.is_pending:
                    await changed.wait()
                    changed = waiters.changed
        except TimeoutError:
            return None
        finally:
            waiters.count -= 1
            if not waiters.count:
                self._waiters.pop(approval, None)
        return waiters.status

    def _ask(self, agent: str, approval: str) -> None:
        if self._send is not None:
            ask = sync_pb2.SyncRequest.AskApproval(agent=agent, approval=approval)
            self._send(sync_pb2.SyncRequest(ask_approval=ask))

    def _gone(self, agent: str, approval: str) -> None:
        self._leaving.pop(approval, None)
        if approval not in self._waiters:
            log.info("a waiting caller is gone: its request is withdrawn", agent=agent)
            self._abandon(agent, approval)

    def _abandon(self, agent: str, approval: str) -> None:
        abandon = sync_pb2.SyncRequest.Abandon(agent=agent, approval=approval)
        if self._send is not None and self._send(sync_pb2.SyncRequest(abandon=abandon)):
            self._unsaid.pop(approval, None)
        elif len(self._unsaid) < _MAX_QUESTIONS:
            self._unsaid[approval] = agent


def _outcome(message: sync_pb2.SyncResponse.Held) -> Outcome:
    match message.WhichOneof("outcome"):
        case "pending":
            pending = message.pending
            return Opened(
                approval=message.approval,
                expire_time_ns=pending.expire_time_ns,
                approvers=tuple(pending.approvers),
                url=pending.url,
            )
        case "consumed":
            consumed = message.consumed
            return Used(
                Grant(
                    approval=message.approval,
                    fingerprint=consumed.fingerprint,
                    policy_digest=consumed.policy_digest,
                    epoch=consumed.epoch,
                    granters=tuple(consumed.granters),
                )
            )
        case "denied" if message.denied.code in _CODES:
            reason = Reason(
                ReasonCode(message.denied.code), message.denied.text, dict(message.denied.metadata)
            )
            return Turned(reason=reason, approval=message.approval)
        case _:
            return _UNAVAILABLE
