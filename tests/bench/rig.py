# SPDX-License-Identifier: Apache-2.0
"""A running host for the benchmarks, and the echo beside it."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from sidecar.api.v1 import guard_pb2
from sidecar.layout import StateLayout
from sidecar.supervisor.host import Host
from tests.bench import echo

AGENT = "banking"
READ_TOOL = "get_most_recent_transactions"
READ_ARGUMENTS = b'{"n":100}'
BUNDLE = Path(__file__).resolve().parents[2] / "deploy" / "examples" / "agentdojo" / "bundle"


def read_request() -> guard_pb2.AuthorizeRequest:
    """Return the request that echo and gate both get."""
    return guard_pb2.AuthorizeRequest(
        tool_call=guard_pb2.ToolCall(
            tool=READ_TOOL, arguments=READ_ARGUMENTS, session_id="bench-session"
        )
    )


@dataclass(frozen=True, slots=True)
class Rig:
    """Addresses and processes of one run."""

    host: Host
    echo_address: str
    gate_pid: int

    @property
    def gate_address(self) -> str:
        """Address of the agent's socket."""
        return self.host.agent_address(AGENT)

    def operator(self, name: str) -> grpc.aio.Channel:
        """Return a channel to control with the certificate of a development operator."""
        pki = self.host.layout.pki
        credentials = grpc.ssl_channel_credentials(
            root_certificates=(pki / "ca.pem").read_bytes(),
            private_key=(pki / f"{name}.key").read_bytes(),
            certificate_chain=(pki / f"{name}.pem").read_bytes(),
        )
        return grpc.aio.secure_channel(self.host.listen, credentials)


@asynccontextmanager
async def running() -> AsyncIterator[Rig]:
    """Run one control, one gate and the echo, each a process of its own."""
    root = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    host = Host(
        layout=StateLayout.of(root / "state", root / "run"),
        bundle=BUNDLE,
        agents=[AGENT],
        listen=f"127.0.0.1:{port}",
    )
    echo_address = f"unix:{root / 'echo.sock'}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.echo", echo_address, env=dict(os.environ)
    )
    try:
        async with grpc.aio.insecure_channel(echo_address) as channel:
            await asyncio.wait_for(channel.channel_ready(), 20)
        async with host:
            pid = host.gates[AGENT].pid
            assert pid is not None
            yield Rig(host, echo_address, pid)
    finally:
        process.kill()
        await process.wait()
        shutil.rmtree(root, ignore_errors=True)


def unary_echo(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable:
    """Return the echo's method on *channel*."""
    return channel.unary_unary(
        f"/{echo.SERVICE}/Echo",
        request_serializer=guard_pb2.AuthorizeRequest.SerializeToString,
        response_deserializer=guard_pb2.AuthorizeRequest.FromString,
    )


def unary_authorize(channel: grpc.aio.Channel) -> grpc.aio.UnaryUnaryMultiCallable:
    """Return the gate's Authorize on *channel*."""
    return channel.unary_unary(
        "/sidecar.api.v1.GuardService/Authorize",
        request_serializer=guard_pb2.AuthorizeRequest.SerializeToString,
        response_deserializer=guard_pb2.AuthorizeResponse.FromString,
    )


def stream_caller(channel: grpc.aio.Channel) -> Callable[[], Awaitable[object]]:
    """Return a lone caller of the gate's AuthorizeStream on *channel*: one question at a time."""
    call = channel.stream_stream(
        "/sidecar.api.v1.GuardService/AuthorizeStream",
        request_serializer=guard_pb2.AuthorizeStreamRequest.SerializeToString,
        response_deserializer=guard_pb2.AuthorizeStreamResponse.FromString,
    )()
    numbers = itertools.count(1)
    request = read_request()
    item = guard_pb2.AuthorizeStreamRequest.Item

    async def ask() -> object:
        items = [item(id=next(numbers), request=request)]
        await call.write(guard_pb2.AuthorizeStreamRequest(items=items))
        return await call.read()

    return ask


def resident_mib(pid: int) -> float:
    """Return the resident memory of *pid* in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    raise RuntimeError(f"no memory figure for process {pid}")
