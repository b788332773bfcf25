# SPDX-License-Identifier: Apache-2.0
"""What every page of the console is given, in one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sidecar.clock import Clock
from sidecar.ids import Ids
from sidecar.web.approval_view import Gatherer
from sidecar.web.aside import Aside
from sidecar.web.config import ConsoleConfig
from sidecar.web.events import EventHub
from sidecar.web.flash import Flash
from sidecar.web.ports import ConsolePorts
from sidecar.web.render import Pages
from sidecar.web.security import Guard
from sidecar.web.sessions import Sessions

__all__ = ["Console"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The parts that pages share."""

    ports: ConsolePorts
    config: ConsoleConfig
    clock: Clock
    ids: Ids
    pages: Pages
    guard: Guard
    hub: EventHub
    flash: Flash
    sessions: Sessions
    gather: Gatherer
    aside: Aside

    async def page(
        self,
        request: web.Request,
        template: str,
        context: Mapping[str, Any],
        *,
        status: int = 200,
    ) -> web.Response:
        """Return *template* with *context*, made beside the loop."""
        return await self.aside.run(lambda: self.pages(request, template, context, status=status))
