# SPDX-License-Identifier: Apache-2.0
"""Puts control's methods behind the JSON port."""

from __future__ import annotations

from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path

from sidecar.clock import Clock
from sidecar.containment.service import ContainmentService
from sidecar.control.admission import Admission
from sidecar.control.identity import Identities
from sidecar.control.routes import Routes
from sidecar.jsonapi.api import Api
from sidecar.jsonapi.listener import Limits, Listener, tls_context
from sidecar.settings import Settings, split_address

__all__ = ["serve_jsonapi"]


async def serve_jsonapi(
    settings: Settings,
    stack: AsyncExitStack,
    *,
    routes: Routes,
    admission: Admission,
    identities: Identities,
    service: ContainmentService,
    certificate: Path,
    key: Path,
    client_ca: Path | None,
    clock: Clock,
) -> None:
    """Serve JSON over HTTPS until *stack* is closed.

    Raises:
        ConfigurationError: The certificate, the CA or the address cannot be used.
    """
    package = files("sidecar.jsonapi")
    api = Api(
        routes=routes,
        admission=admission,
        identities=identities,
        is_serving=lambda: not service.failed.is_set(),
        documents={
            f"/{name}": package.joinpath(name).read_bytes()
            for name in ("openapi.json", "swagger.json", "openc2.schema.json")
        },
        clock=clock,
    )
    listener = Listener(
        handle=api.handle,
        refuse=api.refuse,
        tls=tls_context(certificate=certificate, key=key, client_ca=client_ca),
        limits=Limits(),
    )
    host, port = split_address(settings.api_listen)
    await listener.start(host, port)
    stack.push_async_callback(listener.aclose)
