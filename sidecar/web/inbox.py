# SPDX-License-Identifier: Apache-2.0
"""The inbox: what waits for whoever looks, then what waits for others, then what was decided.

Laws: a GET, and nothing else; what somebody may not see is neither listed nor counted; the most
dangerous that waits for them is on top, and of equals the one that expires first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from sidecar.approvals.values import Approval, ApprovalState, Verdict
from sidecar.model import Operator
from sidecar.web.access import APPROVAL_ROLES, visitor_of
from sidecar.web.approval_facts import vote_of
from sidecar.web.console import Console
from sidecar.web.render import wants_json
from sidecar.web.sentence import Sentence
from sidecar.web.twins import approval_twin

__all__ = ["InboxPages"]

_PAGE: Final = 100
_DECIDED_SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One approval of the inbox."""

    approval: Approval
    sentence: Sentence
    granted_count: int
    electors: tuple[str, ...]


class InboxPages:
    """``/``."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [web.get("/", self.inbox)]

    async def inbox(self, request: web.Request) -> web.Response:
        """Answer ``GET /``."""
        visitor = visitor_of(request)
        caller = visitor.operator
        desk = self._console.ports.approvals
        before = request.query.get("before") or None
        waiting: list[Approval] = []
        if before is None:
            found = await desk.list(pending_only=True, limit=_PAGE)
            waiting = [item for item in found.approvals if desk.may_see(item, caller)]
        page = await desk.list(limit=_PAGE if before else _DECIDED_SHOWN, before=before)
        next_before = page.next_before
        decided = [
            item
            for item in page.approvals
            if item.state is not ApprovalState.PENDING and desk.may_see(item, caller)
        ]
        mine = [
            item
            for item in waiting
            if vote_of(item, caller) is None and desk.may_decide(item, caller)
        ]
        others = [item for item in waiting if item not in mine]
        if wants_json(request):
            return web.json_response(
                {
                    "mine": [self._twin(item, caller) for item in mine],
                    "others": [self._twin(item, caller) for item in others],
                    "decided": [self._twin(item, caller) for item in decided],
                    "next_before": next_before,
                }
            )
        mine.sort(key=lambda item: (-item.request.tier, item.expire_time_ns))
        sentences = await self._console.gather.sentences([*mine, *others, *decided], caller)

        def rows(items: Iterable[Approval]) -> list[_Row]:
            return [self._row(item, sentences[item.id]) for item in items]

        context = {
            "mine": rows(mine),
            "others": rows(others),
            "decided": rows(decided),
            "next_before": next_before,
            "is_first": before is None,
            "is_approver": visitor.has_any(APPROVAL_ROLES),
        }
        return await self._console.page(request, "inbox.html", context)

    def _row(self, approval: Approval, sentence: Sentence) -> _Row:
        electors = self._console.ports.approvals.electorate(approval.request).operators
        return _Row(
            approval=approval,
            sentence=sentence,
            granted_count=sum(vote.verdict is Verdict.GRANT for vote in approval.votes),
            electors=tuple(operator.name for operator in electors),
        )

    def _twin(self, approval: Approval, caller: Operator) -> dict[str, Any]:
        electors = self._console.ports.approvals.electorate(approval.request).operators
        return approval_twin(approval, caller, [operator.name for operator in electors])
