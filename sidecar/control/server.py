# SPDX-License-Identifier: Apache-2.0
"""Control's gRPC listeners: TLS for operators, TLS for API tokens, two local sockets.

The sockets are root's and the gates'. gRPC cannot make a client certificate optional, so callers who
have a token instead have a listener of their own.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidecar.errors import ConfigurationError, EnvironmentFailure, ErrorReason
from sidecar.safe_paths import ensure_private_directory, read_secret_file
from sidecar.settings import flag_of

__all__ = [
    "CONTROL_OPTIONS",
    "INTERNAL_OPTIONS",
    "TOKEN_OPTIONS",
    "HealthCheckAlone",
    "bind_tls",
    "bind_unix",
    "tls_credentials",
]

CONTROL_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 100),
    ("grpc.max_receive_message_length", 1024 * 1024),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 8 * 1024),
    ("grpc.server_handshake_timeout_ms", 3000),
    ("grpc.max_connection_idle_ms", 5 * 60 * 1000),
    ("grpc.max_connection_age_ms", 15 * 60 * 1000),
    ("grpc.max_connection_age_grace_ms", 60 * 1000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.default_compression_algorithm", 0),
)
TOKEN_OPTIONS: Final = (
    *(
        option
        for option in CONTROL_OPTIONS
        if option[0] not in ("grpc.max_concurrent_streams", "grpc.max_connection_idle_ms")
    ),
    # Whoever connects there has shown nothing yet: what strangers hold is bounded, because its
    # descriptors and its memory are the kill lever's too.
    ("grpc.max_allowed_incoming_connections", 256),
    ("grpc.max_concurrent_streams", 32),
    ("grpc.max_connection_idle_ms", 60 * 1000),
)
INTERNAL_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.max_send_message_length", 64 * 1024 * 1024),
)
_MAX_UNIX_PATH: Final = 107

Register = Callable[[grpc.aio.Server], None]


class HealthCheckAlone(health_pb2_grpc.HealthServicer):
    """Health for callers who have shown nothing: an answer, and no stream that they could keep."""

    def __init__(self, health: health_pb2_grpc.HealthServicer) -> None:
        self._health = health

    async def Check(  # noqa: N802 - the name is the proto's
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext
    ) -> health_pb2.HealthCheckResponse:
        """Say whether control serves."""
        answer: health_pb2.HealthCheckResponse = await self._health.Check(request, context)
        return answer


def tls_credentials(
    *, certificate: Path, key: Path, client_ca: Path | None
) -> grpc.ServerCredentials:
    """Return credentials that demand a client certificate of *client_ca*; None: that ask for none.

    Raises:
        ConfigurationError: A file is missing, unsafe or not PEM.
    """
    pair = (_pem("tls_key", key, is_secret=True), _pem("tls_certificate", certificate))
    if client_ca is None:
        return grpc.ssl_server_credentials([pair])
    return grpc.ssl_server_credentials(
        [pair], root_certificates=_pem("client_ca", client_ca), require_client_auth=True
    )


async def bind_tls(
    listen: str,
    credentials: grpc.ServerCredentials,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    register: Register,
    *,
    setting: str = "listen",
    options: Sequence[tuple[str, int]] = CONTROL_OPTIONS,
) -> grpc.aio.Server:
    """Return a started server on *listen*, which the setting *setting* says.

    Raises:
        EnvironmentFailure: The address cannot be bound.
    """
    server = grpc.aio.server(options=options, interceptors=interceptors)
    register(server)
    try:
        bound = server.add_secure_port(listen, credentials)
        await server.start()
    except RuntimeError as exc:
        raise EnvironmentFailure(
            f"control cannot listen on {listen}",
            reason=ErrorReason.SOCKET_UNAVAILABLE,
            hint="is another control running there? choose another address with "
            + flag_of(setting),
        ) from exc
    if not bound:
        raise EnvironmentFailure(
            f"control cannot listen on {listen}",
            reason=ErrorReason.SOCKET_UNAVAILABLE,
            hint=f"choose another address with {flag_of(setting)}",
        )
    return server


async def bind_unix(
    path: Path,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    register: Register,
    *,
    options: Sequence[tuple[str, int]],
    mode: int,
) -> grpc.aio.Server:
    """Return a started server on the Unix socket *path*, in a directory that is ours alone.

    The caller holds control's lock on the latch, so no other control serves this path.

    Raises:
        EnvironmentFailure: The path is unsafe, too long, or cannot be bound.
    """
    if len(os.fsencode(path)) > _MAX_UNIX_PATH:
        raise EnvironmentFailure(
            f"the socket path {path} has more than {_MAX_UNIX_PATH} bytes",
            reason=ErrorReason.SOCKET_UNAVAILABLE,
            hint="choose a shorter runtime_dir",
        )
    ensure_private_directory(path.parent, 0o700 if mode == 0o600 else 0o750)
    if path.is_symlink() or (path.exists() and not stat.S_ISSOCK(path.stat().st_mode)):
        raise EnvironmentFailure(
            f"{path} exists and is no socket",
            reason=ErrorReason.UNSAFE_PATH,
            hint="find out who made it before you remove it",
        )
    path.unlink(missing_ok=True)
    server = grpc.aio.server(options=options, interceptors=interceptors)
    register(server)
    old_mask = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        os.chmod(path, mode)
    except (RuntimeError, OSError) as exc:
        raise EnvironmentFailure(
            f"cannot serve on {path}", reason=ErrorReason.SOCKET_UNAVAILABLE
        ) from exc
    finally:
        os.umask(old_mask)
    return server


def _pem(name: str, path: Path, *, is_secret: bool = False) -> bytes:
    try:
        data = read_secret_file(path) if is_secret else path.read_bytes()
    except OSError as exc:
        raise ConfigurationError(
            f"cannot be read: {exc.strerror}", path=str(path), key=name, hint="check the path"
        ) from exc
    if b"-----BEGIN " not in data:
        raise ConfigurationError(
            "is not a PEM file", path=str(path), key=name, hint="give the PEM form"
        )
    return data
