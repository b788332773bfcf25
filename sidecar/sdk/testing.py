# SPDX-License-Identifier: Apache-2.0
"""Guards for the tests of agents: scripted decisions, recorded calls, no gate.

::

    async def test_refund_is_not_made_when_denied() -> None:
        guard = FakeGuard()
        guard.deny("payments.refund", "POLICY_DENY", "refunds need a ticket")

        answer = await my_agent(guard).refund("cust_1")

        assert "ticket" in answer
        assert guard.calls[0].arguments == {"customer": "cust_1"}

Laws:

1. What is not scripted is denied, as an empty policy denies it.
2. Everything else is the real thing: the same forms, errors, texts and argument rules.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sidecar.sdk._arguments import Unfit, encode_arguments
from sidecar.sdk._containment import ContainmentState
from sidecar.sdk._local import Cause, local_denial
from sidecar.sdk.guard import Guard
from sidecar.sdk.sync import SyncGuard
from sidecar.sdk.values import (
    NO_OBLIGATIONS,
    Containment,
    Decision,
    Effect,
    LogConfirmation,
    Obligations,
    Reason,
    Result,
)

__all__ = ["FakeGuard", "FakeSyncGuard", "RecordedCall", "RecordedOutcome"]

_ADDRESS: Final = "unix:/nonexistent/guard.sock"
_LIFE_NS: Final = 3_600_000_000_000
"""An hour, so that a debugger does not make an ALLOW lapse."""


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
class _Answer:
    effect: Effect
    reason: Reason
    obligations: Obligations = NO_OBLIGATIONS


_DEFAULT: Final = _Answer(
    effect=Effect.DENY, reason=Reason("NO_POLICY_ALLOWS", "no policy allows this call")
)


class _Script:
    """What both fakes share."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.state = ContainmentState()
        self.answers: dict[str, _Answer] = {}
        self.queues: dict[str, list[_Answer]] = {}
        self.calls: list[RecordedCall] = []
        self.outcomes: list[RecordedOutcome] = []
        self.is_closed = False
        self._numbers = itertools.count(1)
        self._epoch = 1

    def decide(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes,
        *,
        url: str | None,
        cwd: str | None,
        nonce: str | None,
        session: str | None,
    ) -> Decision:
        if self.is_closed:
            return local_denial(Cause.CLOSED)
        try:
            data = encode_arguments(arguments)
            parsed = json.loads(data)
        except Unfit as unfit:
            return local_denial(unfit.cause)
        except ValueError:
            return local_denial(Cause.ARGUMENTS_NOT_JSON)
        decision = self._decision(tool)
        self.calls.append(
            RecordedCall(
                tool=tool,
                arguments=parsed,
                session=self.session if session is None else session,
                url=url or "",
                cwd=cwd or "",
                nonce=nonce or "",
                decision=decision,
            )
        )
        return decision

    def contain(self, level: str) -> None:
        self._epoch += 1
        self.state.told(Containment(level=level, epoch=self._epoch, cancel_in_flight=bool(level)))

    def note(
        self, decision_id: str, result: Result, detail: str, response_digest: str
    ) -> LogConfirmation:
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

    def _decision(self, tool: str) -> Decision:
        if self.state.is_killed:
            code = "FROZEN" if self.state.latest.level == "FREEZE" else "KILLED"
            answer = _Answer(effect=Effect.DENY, reason=Reason(code, "the agent is contained"))
        else:
            queue = self.queues.get(tool)
            answer = queue.pop(0) if queue else self.answers.get(tool, _DEFAULT)
        return Decision(
            effect=answer.effect,
            reasons=(answer.reason,),
            decision_id=f"dec_{next(self._numbers):032x}",
            epoch=self._epoch,
            valid_until_ns=time.time_ns() + _LIFE_NS,
            obligations=answer.obligations,
        )


class _Scripting:
    """The methods by which a test tells a fake what to answer."""

    _script: _Script

    @property
    def calls(self) -> list[RecordedCall]:
        """Every question that was asked, in order."""
        return self._script.calls

    @property
    def outcomes(self) -> list[RecordedOutcome]:
        """Every outcome that was reported, in order."""
        return self._script.outcomes

    def allow(self, tool: str, *, addresses: tuple[str, ...] = (), once: bool = False) -> None:
        """Allow *tool* from now on, or for the next call only (*once*, which can be queued)."""
        self._set(
            tool,
            _Answer(
                effect=Effect.ALLOW,
                reason=Reason("POLICY_ALLOW", "the test allows it"),
                obligations=Obligations(addresses=addresses),
            ),
            once,
        )

    def deny(
        self,
        tool: str,
        code: str = "POLICY_DENY",
        text: str = "the test denies it",
        *,
        once: bool = False,
    ) -> None:
        """Deny *tool* from now on, or for the next call only."""
        self._set(tool, _Answer(effect=Effect.DENY, reason=Reason(code, text)), once)

    def hold(self, tool: str, text: str = "the test holds it", *, once: bool = False) -> None:
        """Hold *tool* for a human from now on, or for the next call only."""
        self._set(
            tool,
            _Answer(
                effect=Effect.HOLD,
                reason=Reason("POLICY_HOLD", text),
                obligations=Obligations(hold_reason=text, hold_tier="MEDIUM", hold_quorum=1),
            ),
            once,
        )

    def kill(self, level: str = "KILL") -> None:
        """Contain the agent (``KILL`` or ``FREEZE``): all is denied, work is cancelled."""
        if level not in ("KILL", "FREEZE"):
            raise ValueError("only KILL and FREEZE cancel what is in flight")
        self._script.contain(level)

    def release(self) -> None:
        """End the containment."""
        self._script.contain("")

    def _set(self, tool: str, answer: _Answer, once: bool) -> None:
        if once:
            self._script.queues.setdefault(tool, []).append(answer)
        else:
            self._script.answers[tool] = answer


class FakeGuard(_Scripting, Guard):
    """A ``Guard`` that asks a script."""

    def __init__(self, *, session: str = "") -> None:
        super().__init__(_ADDRESS, session=session)
        self._script = _Script(session)
        self._state = self._script.state
        self._fake_twin = FakeSyncGuard(_script=self._script)

    async def authorize(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes,
        *,
        url: str | None = None,
        cwd: str | None = None,
        nonce: str | None = None,
        session: str | None = None,
    ) -> Decision:
        """Return what the script says."""
        return self._script.decide(tool, arguments, url=url, cwd=cwd, nonce=nonce, session=session)

    async def wait_ready(self, timeout: timedelta | float) -> None:
        """Return: a script is always ready."""

    async def log(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
        timeout: timedelta | float = 0.0,
    ) -> LogConfirmation:
        """Record the outcome."""
        return self._script.note(decision_id, result, detail, response_digest)

    async def aclose(self) -> None:
        """Deny from now on."""
        self._script.is_closed = True

    @property
    def sync(self) -> SyncGuard:
        """The blocking twin of the same script."""
        return self._fake_twin

    def _start(self) -> None:
        """Nothing is watched."""

    def _report(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
    ) -> None:
        self._script.note(decision_id, result, detail, response_digest)


class FakeSyncGuard(_Scripting, SyncGuard):
    """A ``SyncGuard`` that asks a script, in the caller's thread."""

    def __init__(self, *, session: str = "", _script: _Script | None = None) -> None:
        super().__init__(_ADDRESS, session=session)
        self._script = _script or _Script(session)
        self._script.state.listen(self._changed)

    def authorize(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes,
        *,
        url: str | None = None,
        cwd: str | None = None,
        nonce: str | None = None,
        session: str | None = None,
    ) -> Decision:
        """Return what the script says."""
        return self._script.decide(tool, arguments, url=url, cwd=cwd, nonce=nonce, session=session)

    def wait_ready(self, timeout: timedelta | float) -> None:
        """Return: a script is always ready."""

    def log(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
        timeout: timedelta | float = 0.0,
    ) -> LogConfirmation:
        """Record the outcome."""
        return self._script.note(decision_id, result, detail, response_digest)

    def close(self) -> None:
        """Deny from now on."""
        self._script.is_closed = True

    @property
    def containment(self) -> Containment:
        """How tightly the script holds the agent."""
        return self._script.state.latest

    def _watching(self) -> None:
        """Nothing is watched."""

    def _changed(self, is_killed: bool) -> None:
        if is_killed:
            self._killed.set()
        else:
            self._killed.clear()

    def _report(
        self,
        decision_id: str,
        result: Result,
        *,
        detail: str = "",
        duration: timedelta | None = None,
        response_digest: str = "",
    ) -> None:
        self._script.note(decision_id, result, detail, response_digest)
