# SPDX-License-Identifier: Apache-2.0
"""Guards for the tests of agents: scripted decisions, recorded calls, no gate.

::

    async def test_refund_is_not_made_when_denied() -> None:
        guard = FakeGuard()
        guard.deny("payments.refund", "POLICY_DENY", "refunds need a ticket")

        answer = await my_agent(guard).refund("cust_1")

        assert "ticket" in answer
        assert guard.calls[0].arguments == {"customer": "cust_1"}


    async def test_refund_waits_for_a_human() -> None:
        guard = FakeGuard(hold_timeout=60)
        guard.hold("payments.refund", then="GRANTED")

        assert await my_agent(guard).refund("cust_1") == "refunded"

Laws:

1. What is not scripted is denied, as an empty policy denies it.
2. Everything else is the real thing: the same forms, errors, texts and argument rules.
3. Nothing ever waits. What the script says of a held call happens when somebody begins to wait for
   it; where it says nothing, the time is taken to have passed.
4. A grant is for the identical call, once, and beats no denial.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sidecar.sdk._holds import HeldCall, approval_name
from sidecar.sdk._script import Answer, RecordedCall, RecordedOutcome, Script
from sidecar.sdk.guard import Guard
from sidecar.sdk.sync import SyncGuard
from sidecar.sdk.values import (
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

__all__ = ["FakeGuard", "FakeSyncGuard", "RecordedCall", "RecordedOutcome"]

_ADDRESS: Final = "unix:/nonexistent/guard.sock"
_ENDS: Final = frozenset(ApprovalState) - {
    ApprovalState.PENDING,
    ApprovalState.CONSUMED,
    ApprovalState.UNKNOWN,
}


class _Scripting:
    """The methods by which a test tells a fake what to answer."""

    _script: Script

    @property
    def calls(self) -> list[RecordedCall]:
        """Every question that was asked, in order."""
        return self._script.calls

    @property
    def outcomes(self) -> list[RecordedOutcome]:
        """Every outcome that was reported, in order."""
        return self._script.outcomes

    @property
    def withdrawn(self) -> list[str]:
        """The requests that were withdrawn, by the agent, a kill or the script, in order."""
        cancelled = ApprovalState.CANCELLED
        return [name for name, r in self._script.requests.items() if r.state is cancelled]

    def allow(self, tool: str, *, addresses: tuple[str, ...] = (), once: bool = False) -> None:
        """Allow *tool* from now on, or for the next call only (*once*, which can be queued)."""
        self._set(
            tool,
            Answer(
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
        self._set(tool, Answer(effect=Effect.DENY, reason=Reason(code, text)), once)

    def hold(
        self,
        tool: str,
        text: str = "the test holds it",
        *,
        then: str = "",
        by: str = "alice",
        once: bool = False,
    ) -> None:
        """Hold *tool* for a human from now on, or for the next call only.

        Args:
            tool: The tool.
            text: Why a human must decide.
            then: What the human does as soon as somebody waits: ``GRANTED``, ``REFUSED``,
                ``EXPIRED`` or ``CANCELLED``. Empty: nothing, in all the time the caller waits.
            by: Who may decide, and does.
            once: For the next call only.
        """
        state = ApprovalState(then) if then else None
        if state is not None and state not in _ENDS:
            raise ValueError(f"a human can't make a request {then}")
        self._set(
            tool,
            Answer(
                effect=Effect.HOLD,
                reason=Reason("POLICY_HOLD", text),
                obligations=Obligations(
                    hold_reason=text,
                    hold_tier="MEDIUM",
                    hold_quorum=1,
                    hold_approvers=(by,),
                    hold_expire_time=datetime.now(UTC) + timedelta(hours=1),
                ),
                then=state,
                by=by,
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

    def _set(self, tool: str, answer: Answer, once: bool) -> None:
        if once:
            self._script.queues.setdefault(tool, []).append(answer)
        else:
            self._script.answers[tool] = answer


class FakeGuard(_Scripting, Guard):
    """A ``Guard`` that asks a script."""

    def __init__(self, *, session: str = "", hold_timeout: timedelta | float = 0.0) -> None:
        super().__init__(_ADDRESS, session=session, hold_timeout=hold_timeout)
        self._script = Script(session)
        self._state = self._script.state
        self._fake_twin = FakeSyncGuard(hold_timeout=hold_timeout, _script=self._script)

    async def authorize(
        self,
        tool: str,
        arguments: Mapping[str, Any] | bytes,
        *,
        url: str | None = None,
        cwd: str | None = None,
        nonce: str | None = None,
        session: str | None = None,
        hold_timeout: timedelta | float | None = None,
    ) -> Decision:
        """Return what the script says."""
        return self._script.decide(
            self,
            tool,
            arguments,
            url=url,
            cwd=cwd,
            nonce=nonce,
            session=session,
            hold_timeout=hold_timeout,
        )

    async def wait_approval(
        self, approval: Decision | str, timeout: timedelta | float
    ) -> ApprovalStatus:
        """Return what the script says has come of the request."""
        return self._script.look(approval_name(approval))

    async def cancel_approval(self, approval: Decision | str) -> ApprovalStatus:
        """Withdraw the request."""
        return self._script.look(approval_name(approval), withdraw=True)

    async def _outlast(self, held: Decision, call: HeldCall, timeout_s: float) -> Decision:
        return self._script.outlast(self, held, call)

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

    def __init__(
        self,
        *,
        session: str = "",
        hold_timeout: timedelta | float = 0.0,
        _script: Script | None = None,
    ) -> None:
        super().__init__(_ADDRESS, session=session, hold_timeout=hold_timeout)
        self._script = _script or Script(session)
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
        hold_timeout: timedelta | float | None = None,
    ) -> Decision:
        """Return what the script says."""
        return self._script.decide(
            self,
            tool,
            arguments,
            url=url,
            cwd=cwd,
            nonce=nonce,
            session=session,
            hold_timeout=hold_timeout,
        )

    def wait_approval(self, approval: Decision | str, timeout: timedelta | float) -> ApprovalStatus:
        """Return what the script says has come of the request."""
        return self._script.look(approval_name(approval))

    def cancel_approval(self, approval: Decision | str) -> ApprovalStatus:
        """Withdraw the request."""
        return self._script.look(approval_name(approval), withdraw=True)

    def _outlast(self, held: Decision, call: HeldCall, timeout_s: float) -> Decision:
        return self._script.outlast(self, held, call)

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
