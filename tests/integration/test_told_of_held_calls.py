# SPDX-License-Identifier: Apache-2.0
"""Approvers hear of what waits, or the call does not wait: notifications of a real host."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.cli.runtime import start_time_of
from sidecar.internal.v1 import sync_pb2, sync_pb2_grpc
from tests.support.clients import codes, effect
from tests.support.polling import eventually
from tests.support.processes import free_port
from tests.support.testbed import Testbed

SECRET = "a-secret-that-is-long-enough-for-this"


class Hook:
    """A webhook's receiver, which checks signatures by the documentation and not by our code."""

    port: int

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.forged = 0

    async def start(self) -> None:
        """Serve on loopback."""
        app = web.Application()
        app.router.add_post("/hook", self._take)
        self._server = TestServer(app, host="127.0.0.1")
        await self._server.start_server()
        assert self._server.port is not None
        self.port = self._server.port

    async def stop(self) -> None:
        """Serve no more."""
        await self._server.close()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        id_, time = request.headers["Holdfast-Id"], request.headers["Holdfast-Timestamp"]
        signed = f"{id_}.{time}.".encode() + body
        mac = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        self.forged += f"v1={mac}" not in request.headers["Holdfast-Signature"].split()
        self.bodies.append(json.loads(body))
        return web.Response(status=204)

    def types_about(self, approval: str) -> list[str]:
        """Return what kinds of things were told of *approval*, in their order."""
        about = (body for body in self.bodies if (body["approval"] or {}).get("name") == approval)
        return [body["type"] for body in about]


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    receiver = Hook()
    await receiver.start()
    yield receiver
    await receiver.stop()


def told_bed(make_bed: Callable[..., Testbed], port: int) -> Testbed:
    """Return a host whose only channel is a webhook on *port*, running."""
    bed = make_bed()
    secret = bed.root / "hook.secret"
    secret.touch(0o600)
    secret.write_text(SECRET + "\n")
    config = bed.root / "notifications.yaml"
    config.write_text(
        "version: 1\nchannels:\n  soc:\n    kind: webhook\n"
        f"    url: http://127.0.0.1:{port}/hook\n    secret_file: {secret}\n"
    )
    bed.settings["notifications"] = str(config)
    return bed.begin(["alpha"])


async def test_approvers_are_told_and_told_how_it_ended(
    make_bed: Callable[..., Testbed], hook: Hook
) -> None:
    """A signed message when it waits, another with the outcome and who decided."""
    bed = told_bed(make_bed, hook.port)
    async with bed.operator("only-approve") as human, bed.agent("alpha") as agent:
        held = await agent.ask("note.held", {"text": "canary-in-an-argument"})
        name = held.obligations.approval
        await eventually(lambda: hook.types_about(name) == ["approval.opened"])
        await human.decide(name)
        await eventually(lambda: len(hook.types_about(name)) == 2)

    assert hook.types_about(name) == ["approval.opened", "approval.decided"]
    assert not hook.forged
    assert "only-approve" in hook.bodies[-1]["detail"]
    assert "canary-in-an-argument" not in json.dumps(hook.bodies)  # tools.yaml does not reveal it


async def test_d24_nobody_to_be_reached_is_a_denial_at_once(
    make_bed: Callable[..., Testbed],
) -> None:
    """The only channel is dead: the call does not wait for an hour, it is denied and says why."""
    bed = told_bed(make_bed, free_port())

    async with bed.agent("alpha") as agent:

        async def denied() -> Any:
            decision = await agent.ask("note.held", {"text": "hello"})
            return decision if effect(decision) == "DENY" else None

        decision = await eventually(denied, 15)

    assert codes(decision) == ["NO_CHANNEL"]
    assert "soc" in decision.reasons[0].text


async def test_d24_with_a_channel_that_works_it_waits_negative_control(
    make_bed: Callable[..., Testbed], hook: Hook
) -> None:
    """The same host with a receiver that answers: the call waits."""
    bed = told_bed(make_bed, hook.port)

    async with bed.agent("alpha") as agent:
        decision = await agent.ask("note.held", {"text": "hello"})

    assert effect(decision) == "HOLD"


async def test_a_runtime_that_ends_takes_its_requests_with_it(bed: Testbed) -> None:
    """The process that `holdfast run` registered dies: what its agent waits for is cancelled."""
    name = bed.fresh_agent()
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with (
            grpc.aio.insecure_channel(bed.internal_address) as channel,
            bed.operator("only-approve") as human,
            bed.agent(name) as agent,
        ):
            await sync_pb2_grpc.SyncServiceStub(channel).RegisterRuntime(
                sync_pb2.RegisterRuntimeRequest(
                    agent=name,
                    process_group=process.pid,
                    leader=process.pid,
                    leader_start_time=start_time_of(process.pid),
                )
            )
            held = await agent.ask("note.held", {"text": "hello"})
            approval = held.obligations.approval
            before = (await human.approval(approval)).state
            os.kill(process.pid, 9)

            async def cancelled() -> Any:
                found = await human.approval(approval)
                return found if found.state == found.STATE_CANCELLED else None

            after = await eventually(cancelled)
    finally:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()

    assert before == after.STATE_PENDING
    assert "runtime" in after.detail
