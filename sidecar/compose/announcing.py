# SPDX-License-Identifier: Apache-2.0
"""Between the approvals and the channels: what approvers are told, and whether anybody can be.

A notice holds no argument that the registry hides: the sentence is made anew from the canonical call
with what may be shown. Who is written to are those who may decide at that moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from sidecar.approvals.eligibility import electorate_of
from sidecar.approvals.ports import Directory
from sidecar.approvals.values import Approval, Request, RequestKind
from sidecar.canonical import fingerprint_words
from sidecar.clock import Clock
from sidecar.control.policies import ControlPolicy
from sidecar.control.summary import call_sentence
from sidecar.errors import HoldfastError
from sidecar.model import Operator
from sidecar.notify.notice import Notice, NoticeKind
from sidecar.notify.notifier import Notifier

__all__ = ["ApprovalAnnouncer", "ApprovalReach"]

_KINDS: Final = {
    "opened": NoticeKind.OPENED,
    "reminder": NoticeKind.REMINDER,
    "escalation": NoticeKind.ESCALATION,
    "decided": NoticeKind.DECIDED,
}
log = structlog.get_logger("holdfast.control")


class ApprovalReach:
    """Implements ``approvals.ports.Reach`` over the channels."""

    def __init__(self, *, notifier: Notifier) -> None:
        self._notifier = notifier

    def refusal(self, request: Request) -> str:
        """Return why nobody can be told, or nothing."""
        return self._notifier.refusal(request.tier.name)


class ApprovalAnnouncer:
    """Implements ``approvals.ports.Announcer`` over the channels."""

    def __init__(
        self,
        *,
        notifier: Notifier,
        policy: ControlPolicy,
        directory: Directory,
        url: Callable[[str], str],
        clock: Clock,
    ) -> None:
        self._notifier = notifier
        self._policy = policy
        self._directory = directory
        self._url = url
        self._clock = clock

    def announce(self, approval: Approval, kind: str) -> None:
        """Tell of *approval*."""
        log.info(
            "approval " + kind,
            approval=approval.id,
            state=approval.state.value,
            agent=approval.request.agent,
            tier=approval.request.tier.name,
            url=self._url(approval.id),
        )
        try:
            self._notifier.notify(self._notice(approval, _KINDS[kind]))
        except Exception:
            # A sentence that cannot be made must not stop a decision; approvers see the page.
            log.exception("a notice could not be made", approval=approval.id)

    def alert(self, agent: str, text: str) -> None:
        """Tell operators that *agent* asks more than it may."""
        log.warning("approval alert", agent=agent, problem=text)
        now = self._clock.wall_ns()
        self._notifier.notify(
            Notice(
                kind=NoticeKind.ALERT,
                approval="",
                summary=text,
                reason="",
                tier="",
                state="",
                words="",
                create_time_ns=now,
                expire_time_ns=0,
                url=self._url(""),
                command=f"holdfast approvals list --agent {agent}",
                agent=agent,
                addresses=self._addresses(self._directory.operators()),
                detail=text,
            )
        )

    def _notice(self, approval: Approval, kind: NoticeKind) -> Notice:
        request = approval.request
        operators = self._electors(request)
        return Notice(
            kind=kind,
            approval=approval.name,
            summary=self._sentence(request),
            reason=request.reason,
            tier=request.tier.name,
            state=approval.state.value,
            words=fingerprint_words(request.fingerprint),
            create_time_ns=approval.create_time_ns,
            expire_time_ns=approval.expire_time_ns,
            url=self._url(approval.id),
            command=f"holdfast approvals show {approval.id}",
            agent=request.agent,
            tool=request.tool,
            approvers=tuple(operator.name for operator in operators),
            addresses=self._addresses(operators),
            detail=approval.detail,
        )

    def _electors(self, request: Request) -> tuple[Operator, ...]:
        try:
            return electorate_of(request, self._directory.operators()).operators
        except HoldfastError:
            return ()

    def _sentence(self, request: Request) -> str:
        if request.kind is not RequestKind.CALL:
            return request.summary
        tool = self._policy.state.bundle.tools.get(request.tool)
        if tool is None or not request.canonical:
            return f"agent {request.agent} wants to run {request.tool}"
        arguments = json.loads(request.canonical)["arguments"]
        return call_sentence(request.agent, tool, arguments, is_public=True)

    @staticmethod
    def _addresses(operators: Iterable[Operator]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(email for each in operators for email in each.emails))
