# SPDX-License-Identifier: Apache-2.0
"""Everything that an approval's page shows, gathered before it is shown.

Laws:

1. What is shown is made from the canonical bytes, after they were hashed and compared with the
   fingerprint (D18). If they differ, nothing of it is shown and nothing can be decided here.
2. What somebody decides on (the bytes, the tier, who may vote) never depends on another component;
   what helps them (agent, history, policies) may be missing, and then the page says so.
3. Arguments are for those who may decide, and for whoever asked; auditors see that there are some.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from markupsafe import Markup

from sidecar.approvals.values import Approval, Request, RequestKind, Verdict, Vote
from sidecar.containment.receipt import Receipt
from sidecar.errors import HoldfastError, NotFoundError
from sidecar.model import Operator, ToolClass
from sidecar.operations.values import Action, Outcome
from sidecar.web.approval_facts import is_genuine, may_read, must_read_to_end, vote_of, why_not
from sidecar.web.aside import Aside
from sidecar.web.config import ConsoleConfig
from sidecar.web.diff import Diff, compare
from sidecar.web.graph import draw_reach
from sidecar.web.ports import (
    AgentView,
    ConsolePorts,
    Explanation,
    LogEntry,
    ToolView,
)
from sidecar.web.pretty import Line, all_pieces, lay_out
from sidecar.web.sentence import Sentence, say
from sidecar.web.text import count_chips, explain_chips
from sidecar.web.timeline_svg import draw_calls

__all__ = [
    "ApprovalView",
    "Content",
    "Found",
    "Gatherer",
]

_Value = TypeVar("_Value")
_TIMEOUT_S: Final = 3.0
_CALLS: Final = 10
_EARLIER: Final = 5
_LOOK_BACK: Final = 50

_REVERSIBLE: Final = {
    ToolClass.READ: "It reads only: there is nothing to take back, but what was read is known.",
    ToolClass.WRITE: "It changes something that can be changed back.",
    ToolClass.DESTRUCTIVE: "It cannot be taken back.",
    ToolClass.EXTERNAL: "It reaches people or systems outside: it cannot be taken back.",
}


@dataclass(frozen=True, slots=True)
class Found(Generic[_Value]):
    """What a port answered: a value, or why there is none."""

    value: _Value | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The bytes to decide on, laid out."""

    lines: tuple[Line, ...]
    byte_count: int
    hidden: tuple[str, ...]
    """What is in it that cannot be seen or looks like something else, in words."""
    must_read_to_end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalView:
    """One approval as one operator sees it."""

    approval: Approval
    sentence: Sentence
    content: Content | None
    """None if this operator may not read arguments, or they are no longer kept."""
    granted_count: int
    electors: tuple[Operator, ...]
    own_vote: Vote | None
    may_decide: bool
    why_not: str
    diff: Diff | None = None
    previous: Approval | None = None
    agent: Found[AgentView] = field(default_factory=Found)
    tool: Found[ToolView] = field(default_factory=Found)
    reversible: str = ""
    explanation: Found[Explanation] = field(default_factory=Found)
    calls: Found[tuple[LogEntry, ...]] = field(default_factory=Found)
    earlier: Found[tuple[Approval, ...]] = field(default_factory=Found)
    reach_svg: Markup = field(default_factory=Markup)
    calls_svg: Markup = field(default_factory=Markup)
    outcome: Outcome | None = None
    """What carrying out an ACTION gave; None until it has ended."""
    receipt: Found[Receipt] = field(default_factory=Found)

    @property
    def request(self) -> Request:
        """What is asked."""
        return self.approval.request

    @property
    def is_call(self) -> bool:
        """Whether an agent asks, not an operator."""
        return self.request.kind is RequestKind.CALL


class Gatherer:
    """Gathers views."""

    def __init__(self, *, ports: ConsolePorts, config: ConsoleConfig, aside: Aside) -> None:
        self._ports = ports
        self._config = config
        self._aside = aside

    def sentence(self, approval: Approval, caller: Operator) -> Sentence:
        """Return the one sentence; without arguments if they are not for *caller* or not genuine."""
        request = approval.request
        is_readable = may_read(request, caller) and is_genuine(request)
        return say(request, is_readable=is_readable)

    async def sentences(
        self, approvals: Sequence[Approval], caller: Operator
    ) -> dict[str, Sentence]:
        """Return the sentences of *approvals* by id."""
        return await self._aside.run(
            lambda: {item.id: self.sentence(item, caller) for item in approvals}
        )

    async def must_read(self, request: Request) -> bool:
        """Return whether a grant of *request* needs that the end of the text was shown (D17)."""
        lines = await self._aside.run(lambda: lay_out(request.canonical))
        return must_read_to_end(request, len(lines), self._config)

    async def view(self, approval: Approval, caller: Operator) -> ApprovalView:
        """Return *approval* as *caller* sees it; its bytes must be genuine or no longer kept."""
        request = approval.request
        desk = self._ports.approvals
        own_vote = vote_of(approval, caller)
        may_decide = own_vote is None and desk.may_decide(approval, caller)
        is_readable = may_read(request, caller) and bool(request.canonical)
        outcome = _outcome(approval)
        agent, tool, explanation, calls, others, receipt = await asyncio.gather(
            self._agent(request),
            self._tool(request),
            self._explanation(request, is_readable=is_readable),
            self._calls(request),
            self._others(approval, caller),
            self._receipt(outcome),
        )
        earlier = tuple(item for item in others.value or () if not item.is_live)

        def lay() -> tuple[Sentence, Content | None, Approval | None, Diff | None]:
            said = self.sentence(approval, caller)
            if not is_readable:
                return said, None, None, None
            return said, self._content(request), *_difference(request, earlier)

        sentence, content, previous, diff = await self._aside.run(lay)
        uses = agent.value.tools if agent.value is not None else ()
        reach = draw_reach(request.agent, uses, tool=request.tool) if uses else Markup("")
        marked = request.decision_id
        return ApprovalView(
            approval=approval,
            sentence=sentence,
            content=content,
            granted_count=sum(vote.verdict is Verdict.GRANT for vote in approval.votes),
            electors=tuple(desk.electorate(request).operators),
            own_vote=own_vote,
            may_decide=may_decide,
            why_not="" if may_decide else why_not(approval, caller, own_vote),
            diff=diff,
            previous=previous,
            agent=agent,
            tool=tool,
            reversible=_reversible(tool.value),
            explanation=explanation,
            calls=calls,
            earlier=Found(earlier[:_EARLIER], others.problem),
            reach_svg=reach,
            calls_svg=draw_calls(calls.value[::-1], marked=marked) if calls.value else Markup(""),
            outcome=outcome,
            receipt=receipt,
        )

    def _content(self, request: Request) -> Content:
        lines = lay_out(request.canonical)
        return Content(
            lines=lines,
            byte_count=len(request.canonical),
            hidden=explain_chips(count_chips(all_pieces(lines))),
            must_read_to_end=must_read_to_end(request, len(lines), self._config),
        )

    async def _agent(self, request: Request) -> Found[AgentView]:
        if not request.agent:
            return Found()
        return await _ask(self._ports.fleet.agent(request.agent), "this agent")

    async def _tool(self, request: Request) -> Found[ToolView]:
        if not request.tool:
            return Found()
        return await _ask(self._ports.fleet.tool(request.tool), "this tool")

    async def _calls(self, request: Request) -> Found[tuple[LogEntry, ...]]:
        if request.kind is not RequestKind.CALL:
            return Found()
        timeline = self._ports.timeline
        found = await _ask(
            timeline.of_agent(request.agent, session=request.session, limit=_CALLS), "the log"
        )
        return Found(tuple(found.value or ()), found.problem)

    async def _receipt(self, outcome: Outcome | None) -> Found[Receipt]:
        if outcome is None or not outcome.directive_epoch:
            return Found()
        return await _ask(self._ports.containment.receipt(outcome.directive_epoch), "the receipt")

    async def _explanation(self, request: Request, *, is_readable: bool) -> Found[Explanation]:
        if request.kind is not RequestKind.CALL:
            return Found()
        explain = self._ports.explain
        call = _parsed(request.canonical) if is_readable else None
        if isinstance(call, dict) and isinstance(call.get("arguments"), dict):
            asked = explain.explain(
                agent=request.agent,
                tool=request.tool,
                arguments=call["arguments"],
                session=request.session,
                url=str(call.get("url", "")),
            )
        else:
            asked = explain.find(tool=request.tool, policies=request.policies)
        return await _ask(asked, "the policies")

    async def _others(self, approval: Approval, caller: Operator) -> Found[tuple[Approval, ...]]:
        """Return other approvals of the same kind, newest first, that *caller* may see."""
        request, desk = approval.request, self._ports.approvals
        found = await _ask(desk.list(agent=request.agent, limit=_LOOK_BACK), "earlier approvals")
        if found.value is None:
            return Found((), found.problem)
        return Found(
            tuple(
                item
                for item in found.value.approvals
                if item.id != approval.id
                and item.create_time_ns <= approval.create_time_ns
                and (item.request.tool, item.request.action) == (request.tool, request.action)
                and desk.may_see(item, caller)
            )
        )


async def _ask(asked: Awaitable[_Value], what: str) -> Found[_Value]:
    """Return what a port answers; law 2: what helps to decide may be missing."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            return Found(await asked)
    except NotFoundError:
        return Found(problem=f"Nothing is known of {what}.")
    except (HoldfastError, TimeoutError):
        return Found(problem=f"Could not be asked for {what} at the moment.")


def _difference(
    request: Request, earlier: tuple[Approval, ...]
) -> tuple[Approval | None, Diff | None]:
    if request.action == Action.CONFIRM:
        return None, None  # two questions have nothing in common that a difference would show
    for item in earlier:
        if item.request.canonical and is_genuine(item.request):
            try:
                return item, compare(item.request.canonical, request.canonical)
            except ValueError:
                return None, None
    return None, None


def _reversible(tool: ToolView | None) -> str:
    if tool is None:
        return ""
    if tool.tool_class is None:
        return "The tool is not declared, so nobody said whether it can be taken back."
    return _REVERSIBLE[tool.tool_class]


def _outcome(approval: Approval) -> Outcome | None:
    if approval.request.kind is not RequestKind.ACTION or not approval.result:
        return None
    return Outcome.from_json(approval.result)


def _parsed(document: str | bytes) -> Any:
    try:
        return json.loads(document) if document else None
    except (ValueError, RecursionError):
        return None
