# SPDX-License-Identifier: Apache-2.0
"""The control methods as plain coroutines, for whoever serves them other than over gRPC.

A ``Routes`` stands where a gRPC server would, so that the generated ``add_…Servicer_to_server`` fill
it: what is served elsewhere are the very servicers that gRPC serves, and none is forgotten.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType

import grpc
from google.protobuf.message import Message

__all__ = ["Routes", "Unary"]

Unary = Callable[[Message, grpc.aio.ServicerContext | None], Awaitable[Message]]
"""Answers one request. No unary method of control looks at the context."""


class Routes:
    """Collects the behaviours of the servicers that are added to it, by path."""

    def __init__(self) -> None:
        self._unary: dict[str, Unary] = {}
        self._streams: set[str] = set()

    @property
    def unary(self) -> Mapping[str, Unary]:
        """What answers with one message, by ``/package.Service/Method``."""
        return MappingProxyType(self._unary)

    @property
    def streams(self) -> frozenset[str]:
        """Paths of what answers with many."""
        return frozenset(self._streams)

    def add_registered_method_handlers(
        self,
        service: str,
        handlers: Mapping[str, grpc.RpcMethodHandler],
    ) -> None:
        """Take the methods of *service*; called by generated code."""
        for name, handler in handlers.items():
            path = f"/{service}/{name}"
            if handler.request_streaming or handler.response_streaming:
                self._streams.add(path)
            else:
                self._unary[path] = handler.unary_unary

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Take nothing: the same methods come by name; called by generated code."""
