# SPDX-License-Identifier: Apache-2.0
"""Puts the console together: one aiohttp application, without a socket and without a clock of its own.

The composition root makes ``Sessions`` and ``Pages`` first, because signing in needs them too, and
then calls ``build_app``. What it gets back serves every page; ``HUB`` in it is told of what changed
outside approvals and counts who watches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiohttp import web

from sidecar.clock import Clock
from sidecar.ids import Ids
from sidecar.web.access import Door
from sidecar.web.agent_pages import AgentPages
from sidecar.web.approval_pages import ApprovalPages
from sidecar.web.approval_view import Gatherer
from sidecar.web.aside import Aside
from sidecar.web.assets import Assets
from sidecar.web.audit_pages import AuditPages
from sidecar.web.config import MAX_BODY_BYTES, ConsoleConfig
from sidecar.web.console import Console
from sidecar.web.events import EventHub
from sidecar.web.flash import Flash
from sidecar.web.inbox import InboxPages
from sidecar.web.ports import ConsolePorts
from sidecar.web.render import Pages
from sidecar.web.security import Guard, add_headers
from sidecar.web.sessions import Sessions

__all__ = ["HUB", "build_app", "make_pages"]

HUB: Final = web.AppKey("hub", EventHub)
"""Where the application keeps its ``EventHub``."""


def make_pages(config: ConsoleConfig, *, clock: Clock) -> Pages:
    """Return the template environment, which signing in uses too (``LoginPorts.page``)."""
    return Pages(config, clock=clock, assets=Assets())


def build_app(
    ports: ConsolePorts,
    config: ConsoleConfig,
    *,
    clock: Clock,
    ids: Ids,
    sessions: Sessions,
    pages: Pages,
    login_routes: Iterable[web.RouteDef] = (),
) -> web.Application:
    """Return the console.

    Args:
        ports: What pages read and do.
        config: How the console is reached.
        clock: Time, for what pages say.
        ids: Makes request ids.
        sessions: Shared with signing in.
        pages: From ``make_pages``; shared with signing in.
        login_routes: The routes of signing in and out. They are public: they check sessions and
            form tokens themselves. Host, method and origin are checked before them like everywhere.
    """
    door = Door(sessions=sessions, operators=ports.operators)
    guard = Guard(config, door=door, pages=pages, ids=ids)
    aside = Aside()
    hub = EventHub(approvals=ports.approvals, door=door, config=config)
    console = Console(
        ports=ports,
        config=config,
        clock=clock,
        ids=ids,
        pages=pages,
        guard=guard,
        hub=hub,
        flash=Flash(clock),
        sessions=sessions,
        gather=Gatherer(ports=ports, config=config, aside=aside),
        aside=aside,
    )
    app = web.Application(middlewares=[guard.middleware], client_max_size=MAX_BODY_BYTES)
    app[HUB] = hub
    app.on_response_prepare.append(add_headers(config))
    guard.public.update(
        app.add_routes([web.get("/static/{name}", pages.assets.get), *login_routes])
    )
    app.add_routes(
        [
            web.get("/events", hub.get, allow_head=False),
            *InboxPages(console).routes(),
            *ApprovalPages(console).routes(),
            *AgentPages(console).routes(),
            *AuditPages(console).routes(),
        ]
    )
    ports.approvals.add_listener(hub.approval_changed)
    ports.fleet.add_listener(hub.agent_changed)

    async def close(_app: web.Application) -> None:
        await hub.close()

    async def clean_up(_app: web.Application) -> None:
        aside.close()

    app.on_shutdown.append(close)
    app.on_cleanup.append(clean_up)
    return app
