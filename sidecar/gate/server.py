# SPDX-License-Identifier: Apache-2.0
"""One gRPC server per agent's socket, with every limit explicit.

It registers the guard service and health, and nothing else: no reflection, no channelz, not one verb
that commands.
"""

from __future__ import annotations

import os
from typing import Final

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from sidecar.errors import EnvironmentFailure, ErrorReason
from sidecar.gate.servicer import GuardServicer
from sidecar.gate.sockets import AgentSocket

__all__ = ["MAX_MESSAGE_BYTES", "SERVER_OPTIONS", "bind_server"]

MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""A full batch of 1,024 ordinary calls; one call's arguments are limited to 64 KiB by their own."""

SERVER_OPTIONS: Final = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 256),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 8 * 1024),
    ("grpc.absolute_max_metadata_size", 8 * 1024),
    ("grpc.server_handshake_timeout_ms", 3000),
    ("grpc.http2.max_ping_strikes", 2),
    ("grpc.default_compression_algorithm", 0),
    ("grpc.enable_http_proxy", 0),
)


async def bind_server(
    socket: AgentSocket, servicer: GuardServicer, health_servicer: health.aio.HealthServicer
) -> grpc.aio.Server:
    """Return a started server on *socket*.

    Raises:
        EnvironmentFailure: The socket cannot be bound.
    """
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((servicer.handler(),))
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    old_mask = os.umask(0o177)
    try:
        bound = server.add_insecure_port(socket.address)
        await server.start()
    except RuntimeError as exc:
        raise EnvironmentFailure(
            f"cannot serve on {socket.path}",
            reason=ErrorReason.SOCKET_UNAVAILABLE,
            hint="look at the directory's permissions and free space",
        ) from exc
    finally:
        os.umask(old_mask)
    if not bound:
        raise EnvironmentFailure(
            f"cannot bind {socket.path}", reason=ErrorReason.SOCKET_UNAVAILABLE
        )
    socket.seal()
    return server
