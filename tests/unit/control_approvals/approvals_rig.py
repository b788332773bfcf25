# SPDX-License-Identifier: Apache-2.0
"""A control that has approvals and operations and nothing else, behind real gRPC.

Interceptor, servicers, services and SQLite are the real ones. Over TLS, callers are known by their
certificates, through control's own ``TlsIdentity``; on the rig's own socket a test's stubs carry a mark
that says whose they are, in place of a certificate.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import grpc

from sidecar.api.v1 import (
    approval_pb2,
    approval_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
)
from sidecar.approvals.answers import ApprovalLimits, Pending
from sidecar.approvals.service import Approvals
from sidecar.approvals.store_sqlite import SqliteApprovals
from sidecar.approvals.values import Approval, Binding, Request, RequestKind, Tier
from sidecar.canonical import canonicalise
from sidecar.clock import ManualClock
from sidecar.control.admission import Admission, methods_of
from sidecar.control.approvals import ApprovalServicer
from sidecar.control.identity import LOCAL_OPERATOR, Identities, LocalIdentity, TlsIdentity
from sidecar.control.interceptor import AuthorizationInterceptor
from sidecar.control.operations import OperationServicer
from sidecar.control.pki import InsecureDevelopmentPki
from sidecar.errors import EnvironmentFailure, ErrorReason, HoldfastError, RefusedError
from sidecar.ids import SequentialIds
from sidecar.model import Fingerprint, Operator, OperatorKind, Role
from sidecar.operations.service import Operations

__all__ = [
    "OPERATORS",
    "OWNER",
    "SECOND_HUMANS",
    "URL",
    "ApprovalsRig",
    "Client",
    "code_of",
    "reason_of",
]

BOOT_ID = "11111111-2222-3333-4444-555555555555"
DIGEST = "d" * 64
URL = "https://console.example/approvals/"
OWNER = "olga@example.com"
METHODS = methods_of(
    approval_pb2.DESCRIPTOR.services_by_name["ApprovalService"],
    operation_pb2.DESCRIPTOR.services_by_name["OperationService"],
)
_KEY = "x-test-operator"


def _operator(name: str, *roles: Role, human: str | None = None, email: str = "") -> Operator:
    return Operator(
        name=name,
        kind=OperatorKind.HUMAN if human != "" else OperatorKind.AUTOMATION,
        human_id=name if human is None else human,
        roles=frozenset(roles),
        identity=f"spiffe://holdfast.dev/operator/{name}",
        emails=(email,) if email else (),
    )


OPERATORS = {
    operator.name: operator
    for operator in (
        _operator("bob", Role.APPROVE),
        _operator("carol", Role.APPROVE),
        _operator("bobby", Role.APPROVE, human="bob"),  # bob's second account
        _operator("olga", Role.APPROVE, email=OWNER),  # owns the agent
        _operator("rita", Role.RELEASE),
        _operator("paul", Role.POLICY_APPROVE),
        _operator("audrey", Role.AUDIT_READ),
        _operator("anna", Role.APPROVE, Role.AUDIT_READ),
        _operator("alice", Role.CONTAIN, Role.RELEASE, Role.APPROVE),  # asks for control actions
        _operator("soar", Role.CONTAIN, human=""),
        _operator("robot", Role.APPROVE, human=""),  # automation that was given a human's role
    )
}
SECOND_HUMANS = ("alice", "anna", "bob", "bobby", "carol")
"""Who may decide a call of ``banking``, by name: four people, five accounts."""


class _ByMark:
    """Knows who calls by the mark of its stubs; the operators in force are the rig's."""

    def __init__(self, rig: ApprovalsRig) -> None:
        self._rig = rig

    def operator(self, context: grpc.aio.ServicerContext) -> Operator:
        names = [value for key, value in context.invocation_metadata() or () if key == _KEY]
        if names == ["local"]:
            return LOCAL_OPERATOR
        found = self._rig.in_force.get(names[0]) if len(names) == 1 else None
        if found is None:
            raise RefusedError("nobody we know", reason=ErrorReason.UNAUTHENTICATED)
        return found


class Memory:
    """Log, passkeys, reach and announcements, all in memory."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, Mapping[str, Any]]] = []
        self.refused: list[tuple[str, str]] = []
        self.no_reach = ""

    async def append(self, kind: str, body: Mapping[str, Any]) -> None:
        self.entries.append((kind, body))

    async def verify(self, *, human_id: str, challenge: bytes, assertion: bytes) -> str:
        if assertion != b"signed by " + human_id.encode():
            raise RefusedError("not signed", reason=ErrorReason.PASSKEY_INVALID)
        return '{"v":1}'

    def refusal(self, request: Request) -> str:
        return self.no_reach

    def announce(self, approval: Approval, kind: str) -> None:
        """Tell nobody."""

    def alert(self, agent: str, text: str) -> None:
        """Tell nobody."""

    async def note(
        self, path: str, operator: Operator | None, error: HoldfastError, omitted: int
    ) -> None:
        self.refused.append((path, operator.name if operator else ""))


class Levers:
    """What operations need of containment to tell what was done."""

    def __init__(self) -> None:
        self.receipts: dict[int, Any] = {}
        self.entries: dict[int, Any] = {}

    async def get_receipt(self, epoch: int) -> Any:
        return self.receipts[epoch]

    async def get_directive(self, epoch: int) -> Any:
        return self.entries[epoch]

    def remaining(self, entry: Any) -> Sequence[Any]:
        return ()


class _As:
    """A stub whose every call is marked with whose it is."""

    def __init__(self, stub: Any, name: str) -> None:
        self._stub, self._name = stub, name

    def __getattr__(self, method: str) -> Any:
        return partial(getattr(self._stub, method), metadata=((_KEY, self._name),))


@dataclass(slots=True)
class Client:
    """The stubs of one operator."""

    approvals: Any
    operations: Any


class ApprovalsRig:
    """The rig. Use as ``async with ApprovalsRig(directory) as rig``."""

    def __init__(self, directory: Path, *, limits: ApprovalLimits | None = None) -> None:
        self.directory = directory
        self.clock = ManualClock(wall_ns=time.time_ns(), boot_ns=10**12)
        self.memory = Memory()
        self.levers = Levers()
        self.in_force: dict[str, Operator] = dict(OPERATORS)
        self.is_directory_broken = False
        self.epoch = 7
        self._limits = limits or ApprovalLimits(max_pending_per_agent=1000)
        self._stack = AsyncExitStack()
        self._asked = 0

    async def __aenter__(self) -> Self:
        store = SqliteApprovals(self.directory / "approvals.db")
        self._stack.callback(store.close)
        self.approvals = Approvals(
            store=store,
            directory=self,
            audit=self.memory,
            passkeys=self.memory,
            reach=self.memory,
            announcer=self.memory,
            clock=self.clock,
            boot_id=BOOT_ID,
            ids=SequentialIds(),
            epoch=lambda: self.epoch,
            policy_digest=lambda: DIGEST,
            limits=self._limits,
        )
        self._stack.push_async_callback(self.approvals.close)
        await self.approvals.start()
        unused: Any = None
        levers: Any = self.levers
        self.operations = Operations(
            approvals=self.approvals,
            containment=levers,
            policy=unused,
            activate=unused,
            clock=self.clock,
        )
        self.servicer = ApprovalServicer(approvals=self.approvals, urls=lambda id_: URL + id_)
        self.operation_servicer = OperationServicer(
            operations=self.operations, approvals=self.approvals, urls=lambda id_: URL + id_
        )
        await self._serve(_ByMark(self), f"unix:{self.directory}/rig.sock")
        self._channel = grpc.aio.insecure_channel(f"unix:{self.directory}/rig.sock")
        self._stack.push_async_callback(self._channel.close)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def operators(self) -> Sequence[Operator]:
        """Return who is an operator now."""
        if self.is_directory_broken:
            raise EnvironmentFailure("nobody knows who is an operator")
        return tuple(self.in_force.values())

    def give(self, name: str, *roles: Role) -> None:
        """Let the operator *name* have these roles from now on, and no others."""
        self.in_force[name] = replace(self.in_force[name], roles=frozenset(roles))

    async def _serve(
        self, identity: Any, address: str, credentials: grpc.ServerCredentials | None = None
    ) -> int:
        admission = Admission(methods=METHODS, refused=self.memory.note, clock=self.clock)
        server = grpc.aio.server(
            interceptors=[AuthorizationInterceptor(identity=identity, admission=admission)]
        )
        approval_pb2_grpc.add_ApprovalServiceServicer_to_server(self.servicer, server)
        operation_pb2_grpc.add_OperationServiceServicer_to_server(self.operation_servicer, server)
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        await server.start()
        self._stack.push_async_callback(server.stop, None)
        return port

    async def serve_tls(self, pki_directory: Path) -> str:
        """Serve over mutual TLS as control does; return the address."""
        pki = InsecureDevelopmentPki.ensure(
            pki_directory, [(item.name, item.identity) for item in OPERATORS.values()]
        )
        credentials = grpc.ssl_server_credentials(
            [(pki.key("server").read_bytes(), pki.certificate("server").read_bytes())],
            root_certificates=pki.ca.read_bytes(),
            require_client_auth=True,
        )

        class InForce:
            def operators(_self) -> Mapping[str, Operator]:  # noqa: N805 - the rig is self
                return {item.identity: item for item in self.in_force.values()}

        identity = TlsIdentity(Identities(operators=InForce(), clock=self.clock))
        return f"127.0.0.1:{await self._serve(identity, '127.0.0.1:0', credentials)}"

    async def serve_local(self, path: Path) -> None:
        """Serve on the root-only socket as control does."""
        await self._serve(LocalIdentity(), f"unix:{path}")

    def as_(self, name: str) -> Client:
        """Return the stubs of the operator *name*."""
        return Client(
            _As(approval_pb2_grpc.ApprovalServiceStub(self._channel), name),
            _As(operation_pb2_grpc.OperationServiceStub(self._channel), name),
        )

    # -- what waits -------------------------------------------------------------------------------

    async def hold(self, **fields: Any) -> Approval:
        """Let a call of the agent ``banking`` wait for a human; *fields* replace the request's."""
        answer = await self.ask(**fields)
        assert isinstance(answer, Pending), answer
        return answer.approval

    async def ask(self, **fields: Any) -> Any:
        """Ask about a call; the same *fields* with the same ``number`` are the same call."""
        self._asked += 1
        arguments = fields.pop("arguments", None) or {
            "recipient": "GB29", "secret": "hunter2", "number": fields.pop("number", self._asked),
        }  # fmt: skip
        agent = fields.get("agent", "banking")
        canonical = canonicalise(
            {"v": 1, "agent": agent, "session": "s-1", "tool": "send_money", "arguments": arguments}
        )
        request = replace(
            Request(
                kind=RequestKind.CALL,
                fingerprint=Fingerprint(sha256(canonical).hexdigest()),
                canonical=canonical,
                summary=f'agent {agent} wants to run send_money (secret "hunter2")',
                reason="more than 1000 euros",
                tier=Tier.MEDIUM,
                role=Role.APPROVE,
                quorum=1,
                is_passkey_needed=False,
                is_reason_needed=False,
                expiry_s=1800,
                grant_life_s=900,
                policy_digest=DIGEST,
                epoch=self.epoch,
                agent=agent,
                owner=OWNER,
                session="s-1",
                tool="send_money",
                decision_id="dec_1",
                policies=("hold-large",),
            ),
            **fields,
        )
        binding = Binding(
            fingerprint=request.fingerprint,
            agent=request.agent,
            session=request.session,
            policy_digest=request.policy_digest,
            epoch=self.epoch,
        )
        return await self.approvals.hold(request, binding, decision_id=f"dec_{self._asked}")

    async def act(self, action: str = "release", **fields: Any) -> Approval:
        """Let a control action that ``alice`` asked for wait for a human."""
        self._asked += 1
        canonical = canonicalise({"v": 1, "action": action, "body": {"number": self._asked}})
        request = Request(
            kind=RequestKind.ACTION,
            fingerprint=Fingerprint(sha256(canonical).hexdigest()),
            canonical=canonical,
            summary=f"alice wants to {action} directive 42",
            reason="a release lets go",
            tier=Tier.MEDIUM,
            role=Role.APPROVE,
            quorum=1,
            is_passkey_needed=False,
            is_reason_needed=False,
            expiry_s=1800,
            grant_life_s=900,
            policy_digest=DIGEST,
            epoch=self.epoch,
            action=action,
            requester="alice",
            requester_human="alice",
            request_id=f"request-{self._asked:04}",
        )
        return await self.approvals.open_action(replace(request, **fields))


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """Return the stable reason in the error's details."""
    from sidecar.cli.client import error_of

    return error_of(error, where="control").reason.value


def code_of(error: grpc.aio.AioRpcError) -> str:
    """Return the name of the status code."""
    return str(error.code().name)
