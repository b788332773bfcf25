# SPDX-License-Identifier: Apache-2.0
"""Asks a process of ours whether it serves (``grpc.health.v1``)."""

from __future__ import annotations

import asyncio

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["is_serving", "serving_status"]


async def serving_status(address: str, *, timeout_s: float) -> str:
    """Return ``SERVING``, ``NOT_SERVING``, … or ``UNREACHABLE``; never raises for a dead peer."""
    try:
        async with grpc.aio.insecure_channel(
            address, options=[("grpc.enable_retries", 0)]
        ) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
    except (grpc.aio.AioRpcError, asyncio.CancelledError) as exc:
        if isinstance(exc, asyncio.CancelledError):
            raise
        return "UNREACHABLE"
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


async def is_serving(address: str, *, timeout_s: float) -> bool:
    """Return whether the process at *address* answers SERVING in time."""
    return await serving_status(address, timeout_s=timeout_s) == "SERVING"
