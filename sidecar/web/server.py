# SPDX-License-Identifier: Apache-2.0
"""Binds the console to its address, with its own certificate or, on loopback, without one."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from sidecar.errors import ConfigurationError

__all__ = ["bind_console", "tls_context"]

_SHUTDOWN_S: Final = 1.0


def tls_context(*, certificate: Path, key: Path) -> ssl.SSLContext:
    """Return how the console speaks TLS: 1.2 or newer, with this certificate.

    Raises:
        ConfigurationError: The files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"{certificate} and its key cannot be used: {exc.strerror or type(exc).__name__}",
            key="console_certificate",
            hint="give a PEM chain and the private key that belongs to it",
        ) from exc
    return context


async def bind_console(
    app: web.Application, *, host: str, port: int, tls: ssl.SSLContext | None
) -> Callable[[], Awaitable[None]]:
    """Serve *app* and return what ends it.

    Raises:
        ConfigurationError: The address is taken, or not ours.
    """
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=tls).start()
    except OSError as exc:
        await runner.cleanup()
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {exc.strerror}",
            key="console_listen",
            hint="choose a free port, or leave it empty for no console",
        ) from exc
    return runner.cleanup
