# SPDX-License-Identifier: Apache-2.0
"""The yardstick: an empty ``grpc.aio`` unary echo of the very message that Authorize takes."""

from __future__ import annotations

import asyncio
import sys

import grpc

from sidecar.api.v1 import guard_pb2

SERVICE = "bench.Echo"


async def _echo(
    request: guard_pb2.AuthorizeRequest, _context: grpc.aio.ServicerContext
) -> guard_pb2.AuthorizeRequest:
    return request


async def serve(address: str) -> None:
    """Serve the echo on *address* until killed."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        _echo,
        request_deserializer=guard_pb2.AuthorizeRequest.FromString,
        response_serializer=guard_pb2.AuthorizeRequest.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(SERVICE, {"Echo": handler}),)
    )
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
