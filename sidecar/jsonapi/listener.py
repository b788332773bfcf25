# SPDX-License-Identifier: Apache-2.0
"""The twin's port: TLS alone, with whatever strangers can do to it bounded before it costs anything.

Control's event loop, its memory and its file descriptors are the kill lever's too. aiohttp reads the
requests (its C parser, no compression); what it leaves open is closed here.

Laws:

1. TLS 1.2 or newer with forward secrecy; a client certificate is optional, and whoever shows one must
   show a good one. No tickets are given: TLS 1.3 proves itself anew on every connection. A session
   of TLS 1.2 can be resumed from this process's memory (Python cannot forbid it), and has the
   certificate it began with, which is checked in each request.
2. At most ``max_connections``, and so many per address, are held. A new one takes the place of the one
   that has been idle longest; a request that is being answered is never cut off for another.
3. A handshake, a request's head and silence each have a deadline; a connection has an age.
4. Connections are accepted, handshakes are made and requests are answered at a bounded pace
   (``pacing``); the rest waits, in the kernel or in its own connection.
5. What aiohttp itself refuses is answered in our words, without its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import structlog
from aiohttp import web

from sidecar.errors import ConfigurationError
from sidecar.jsonapi.pacing import Pace

__all__ = ["Limits", "Listener", "Peer", "tls_context"]

log = structlog.get_logger("holdfast.control")

_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_BACKLOG: Final = 128
_AFTER_FAILURE_S: Final = 0.2
_LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the port holds and for how long (laws 2 to 4)."""

    max_connections: int = 256
    max_per_address: int = 64
    handshake_s: float = 5.0
    head_s: float = 10.0
    """From the first byte of a request, or from the connection's beginning, to the end of its head."""
    idle_s: float = 60.0
    age_s: float = 900.0
    accepts_per_s: float = 400.0
    handshakes_per_s: float = 100.0
    requests_per_s: float = 200.0
    address_share: float = 0.5
    """How much of either pace one address may have."""
    max_line: int = 2048
    max_field: int = 4096
    max_fields: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end, as far as the connection says."""

    address: str
    certificate_pem: bytes | None


Handle = Callable[[web.BaseRequest, Peer], Awaitable[web.Response]]
Refuse = Callable[[int], web.Response]


def tls_context(*, certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """Return how the twin speaks TLS (law 1).

    Raises:
        ConfigurationError: The files cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    name = "tls_certificate"
    try:
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            name = "client_ca"
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError) as exc:
        path = certificate if name == "tls_certificate" else client_ca
        raise ConfigurationError(
            f"{path} cannot be used: {exc.strerror or type(exc).__name__}",
            key=name,
            hint="give PEM files: a chain with the private key that belongs to it, and a CA",
        ) from exc
    return context


class _Http(web.RequestHandler):
    """aiohttp's protocol with law 5."""

    __slots__ = ("refuse",)
    refuse: Refuse

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return what a request is answered that is no request."""
        response = self.refuse(status)
        response.force_close()
        return response


class _Connection(asyncio.Protocol):
    """Stands between the transport and aiohttp, and knows what has been going on."""

    def __init__(self, address: str, now_s: float) -> None:
        self.address = address
        self.task: asyncio.Task[None] | None = None
        self.inner: _Http | None = None
        self.transport: asyncio.Transport | None = None
        self.certificate_pem: bytes | None = None
        self.is_busy = False
        self.begin_s = self.idle_since_s = now_s
        self.has_begun = True  # until its first request is there, it has the time of a head
        self.lost: Callable[[_Connection], None] = lambda _: None

    # -- the transport's side -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert self.inner is not None  # noqa: S101 - set before the handshake
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone
        tls = transport.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True) if tls is not None else None
        if der is not None:
            self.certificate_pem = ssl.DER_cert_to_PEM_cert(der).encode()
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        assert self.inner is not None  # noqa: S101
        if not self.is_busy and not self.has_begun:
            self.has_begun, self.idle_since_s = True, asyncio.get_running_loop().time()
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        assert self.inner is not None  # noqa: S101
        self.inner.eof_received()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.inner is not None  # noqa: S101
        self.inner.connection_lost(exc)
        self.lost(self)

    def pause_writing(self) -> None:
        assert self.inner is not None  # noqa: S101
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        assert self.inner is not None  # noqa: S101
        self.inner.resume_writing()

    # -- ours ---------------------------------------------------------------------------------

    def end_of_request(self, now_s: float) -> None:
        self.is_busy, self.has_begun, self.idle_since_s = False, False, now_s

    def drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()
        elif self.task is not None:
            self.task.cancel()

    def is_due(self, now_s: float, limits: Limits) -> bool:
        """Return whether its time is over (law 3)."""
        if self.is_busy or self.transport is None:
            return False
        waited_s = now_s - self.idle_since_s
        allowed_s = limits.head_s if self.has_begun else limits.idle_s
        return waited_s > allowed_s or now_s - self.begin_s > limits.age_s


class Listener:
    """One port.

    Args:
        handle: Answers one request.
        refuse: Makes the answer for what is no request, from its HTTP status.
        tls: How TLS is spoken.
        limits: What is held, and how fast it goes.
    """

    def __init__(
        self, *, handle: Handle, refuse: Refuse, tls: ssl.SSLContext, limits: Limits
    ) -> None:
        self._handle, self._refuse, self._tls, self._limits = handle, refuse, tls, limits
        self._connections: dict[_Connection, None] = {}
        self._by_handler: dict[object, _Connection] = {}
        self._per_address: dict[str, int] = {}
        self._server: web.Server | None = None
        self._socket: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._room = asyncio.Event()
        self._accepts = _pace(limits.accepts_per_s, 1.0)
        self._handshakes = _pace(limits.handshakes_per_s, limits.address_share)
        self._requests = _pace(limits.requests_per_s, limits.address_share)

    async def start(self, host: str, port: int) -> None:
        """Begin to listen.

        Raises:
            ConfigurationError: The address is taken, or not ours.
        """
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as exc:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: {exc.strerror}",
                key="api_listen",
                hint="choose a free port, or leave it empty for no JSON over HTTPS",
            ) from exc
        self._socket.setblocking(False)
        self._server = web.Server(self._answer)
        self._tasks = [
            asyncio.create_task(self._accept(self._socket)),
            asyncio.create_task(self._look()),
        ]

    @property
    def port(self) -> int:
        """The port that is listened on."""
        assert self._socket is not None  # noqa: S101 - after start()
        return int(self._socket.getsockname()[1])

    async def aclose(self) -> None:
        """Stop listening, and end what there is."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        for connection in list(self._connections):
            if not connection.is_busy:
                connection.drop()
        if self._server is not None:
            await self._server.shutdown(timeout=1.0)
        left = [one.task for one in self._connections if one.task is not None]
        for connection in list(self._connections):
            connection.drop()
        await asyncio.gather(*left, return_exceptions=True)

    # -- connections --------------------------------------------------------------------------

    async def _accept(self, listening: socket.socket) -> None:
        while True:
            if (delay_s := self._accepts.common_delay_s()) > 0:
                await asyncio.sleep(delay_s)
            while self._is_full and all(one.is_busy for one in self._connections):
                self._room.clear()
                await self._room.wait()
            try:
                peer, address = await asyncio.get_running_loop().sock_accept(listening)
                self._take(peer, str(address[0]))
            except OSError as exc:  # no descriptors left: nothing that haste would help
                log.warning("the JSON port cannot accept", problem=exc.strerror)
                await asyncio.sleep(_AFTER_FAILURE_S)
            except Exception:
                log.exception("the JSON port failed to accept")  # and goes on
                await asyncio.sleep(_AFTER_FAILURE_S)

    @property
    def _is_full(self) -> bool:
        return len(self._connections) >= self._limits.max_connections

    def _take(self, peer: socket.socket, address: str) -> None:
        """Hold the new connection, if need be in place of another (law 2)."""
        is_too_many = self._per_address.get(address, 0) >= self._limits.max_per_address
        if (is_too_many and not self._evict(address)) or (self._is_full and not self._evict()):
            peer.close()
            return
        connection = _Connection(address, asyncio.get_running_loop().time())
        connection.lost = self._lost
        self._connections[connection] = None
        self._per_address[address] = self._per_address.get(address, 0) + 1
        connection.task = asyncio.create_task(self._shake_hands(peer, connection))

    async def _shake_hands(self, peer: socket.socket, connection: _Connection) -> None:
        assert self._server is not None  # noqa: S101 - set before anything is accepted
        loop = asyncio.get_running_loop()
        try:
            await self._handshakes.wait(connection.address)
            inner = _Http(
                self._server,
                loop=loop,
                keepalive_timeout=self._limits.idle_s,
                access_log=None,  # type: ignore[arg-type]  # how aiohttp says: none
                max_line_size=self._limits.max_line,
                max_field_size=self._limits.max_field,
                max_headers=self._limits.max_fields,
                lingering_time=0.5,
                auto_decompress=False,
            )
            inner.refuse = self._refuse
            connection.inner = inner
            self._by_handler[inner] = connection
            connection.begin_s = connection.idle_since_s = loop.time()
            await loop.connect_accepted_socket(
                lambda: connection,
                peer,
                ssl=self._tls,
                ssl_handshake_timeout=self._limits.handshake_s,
                ssl_shutdown_timeout=1.0,
            )
        except (OSError, ssl.SSLError, TimeoutError):
            pass  # whoever cannot speak TLS is nobody; logging each would be a lever of its own
        except Exception:
            log.exception("the JSON port lost a connection")
        finally:
            if connection.transport is None:  # cancelled, or no TLS
                peer.close()
                self._lost(connection)

    def _lost(self, connection: _Connection) -> None:
        if self._connections.pop(connection, connection) is connection:
            return  # it was told before
        self._by_handler.pop(connection.inner, None)
        left = self._per_address[connection.address] - 1
        if left:
            self._per_address[connection.address] = left
        else:
            del self._per_address[connection.address]
        self._room.set()

    def _evict(self, address: str = "") -> bool:
        """End what has been idle longest, of *address* or of all; return whether there was any."""
        idle = [
            one
            for one in self._connections
            if not one.is_busy and (not address or one.address == address)
        ]
        if not idle:
            return False
        oldest = min(idle, key=lambda one: one.idle_since_s)
        oldest.drop()
        self._lost(oldest)
        return True

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_LOOK_S)
            now_s = loop.time()
            for connection in list(self._connections):
                if connection.is_due(now_s, self._limits):
                    connection.drop()

    # -- requests -----------------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = self._by_handler.get(request.protocol)
        if connection is None:  # evicted while its request was on the way
            raise asyncio.CancelledError
        loop = asyncio.get_running_loop()
        connection.is_busy = True
        try:
            await self._requests.wait(connection.address)
            peer = Peer(address=connection.address, certificate_pem=connection.certificate_pem)
            response = await self._handle(request, peer)
        finally:
            connection.end_of_request(loop.time())
            self._room.set()  # what is idle can give way
        if loop.time() - connection.begin_s > self._limits.age_s:
            response.force_close()
        return response


def _pace(rate: float, address_share: float) -> Pace:
    return Pace(
        rate=rate, burst=rate, address_rate=rate * address_share, address_burst=rate * address_share
    )
