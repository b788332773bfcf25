# SPDX-License-Identifier: Apache-2.0
"""Agents: where each stands, what it did, and the lever.

Laws: GET shows; the lever is a POST that names the agent once more, typed by a human; what comes of
it is a receipt, or a request that waits for a second human, never just "accepted".
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from aiohttp import web

from sidecar.containment.orders import ContainmentOrder
from sidecar.errors import HoldfastError, NotFoundError, RefusedError, UntrustedInputError
from sidecar.model import Level, Target, TargetKind
from sidecar.web.access import AGENT_ROLES, CONTAIN_ROLES, form_of, require, visitor_of
from sidecar.web.console import Console
from sidecar.web.graph import draw_reach
from sidecar.web.ports import AgentView, Held, LogEntry
from sidecar.web.render import see_other, wants_json
from sidecar.web.timeline_svg import MAX_CALLS, draw_calls
from sidecar.web.twins import agent_twin

__all__ = ["LEVELS", "AgentPages"]

_TIMEOUT_S: Final = 3.0
_MAX_EPOCH_DIGITS: Final = 19

LEVELS: Final = (
    (Level.OBSERVE, "observe", "calls pass and are marked"),
    (Level.THROTTLE, "throttle", "calls pass at a low rate"),
    (Level.HOLD, "hold", "every call waits for a human"),
    (Level.READ_ONLY, "read-only", "only tools that read pass"),
    (Level.FREEZE, "freeze", "every call is denied, the process is kept"),
    (Level.KILL, "kill", "every call is denied, tokens are revoked, the runtime is stopped"),
)
_LEVEL_NAMES: Final = {name: level for level, name, _ in LEVELS}
_SPANS: Final = {
    "": ("until it is released", None),
    "1h": ("for 1 hour", timedelta(hours=1)),
    "8h": ("for 8 hours", timedelta(hours=8)),
    "1d": ("for 1 day", timedelta(days=1)),
    "7d": ("for 7 days", timedelta(days=7)),
}


class AgentPages:
    """``/agents…`` and ``/directives/…``."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/agents", self.index),
            web.get("/agents/{agent}", self.show),
            web.get("/agents/{agent}/contain", self.back),
            web.post("/agents/{agent}/contain", self.contain),
            web.get("/directives/{epoch}", self.directive),
        ]

    async def index(self, request: web.Request) -> web.Response:
        """Answer ``GET /agents``."""
        require(visitor_of(request), AGENT_ROLES)
        agents = await self._console.ports.fleet.agents()
        if wants_json(request):
            return web.json_response({"agents": [agent_twin(agent) for agent in agents]})
        ordered = sorted(agents, key=lambda agent: (-(agent.level or 0), agent.agent))
        return await self._console.page(request, "agents.html", {"agents": ordered})

    async def show(self, request: web.Request) -> web.Response:
        """Answer ``GET /agents/{agent}``."""
        require(visitor_of(request), AGENT_ROLES)
        agent = await self._console.ports.fleet.agent(request.match_info["agent"])
        if wants_json(request):
            return web.json_response(agent_twin(agent))
        return await self._page(request, agent, {}, {})

    async def back(self, request: web.Request) -> web.Response:
        """Answer ``GET /agents/{agent}/contain``: a reload after a mistake in the form."""
        return see_other(f"/agents/{quote(request.match_info['agent'], safe='')}")

    async def contain(self, request: web.Request) -> web.StreamResponse:
        """Answer ``POST /agents/{agent}/contain``."""
        visitor = visitor_of(request)
        require(visitor, CONTAIN_ROLES)
        form = form_of(request)
        agent = await self._console.ports.fleet.agent(request.match_info["agent"])
        errors: dict[str, str] = {}
        level = _LEVEL_NAMES.get(form.get("level", ""))
        if level is None:
            errors["level"] = "Choose a level."
        reason = " ".join(form.get("reason", "").split())
        if not reason:
            errors["reason"] = "Say why: it goes into the log and the receipt."
        if form.get("confirm", "") != agent.agent:
            errors["confirm"] = "Type the agent's name exactly as it stands here."
        span = _SPANS.get(form.get("ttl", ""))
        if span is None:
            raise UntrustedInputError("the form names a span that is not offered")
        if errors or level is None:
            return await self._page(request, agent, form, errors, status=422)
        try:
            order = ContainmentOrder(
                request_id=form.get("request_id", ""),
                target=Target(kind=TargetKind.AGENT, agent=agent.agent),
                level=level,
                reason=reason,
                ttl=span[1],
            )
            answer = await self._console.ports.containment.contain(order, visitor.operator)
        except (UntrustedInputError, RefusedError) as exc:
            status = 400 if isinstance(exc, UntrustedInputError) else 403
            return await self._page(request, agent, form, {"": exc.message}, status=status)
        if isinstance(answer, Held):
            return see_other(f"/approvals/{quote(answer.approval_id, safe='')}?asked=1")
        return see_other(f"/directives/{answer.receipt.directive.epoch}?done=1")

    async def directive(self, request: web.Request) -> web.Response:
        """Answer ``GET /directives/{epoch}``: the receipt as it stands now."""
        require(visitor_of(request), AGENT_ROLES)
        text = request.match_info["epoch"]
        if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_EPOCH_DIGITS):
            raise NotFoundError("There is no such directive.")
        receipt = await self._console.ports.containment.receipt(int(text))
        if wants_json(request):
            return web.json_response(receipt.to_json())
        context = {"receipt": receipt, "was_just_ordered": "done" in request.query}
        return await self._console.page(request, "directive.html", context)

    async def _page(
        self,
        request: web.Request,
        agent: AgentView,
        form: dict[str, str],
        errors: dict[str, str],
        *,
        status: int = 200,
    ) -> web.Response:
        calls, problem = await self._calls(agent.agent)
        context: dict[str, Any] = {
            "agent": agent,
            "calls": calls,
            "problem": problem,
            "calls_svg": draw_calls(calls[::-1]) if calls else "",
            "reach_svg": draw_reach(agent.agent, agent.tools) if agent.tools else "",
            "levels": LEVELS,
            "spans": [(value, text) for value, (text, _) in _SPANS.items()],
            "form": form,
            "errors": errors,
            "request_id": form.get("request_id") or self._console.ids.new("contain"),
        }
        return await self._console.page(request, "agent.html", context, status=status)

    async def _calls(self, agent: str) -> tuple[list[LogEntry], str]:
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return list(await self._console.ports.timeline.of_agent(agent, limit=MAX_CALLS)), ""
        except (HoldfastError, TimeoutError):
            return [], "The gate's log could not be read at the moment."
