# SPDX-License-Identifier: Apache-2.0
"""What the fakes of ``testing`` answer and remember. Deterministic, without a gate, a loop or a wait.

Its laws are those of ``testing``.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from sidecar.sdk._arguments import Unfit, encode_arguments
from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._holds import HeldCall, Waiter, ended, hold_seconds, remember
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk.values import (
    NO_OBLIGATIONS,
    ApprovalState,
    ApprovalStatus,
    Containment,
    Decision,
    Effect,
    LogConfirmation,
    Obligations,
    Reason,
    Result,
)

__all__ = ["Answer", "RecordedCall", "RecordedOutcome", "Request", "Script"]

_LIFE_NS: Final = 3_600_000_000_000
"""An hour, so that a debugger does not make an ALLOW lapse."""
_TEXTS: Final = {
    ApprovalState.GRANTED: ("APPROVAL_GRANTED", "granted by {by}"),
    ApprovalState.REFUSED: ("APPROVAL_REFUSED", "refused by {by}"),
    ApprovalState.EXPIRED: ("APPROVAL_EXPIRED", "nobody decided in time"),
    ApprovalState.CANCELLED: ("APPROVAL_CANCELLED", "the request was withdrawn"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """One question that was asked."""

    tool: str
    arguments: Mapping[str, Any]
    session: str
    url: str
    cwd: str
    nonce: str
    decision: Decision


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedOutcome:
    """One outcome that was reported."""

    decision_id: str
    result: Result
    detail: str
    response_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a tool is answered; for a HOLD, what the human does then."""

    effect: Effect
    reason: Reason
    obligations: Obligations = NO_OBLIGATIONS
    then: ApprovalState | None = None
    by: str = ""


@dataclass(slots=True, kw_only=True)
class Request:
    """A request for a human's decision."""

    call: HeldCall
    then: ApprovalState | None
    by: str
    state: ApprovalState = ApprovalState.PENDING


_DEFAULT: Final = Answer(
    effect=Effect.DENY, reason=Reason("NO_POLICY_ALLOWS", "no policy allows this call")
)


class Script:
    """What both fakes share."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.state = ContainmentState()
        self.answers: dict[str, Answer] = {}
        self.queues: dict[str, list[Answer]] = {}
        self.calls: list[RecordedCall] = []
        self.outcomes: list[RecordedOutcome] = []
        self.requests: dict[str, Request] = {}
        self.is_closed = False
        self._numbers = itertools.count(1)
        self._epoch = 1

    def decide(
        self,
        guard: Waiter,
        tool: str,
        arguments: Mapping[str, Any] | bytes,
        *,
        url: str | None,
        cwd: str | None,
        nonce: str | None,
        session: str | None,
        hold_timeout: timedelta | float | None,
    ) -> Decision:
        """Return what the script says about a call that *guard* was asked about."""
        wait_s = 0.0 if hold_timeout is None else hold_seconds(hold_timeout)
        if self.is_closed:
            return local_denial(Cause.CLOSED)
        try:
            data = encode_arguments(arguments)
        except Unfit as unfit:
            return local_denial(unfit.cause)
        call = HeldCall(
            tool=tool,
            arguments=data,
            session=self.session if session is None else session,
            url=url or "",
            cwd=cwd or "",
            nonce=nonce or "",
        )
        decision = self._asked(guard, call)
        if decision.effect is Effect.HOLD and wait_s:
            return self.outlast(guard, decision, call)
        return decision

    def outlast(self, guard: Waiter, held: Decision, call: HeldCall) -> Decision:
        """Let the human decide now; ask again if the call was granted."""
        if self.is_closed:
            return local_denial(Cause.CLOSED)
        if self.state.is_killed:
            return local_denial(self.state.cause)
        status = self.look(held.obligations.approval)
        if status.state is ApprovalState.PENDING:
            return held
        if status.state in (ApprovalState.GRANTED, ApprovalState.CONSUMED):
            return self._asked(guard, call)
        return ended(held, status)

    def look(self, name: str, *, withdraw: bool = False) -> ApprovalStatus:
        """Return how a request stands once the human has done what the script says."""
        request = self.requests.get(name)
        if request is None:
            return ApprovalStatus(state=ApprovalState.UNKNOWN)
        if request.state is ApprovalState.PENDING:
            then = ApprovalState.CANCELLED if withdraw else request.then
            request.state = then or ApprovalState.PENDING
        elif withdraw and request.state is ApprovalState.GRANTED:
            request.state = ApprovalState.CANCELLED
        code, text = _TEXTS.get(request.state, ("", ""))
        reason = Reason(code, text.format(by=request.by)) if code else None
        return ApprovalStatus(state=request.state, reason=reason)

    def contain(self, level: str) -> None:
        """Hold the agent at *level*, or free it."""
        self._epoch += 1
        for name in self.requests if level else ():
            self.look(name, withdraw=True)
        self.state.told(Containment(level=level, epoch=self._epoch, cancel_in_flight=bool(level)))

    def note(
        self, decision_id: str, result: Result, detail: str, response_digest: str
    ) -> LogConfirmation:
        """Record an outcome."""
        mark = "" if all(o.decision_id != decision_id for o in self.outcomes) else "duplicate"
        if all(call.decision.decision_id != decision_id for call in self.calls):
            mark = "orphan"
        self.outcomes.append(
            RecordedOutcome(
                decision_id=decision_id,
                result=result,
                detail=detail,
                response_digest=response_digest,
            )
        )
        return LogConfirmation(log_index=len(self.outcomes) - 1, mark=mark)

    def _asked(self, guard: Waiter, call: HeldCall) -> Decision:
        try:
            parsed = json.loads(call.arguments)
        except ValueError:
            return local_denial(Cause.ARGUMENTS_NOT_JSON)
        decision = remember(self._decision(call), guard, call)
        self.calls.append(
            RecordedCall(
                tool=call.tool,
                arguments=parsed,
                session=call.session,
                url=call.url,
                cwd=call.cwd,
                nonce=call.nonce,
                decision=decision,
            )
        )
        return decision

    def _decision(self, call: HeldCall) -> Decision:
        standing = self.answers.get(call.tool, _DEFAULT)
        granted = self._request_of(call, ApprovalState.GRANTED)
        if self.state.is_killed:
            code = "FROZEN" if self.state.latest.level == "FREEZE" else "KILLED"
            answer = Answer(effect=Effect.DENY, reason=Reason(code, "the agent is contained"))
        elif granted and not (standing.effect is Effect.DENY and call.tool in self.answers):
            # Law 4.
            self.requests[granted].state = ApprovalState.CONSUMED
            by = self.requests[granted].by
            answer = Answer(
                effect=Effect.ALLOW,
                reason=Reason("APPROVAL_GRANTED", f"granted by {by}"),
                obligations=Obligations(approval=granted),
            )
        else:
            queue = self.queues.get(call.tool)
            answer = queue.pop(0) if queue else standing
        return Decision(
            effect=answer.effect,
            reasons=(answer.reason,),
            decision_id=f"dec_{next(self._numbers):032x}",
            epoch=self._epoch,
            valid_until_ns=time.time_ns() + _LIFE_NS,
            obligations=(
                replace(answer.obligations, approval=self._open(call, answer))
                if answer.effect is Effect.HOLD
                else answer.obligations
            ),
        )

    def _open(self, call: HeldCall, answer: Answer) -> str:
        """Return the name of the request for *call*: the one that waits already, or a new one."""
        name = self._request_of(call, ApprovalState.PENDING)
        if not name:
            name = f"approvals/apr_{len(self.requests) + 1:032x}"
            self.requests[name] = Request(call=call, then=answer.then, by=answer.by)
        return name

    def _request_of(self, call: HeldCall, state: ApprovalState) -> str:
        for name, request in self.requests.items():
            if request.state is state and request.call == call:
                return name
        return ""
