# SPDX-License-Identifier: Apache-2.0
"""Approvals on the wire: look, decide, watch.

Laws:

1. Whoever calls decides, and nobody else: the vote carries the identity that the transport gave, and
   there is no other way in here.
2. What is none of the caller's business is answered exactly like what does not exist, a name that
   cannot exist included: the same status, the same words, nothing that repeats the name.
3. The canonical form goes to humans with the request's role only. Automation, and whoever may
   merely audit or contain or asked for it, reads who wants to run what, and no argument. Whoever
   may merely contain reads so of agents' calls, not of colleagues' actions, and not why people
   voted as they did: people quote.
4. A long stream asks anew, for each message, who its caller is by then.
5. For a caller that is limited to some agents, what is not about one of them does not exist.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from sidecar.api.v1 import approval_pb2, approval_pb2_grpc
from sidecar.approvals.answers import Ballot
from sidecar.approvals.eligibility import fold
from sidecar.approvals.service import Approvals
from sidecar.approvals.transitions import missing
from sidecar.approvals.values import Approval, ApprovalState, Request, RequestKind
from sidecar.control.convert import approval_message, channel_of, page_of, verdict_of
from sidecar.control.interceptor import caller, current_caller
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    UntrustedInputError,
)
from sidecar.identifiers import check_agent_id, check_request_id
from sidecar.model import Operator, OperatorKind, Role
from sidecar.operations.forms import agent_in

__all__ = ["ApprovalServicer", "approver_names", "is_within", "page_token_of"]

_NAME: Final = re.compile(r"approvals/(apr_[0-9a-f]{32})", re.ASCII)
_TOKEN: Final = re.compile(r"apr_[0-9a-f]{32}", re.ASCII)
_CHUNK: Final = 200
_MAX_EXAMINED: Final = 20_000
"""Approvals that one question for a page may make us look at; the next page goes on from there. Only
then can a token name one that the caller may not see: an id opens nothing."""
_MAX_BACKLOG: Final = 1024
"""Changes that a watcher who does not read may leave behind before its stream is ended."""
_DECIDERS: Final = (Role.APPROVE, Role.RELEASE, Role.POLICY_APPROVE)


def page_token_of(text: str) -> str | None:
    """Return where the page that a request asks for begins; None for the first.

    Raises:
        UntrustedInputError: It is no token of ours.
    """
    if text and not _TOKEN.fullmatch(text):
        raise UntrustedInputError(
            "page_token is not one that an earlier answer gave",
            reason=ErrorReason.INVALID_ARGUMENT,
        )
    return text or None


def id_of(name: str) -> str:
    """Return the id in ``approvals/<id>``.

    Raises:
        NotFoundError: It is no such name; nobody learns whether it could have been one (law 2).
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise missing()
    return match[1]


def is_within(request: Request, operator: Operator) -> bool:
    """Return whether *request* is about what *operator* is limited to, if they are limited."""
    if not operator.agents:
        return True
    agent = agent_in(request)
    return bool(agent) and operator.may_touch(agent)


def approver_names(approvals: Approvals, approval: Approval) -> tuple[str, ...]:
    """Return who may decide *approval* now, by operator name; nobody if that cannot be found out."""
    if approval.state is not ApprovalState.PENDING:
        return ()
    try:
        members = approvals.electorate(approval.request).operators
    except HoldfastError:
        return ()
    voted = {fold(vote.human_id) for vote in approval.votes}
    return tuple(member.name for member in members if fold(member.human_id) not in voted)


class _Watcher:
    """One open stream: the changes that it has not told yet."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self._changes: deque[Approval] = deque()
        self._has_more = asyncio.Event()
        self._is_behind = False

    def put(self, approval: Approval) -> None:
        """Note a change; never blocks."""
        if len(self._changes) >= _MAX_BACKLOG:
            self._is_behind = True
            self._changes.clear()
        if not self._is_behind:
            self._changes.append(approval)
        self._has_more.set()

    async def next(self) -> Approval:
        """Return the next change.

        Raises:
            EnvironmentFailure: Some were lost, because nobody read them.
        """
        while not self._changes:
            if self._is_behind:
                raise EnvironmentFailure(
                    "this stream is too far behind: changes were lost",
                    reason=ErrorReason.DEADLINE,
                    hint="watch again, which begins with what waits",
                )
            self._has_more.clear()
            await self._has_more.wait()
        return self._changes.popleft()


class ApprovalServicer(approval_pb2_grpc.ApprovalServiceServicer):
    """Answers ``ApprovalService``.

    Args:
        approvals: The approvals.
        urls: From an approval's id to the page where a human decides it, or "".
    """

    def __init__(self, *, approvals: Approvals, urls: Callable[[str], str]) -> None:
        self._approvals = approvals
        self._urls = urls
        self._watchers: set[_Watcher] = set()
        approvals.add_listener(self._changed)

    @property
    def watchers(self) -> int:
        """How many people with a role that decides are watching now."""
        return sum(_can_decide(watcher.operator) for watcher in self._watchers)

    @property
    def watching(self) -> frozenset[str]:
        """Their operator names."""
        return frozenset(w.operator.name for w in self._watchers if _can_decide(w.operator))

    async def ListApprovals(  # noqa: N802 - the names are the proto's
        self, request: approval_pb2.ListApprovalsRequest, context: grpc.aio.ServicerContext
    ) -> approval_pb2.ListApprovalsResponse:
        """List what the caller may see, newest first."""
        limit, _ = page_of(request.page_size, "")
        before = page_token_of(request.page_token)
        agent = check_agent_id(request.agent) if request.agent else ""
        operator = caller()
        found: list[Approval] = []
        examined = 0
        while True:
            page = await self._approvals.list(
                pending_only=request.pending_only or request.mine_only,
                agent=agent,
                limit=_CHUNK,
                before=before,
            )
            found += [
                item
                for item in page.approvals
                if self._is_wanted(item, operator, is_mine=request.mine_only)
            ]
            examined += len(page.approvals)
            before = page.next_before
            if before is None or len(found) > limit or examined >= _MAX_EXAMINED:
                break
        if len(found) > limit:
            found, before = found[:limit], found[limit - 1].id
        return approval_pb2.ListApprovalsResponse(
            approvals=[self._message(item, operator) for item in found],
            next_page_token=before or "",
        )

    async def GetApproval(  # noqa: N802
        self, request: approval_pb2.GetApprovalRequest, context: grpc.aio.ServicerContext
    ) -> approval_pb2.GetApprovalResponse:
        """Return one that the caller may see."""
        operator = caller()
        approval = await self._approvals.get(id_of(request.name))
        if not self._may_read(approval, operator):
            raise missing()  # law 2
        return approval_pb2.GetApprovalResponse(approval=self._message(approval, operator))

    async def DecideApproval(  # noqa: N802
        self, request: approval_pb2.DecideApprovalRequest, context: grpc.aio.ServicerContext
    ) -> approval_pb2.DecideApprovalResponse:
        """Count the caller's own vote (law 1)."""
        operator = caller()
        ballot = Ballot(
            approval_id=id_of(request.name),
            verdict=verdict_of(request.verdict),
            fingerprint=request.fingerprint,
            reason=request.reason,
            request_id=check_request_id(request.request_id),
            channel=channel_of(request.channel),
            assertion=request.passkey_assertion,
        )
        answer = await self._approvals.decide(ballot, operator)
        return approval_pb2.DecideApprovalResponse(
            approval=self._message(answer.approval, operator),
            repeated_request=answer.is_repeated,
        )

    async def WatchApprovals(  # noqa: N802
        self, request: approval_pb2.WatchApprovalsRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[approval_pb2.WatchApprovalsResponse]:
        """Stream what waits, then every change; of the caller's own ones also how they ended."""
        is_mine = request.mine_only
        with self._watching(caller()) as watcher:
            told: dict[str, int] = {}
            async for approval in self._pending(context):
                operator = watcher.operator = current_caller()  # law 4
                if self._is_wanted(approval, operator, is_mine=is_mine):
                    told[approval.id] = approval.version
                    yield approval_pb2.WatchApprovalsResponse(
                        approval=self._message(approval, operator), initial=True
                    )
            while True:
                approval = await watcher.next()
                operator = watcher.operator = current_caller()  # law 4
                if approval.version <= told.get(approval.id, 0):
                    continue  # it was in the list already
                is_known = approval.id in told and self._may_read(approval, operator)
                if not is_known and not self._is_wanted(approval, operator, is_mine=is_mine):
                    continue
                if approval.is_live:
                    told[approval.id] = approval.version
                else:
                    told.pop(approval.id, None)
                yield approval_pb2.WatchApprovalsResponse(
                    approval=self._message(approval, operator)
                )

    # -- who may see what -------------------------------------------------------------------------

    def _is_wanted(self, approval: Approval, operator: Operator, *, is_mine: bool) -> bool:
        return self._may_read(approval, operator) and (
            not is_mine or self._approvals.may_decide(approval, operator)
        )

    def _may_read(self, approval: Approval, operator: Operator) -> bool:
        if not is_within(approval.request, operator):
            return False  # law 5
        if self._approvals.may_see(approval, operator):
            return True
        is_call = approval.request.kind is RequestKind.CALL
        return is_call and Role.CONTAIN in operator.roles  # law 3

    def _message(self, approval: Approval, operator: Operator) -> approval_pb2.Approval:
        return approval_message(
            approval,
            url=self._urls(approval.id),
            approvers=approver_names(self._approvals, approval),
            is_shown=_is_member(operator, approval.request.role),  # law 3
            has_reasons=self._approvals.may_see(approval, operator),
        )

    # -- streams ----------------------------------------------------------------------------------

    async def _pending(self, context: grpc.aio.ServicerContext) -> AsyncIterator[Approval]:
        """Yield what waits; from the first look on the caller knows that it is admitted."""
        before: str | None = None
        while True:
            page = await self._approvals.list(pending_only=True, limit=_CHUNK, before=before)
            if before is None:
                await context.send_initial_metadata(())
            for approval in page.approvals:
                yield approval
            before = page.next_before
            if before is None:
                return

    def _changed(self, approval: Approval) -> None:
        for watcher in self._watchers:
            watcher.put(approval)

    @contextmanager
    def _watching(self, operator: Operator) -> Iterator[_Watcher]:
        watcher = _Watcher(operator)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)


def _is_member(operator: Operator, role: Role) -> bool:
    return operator.kind is OperatorKind.HUMAN and role in operator.roles


def _can_decide(operator: Operator) -> bool:
    return any(_is_member(operator, role) for role in _DECIDERS)
