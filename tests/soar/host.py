# SPDX-License-Identifier: Apache-2.0
"""Hosts that playbooks are run against: a real control with its JSON and token ports, real gates.

A ``SoarBed`` is a ``Testbed`` (``tests/support``) whose bundle also has protected agents, whose
containment waits for a second human, and automations with the roles that playbooks need. What an
administrator would configure on a platform comes as an ``Asset``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from google.protobuf import duration_pb2

from sidecar.api.v1 import (
    api_token_pb2,
    api_token_pb2_grpc,
    approval_pb2,
    operation_pb2,
    types_pb2,
)
from sidecar.apitokens.store_sqlite import SqliteApiTokens
from sidecar.apitokens.values import ApiToken, digest_of, new_secret
from sidecar.apitokens.values import new_id as new_token_id
from sidecar.model import Role
from tests.soar.runners.base import Asset
from tests.support.bundles import AGENTS, spiffe
from tests.support.clients import ControlClient, effect, new_id
from tests.support.processes import free_port
from tests.support.testbed import Testbed

__all__ = ["EVERYTHING", "SoarBed", "waiting"]

_T = TypeVar("_T")
EVERYTHING: Final = ("contain", "release", "audit-read")
"""The most that a playbook's operator holds here. Never a role that approves anything."""
_OPERATORS: Final = {
    "soar-all": {"kind": "automation", "roles": [*EVERYTHING, "policy-author"]},
    "soar-contain": {"kind": "automation", "roles": ["contain"]},
    # What automation asks to be loosened, two humans must grant.
    "second-approve": {"kind": "human", "roles": ["approve"]},
}


class SoarBed(Testbed):
    """One control that serves playbooks.

    Args:
        guarded: How many agents there are whose containment needs a second human.
        expiry: How long a request waits for one (``30s`` is the shortest that a bundle may say).
        options: See ``Testbed``.
    """

    def __init__(self, *args: Any, guarded: int = 0, expiry: str = "5m", **options: Any) -> None:
        self.guarded = [f"guarded-{number:03d}" for number in range(guarded)]
        self._next_guarded = iter(self.guarded)
        self._expiry = expiry
        self._tokens: dict[tuple[str, ...], str] = {}
        self.api_listen = f"127.0.0.1:{free_port()}"
        self.token_listen = f"127.0.0.1:{free_port()}"
        super().__init__(*args, **{"max_pending_approvals": 200, **options})

    def write_bundle(self, **changes: Any) -> Path:
        """Write the bundle anew, with what playbooks need."""
        path = super().write_bundle(**changes)
        with _rewritten(path / "agents.yaml") as content:
            content["agents"] |= {
                name: {"owner": f"{name}-owner@example.com", "protected": True}
                for name in self.guarded
            }
        with _rewritten(path / "operators.yaml") as content:
            content["operators"] |= {
                name: {**spec, "identity": spiffe(name)} for name, spec in _OPERATORS.items()
            }
        (path / "approvals.yaml").write_text(
            yaml.safe_dump({"version": 1, "tiers": {"MEDIUM": {"expiry": self._expiry}}})
        )
        return path

    def begin(self, *args: Any, **options: Any) -> SoarBed:
        """Start it; see ``Testbed.begin``. By default its gate serves the protected agents too."""
        agents = args or ([*AGENTS, *self.spare, *self.guarded],)
        super().begin(*agents, **options)
        return self

    def launch_control(self, **options: Any) -> Any:
        return super().launch_control(
            **{"api_listen": self.api_listen, "token_listen": self.token_listen, **options}
        )

    def fresh_guarded(self) -> str:
        """Return a protected agent that nothing else uses."""
        return next(self._next_guarded)

    # -- what an administrator configures -----------------------------------------------------

    @property
    def ca(self) -> str:
        """The CA of control's certificate, as PEM."""
        return self.authority.pem.decode()

    def asset(self, operator: str = "soar-all", *permissions: str, is_grpc: bool = False) -> Asset:
        """Return what is configured for *operator*, with an API token for *permissions*."""
        wanted = permissions or (EVERYTHING if operator == "soar-all" else ("contain",))
        address = self.token_listen if is_grpc else self.api_listen
        return Asset(
            endpoint=f"https://{address}",
            api_token=self.token(operator, *wanted),
            ca_certificate=self.ca,
        )

    def certificate_asset(self, operator: str = "soar-all") -> Asset:
        """Return what is configured for *operator* with a client certificate and no token."""
        credential = self.credential(operator)
        return Asset(
            endpoint=f"https://{self.api_listen}",
            ca_certificate=self.ca,
            # As somebody pastes them; some platforms strip what is typed in.
            client_certificate=credential.chain.decode().strip(),
            client_key=credential.key_pem.decode().strip(),
        )

    def token(self, operator: str, *permissions: str, agents: Sequence[str] = ()) -> str:
        """Return the secret of a token, made once for the same arguments."""
        key = (operator, *permissions, "", *agents)
        if key not in self._tokens:
            self._tokens[key] = waiting(self._make_token(operator, permissions, agents))
        return self._tokens[key]

    def expired_token(self) -> str:
        """Return the secret of a token whose time is over; control must not run yet, or no more.

        Control makes none that lives for less than five minutes, so this one is written into its
        store, as it would be there from yesterday.
        """
        token_id, day_ns = new_token_id(), 86_400 * 10**9
        secret = new_secret(token_id)
        store = SqliteApiTokens(self.layout.api_tokens)
        store.add(
            ApiToken(
                id=token_id,
                operator="soar-all",
                identity=spiffe("soar-all"),
                human_id="soar-all",
                permissions=frozenset({Role.CONTAIN, Role.RELEASE, Role.AUDIT_READ}),
                agents=frozenset(),
                description="made for a test, and over",
                author="carol",
                hash=digest_of(secret),
                create_time_ns=time.time_ns() - day_ns,
                expire_time_ns=time.time_ns() - day_ns // 2,
            ),
            request_id=new_id(),
            what="a test",
        )
        store.close()
        return secret

    async def _make_token(
        self, operator: str, permissions: Sequence[str], agents: Sequence[str]
    ) -> str:
        async with self.operator("carol") as admin:
            stub: Any = api_token_pb2_grpc.ApiTokenServiceStub(admin.channel)
            answer = await stub.CreateApiToken(
                api_token_pb2.CreateApiTokenRequest(
                    request_id=new_id(),
                    operator=operator,
                    permissions=permissions,
                    agents=agents,
                    ttl=duration_pb2.Duration(seconds=3600),
                    description="made for a test",
                ),
                timeout=10,
            )
        return str(answer.secret)

    # -- what is so on the host, whatever a platform says -------------------------------------

    def verdict(self, agent: str) -> str:
        """Return effect and first reason of the gate for a harmless call of *agent*."""

        async def ask() -> str:
            async with self.agent(agent) as client:
                decision = await client.ask()
            return f"{effect(decision)} {decision.reasons[0].code}"

        return waiting(ask())

    def directives_on(self, agent: str) -> list[types_pb2.Directive]:
        """Return every directive on exactly *agent*, ended ones too."""

        async def ask(client: ControlClient) -> list[types_pb2.Directive]:
            found = await client.directives(include_ended=True)
            return [one for one in found if one.target.agent == agent]

        return self.ask("alice", ask)

    def decide(self, operation: str, verdict: str) -> types_pb2.Operation:
        """Let humans decide what waits, as many as it takes, and return how it ended."""

        async def act(human: ControlClient) -> types_pb2.Operation:
            asked = await human.operation(operation)
            decided = await human.decide(asked.approval, verdict)
            if decided.state == approval_pb2.Approval.STATE_PENDING:
                async with self.operator("second-approve") as second:
                    await second.decide(asked.approval, verdict)
            return await human.operation(operation, wait_s=10)

        return self.ask("only-approve", act)

    def waiting_on(self, agent: str) -> list[types_pb2.Operation]:
        """Return the control actions on *agent* that wait for a human."""

        async def look(human: ControlClient) -> list[types_pb2.Operation]:
            answer = await human.operations.ListOperations(
                operation_pb2.ListOperationsRequest(pending_only=True, page_size=1000), timeout=10
            )
            return [one for one in answer.operations if agent in one.summary]

        return self.ask("only-approve", look)

    def operation(self, name: str, *, wait: timedelta = timedelta()) -> types_pb2.Operation:
        """Return how *name* stands, at once or when it has ended."""

        async def look(human: ControlClient) -> types_pb2.Operation:
            return await human.operation(name, wait_s=wait.total_seconds())

        return self.ask("only-approve", look)

    def ask(self, operator: str, question: Callable[[ControlClient], Awaitable[_T]]) -> _T:
        """Return the answer to *question*, put as *operator* over mutual TLS."""

        async def put() -> _T:
            async with self.operator(operator) as client:
                # A busy machine can miss a handshake; gRPC tries again, a call would not wait for it.
                await client.channel.channel_ready()
                return await question(client)

        return waiting(put())

    def printed(self) -> str:
        """Return everything that control and the gates have logged, to search it for secrets."""
        processes = (self.control, *self.gates.values())
        return "\n".join(
            one.log.read_text(errors="replace") for one in processes if one is not None
        )


def waiting(work: Coroutine[Any, Any, _T]) -> _T:
    """Run *work* to its end, from a test that is not asynchronous."""
    return asyncio.run(_bounded(work))


async def _bounded(work: Coroutine[Any, Any, _T]) -> _T:
    async with asyncio.timeout(60):
        return await work


@contextmanager
def _rewritten(path: Path) -> Iterator[dict[str, Any]]:
    content = yaml.safe_load(path.read_text())
    yield content
    path.write_text(yaml.safe_dump(content, sort_keys=False))
