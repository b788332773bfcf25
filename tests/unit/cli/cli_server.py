# SPDX-License-Identifier: Apache-2.0
"""A small control in memory, behind real gRPC on a Unix socket (and TLS): state, no scripts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from sidecar.api.v1 import (
    agent_pb2,
    agent_pb2_grpc,
    approval_pb2,
    approval_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    containment_pb2,
    containment_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    token_pb2,
    token_pb2_grpc,
    types_pb2,
)
from sidecar.approvals.challenge import grant_challenge
from sidecar.audit.reader import StoredEntry, checkpoint_text, inclusion_proof, read_entries
from sidecar.canonical import canonicalise, fingerprint_words
from sidecar.containment.acks import GateItem, GateStanding
from sidecar.containment.receipt import DirectiveState, Receipt, key_id_of, sign_receipt
from sidecar.control.convert import target_of
from sidecar.control.status import abort_with
from sidecar.errors import (
    ConflictError,
    ErrorReason,
    HoldfastError,
    NotFoundError,
    PreconditionError,
    RefusedError,
    UntrustedInputError,
)
from sidecar.internal.v1 import sync_pb2, sync_pb2_grpc
from sidecar.model import Directive, Level

Context = grpc.aio.ServicerContext
NOW = 1_790_000_000


def domain_errors(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Let *method* raise our errors, as control's interceptor does."""

    @wraps(method)
    async def call(self: Any, request: Any, context: Context) -> Any:
        control: MemoryControl = self.control
        control.requests.append(request)
        if control.hang:
            await asyncio.Event().wait()
        try:
            if control.failure is not None:
                raise control.failure
            return await method(self, request, context)
        except HoldfastError as exc:
            await abort_with(context, exc)

    return call


class MemoryControl:
    """What the servicers share. ``failure`` makes every call fail, ``hang`` never answer."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.key = key
        self.requests: list[Any] = []
        self.failure: HoldfastError | None = None
        self.hang = False
        self.epoch = 1
        self.directives: dict[int, types_pb2.Directive] = {}
        self.by_request: dict[str, tuple[bytes, int]] = {}
        self.agents = {
            "banking": {"env": "prod"},
            "travel": {"env": "prod"},
            "evil\x1b]52;c;cm0=\x07\u202egnp": {"env": "\x1b[31mred"},
        }
        self.laggards: set[str] = set()
        self.gates = ["banking", "travel"]
        self.is_durable = True
        self.revocations: list[token_pb2.Revocation] = []
        self.is_contained = True
        self.runtimes: list[sync_pb2.RegisterRuntimeRequest] = []
        self.bundle = {
            "tools.yaml": b"version: 1\ntools: {}\n",
            "policies/a.cedar": b"// \x1b[2J\n",
        }
        self.is_bundle_changed = True
        self.approvals: dict[str, approval_pb2.Approval] = {}
        self.operations: dict[str, types_pb2.Operation] = {}
        self.is_holding = False
        """Whether a release, a wide containment and a reload wait for a human."""
        self.when_polled: Callable[[types_pb2.Operation], None] = lambda operation: None
        """What happens while somebody waits for an operation."""
        self.when_decided: Callable[[approval_pb2.DecideApprovalRequest], None] = lambda vote: None
        """What happens before a vote is counted."""
        self.changes: asyncio.Queue[approval_pb2.Approval | None] = asyncio.Queue()
        """What watchers are told; None ends the stream."""
        self.audit_directory: Path | None = None
        self.vkey = ""

    def last(self, kind: type[Any]) -> Any:
        """Return the newest request of *kind*."""
        return next(request for request in reversed(self.requests) if isinstance(request, kind))

    def ask(self, **fields: Any) -> approval_pb2.Approval:
        """Let a call wait for a human; *fields* replace those of the approval."""
        arguments = fields.pop("arguments", {"recipient": "GB29", "amount": 1240})
        canonical = canonicalise({"v": 1, "agent": "banking", "arguments": arguments})
        id_ = f"apr_{len(self.approvals) + 0xA0:032x}"
        fingerprint = sha256(canonical).hexdigest()
        approval = approval_pb2.Approval(
            name=f"approvals/{id_}",
            state=approval_pb2.Approval.STATE_PENDING,
            fingerprint=fingerprint,
            fingerprint_words=fingerprint_words(fingerprint),
            canonical=canonical,
            agent="banking",
            tool="send_money",
            session="s-1",
            summary="agent banking wants to run send_money",
            reason="more than 1000 euros",
            tier="MEDIUM",
            create_time=Timestamp(seconds=NOW),
            expire_time=Timestamp(seconds=NOW + 1800),
            approver_role="approve",
            approvers=["alice", "bob"],
            quorum=1,
            policies=["hold-large"],
            policy_digest="d" * 64,
            url=f"https://console.example/approvals/{id_}",
        )
        for name, value in fields.items():
            if isinstance(value, list):
                approval.ClearField(name)
                getattr(approval, name).extend(value)
            else:
                setattr(approval, name, value)
        if approval.passkey_required:
            approval.passkey_challenge = grant_challenge(id_, approval.fingerprint)
        self.approvals[approval.name] = approval
        return approval

    def held(self, action: str, summary: str, request_id: str) -> types_pb2.Operation:
        """Return the operation that *request_id* asked for, opened if it is new."""
        for known in self.operations.values():
            if known.request_id == request_id:
                return known
        approval = self.ask(agent="", tool="", session="", requester="local", summary=summary)
        operation = types_pb2.Operation(
            name=approval.name.replace("approvals/", "operations/"),
            state=types_pb2.Operation.STATE_PENDING_APPROVAL,
            action=action,
            summary=summary,
            request_id=request_id,
            requester="local",
            approval=approval.name,
            approvers=["bob", "carol"],
            url=approval.url,
            fingerprint=approval.fingerprint,
            create_time=approval.create_time,
            expire_time=approval.expire_time,
        )
        approval.operation = operation.name
        self.operations[operation.name] = operation
        return operation

    def covered(self, target: types_pb2.Target) -> list[str]:
        """Return the agents that *target* reaches."""
        match target.WhichOneof("kind"):
            case "all" | "tool" | "destination":
                return list(self.agents)
            case "labels":
                wanted = dict(target.labels.labels)
                return [name for name, own in self.agents.items() if wanted.items() <= own.items()]
            case "session" | "tool_at_agent" as kind:
                agent = getattr(target, kind).agent
            case "agent":
                agent = target.agent
            case _:
                return []
        return [agent] if agent in self.agents else []

    def receipt(self, directive: types_pb2.Directive) -> types_pb2.Receipt:
        """Return a receipt that is really signed."""
        items = types_pb2.Receipt.GateItem
        gates = [
            items(
                gate=gate,
                state=items.STATE_LAGGARD if gate in self.laggards else items.STATE_ENFORCED,
                applied_epoch=directive.epoch,
                ack_time=Timestamp(seconds=NOW, nanos=5_000_000),
            )
            for gate in self.gates
        ]
        standing = {items.STATE_ENFORCED: GateStanding.ENFORCED}
        signed = sign_receipt(
            Receipt(
                directive=Directive(
                    epoch=directive.epoch,
                    target=target_of(directive.target),
                    level=Level(directive.level),
                    reason=directive.reason,
                    author=directive.author,
                    create_time_ns=NOW * 10**9,
                    request_id="cli_request",
                    request_fingerprint="0" * 64,
                ),
                state=DirectiveState.ACTIVE,
                is_durable=self.is_durable,
                agents=(),
                gates=tuple(
                    GateItem(
                        gate=item.gate,
                        standing=standing.get(item.state, GateStanding.LAGGARD),
                        applied_epoch=item.applied_epoch,
                    )
                    for item in gates
                ),
                isolation=(),
                log_index=7,
                checkpoint="",
                issue_time_ns=NOW * 10**9,
                key_id=_key_id(self.key),
            ),
            self.key,
        )
        return types_pb2.Receipt(
            directive=directive,
            durable=self.is_durable,
            gates=gates,
            contained=not self.laggards,
            isolation=[
                types_pb2.Receipt.IsolationItem(
                    driver="process_group", subject="pgid 4711 \x1b[1m", result="TERMINATED"
                )
            ],
            log_index=7,
            signed_json=signed.signed_json,
            signature=signed.signature,
            key_id=_key_id(self.key),
            issue_time=Timestamp(seconds=NOW),
        )


def _key_id(key: Ed25519PrivateKey) -> str:
    return key_id_of(key.public_key())


def caller_of(context: Context) -> str:
    """Return the name in the client certificate, or ``local``."""
    pem = (context.auth_context() or {}).get("x509_pem_cert")
    if not pem:
        return "local"
    certificate = x509.load_pem_x509_certificate(bytes(pem[0]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    uri = names.get_values_for_type(x509.UniformResourceIdentifier)[0]
    return uri.rpartition("/")[2]


class Containment(containment_pb2_grpc.ContainmentServiceServicer):
    def __init__(self, control: MemoryControl) -> None:
        self.control = control

    @domain_errors
    async def Contain(self, request: Any, context: Context) -> Any:
        control = self.control
        agents = control.covered(request.target)
        if control.is_holding and request.target.WhichOneof("kind") == "labels":
            summary = "local wants to contain most of the fleet"
            if request.validate_only:
                operation = types_pb2.Operation(action="contain", detail="most of the fleet")
            else:
                operation = control.held("contain", summary, request.request_id)
            return containment_pb2.ContainResponse(operation=operation, agents=agents)
        if len(agents) > 2 and request.target.WhichOneof("kind") == "labels":
            raise RefusedError(
                "the target covers most of the fleet",
                reason=ErrorReason.WIDE_BLAST,
                hint="ask somebody who holds break-glass",
            )
        if request.validate_only:
            gates = [types_pb2.Receipt.GateItem(gate=gate) for gate in control.gates]
            return containment_pb2.ContainResponse(
                receipt=types_pb2.Receipt(gates=gates), agents=agents
            )
        body = containment_pb2.ContainRequest()
        body.CopyFrom(request)
        body.request_id = ""
        known = control.by_request.get(request.request_id)
        if known is not None:
            if known[0] != body.SerializeToString(deterministic=True):
                raise ConflictError("the request id was used for another order")
            directive = control.directives[known[1]]
            return containment_pb2.ContainResponse(
                receipt=control.receipt(directive), repeated_request=True, agents=agents
            )
        control.epoch += 1
        directive = types_pb2.Directive(
            name=f"directives/{control.epoch}",
            epoch=control.epoch,
            target=request.target,
            level=request.level,
            reason=request.reason,
            author=caller_of(context),
            create_time=Timestamp(seconds=NOW),
            throttle_calls_per_minute=request.throttle_calls_per_minute,
            state=types_pb2.Directive.STATE_ACTIVE,
        )
        if request.HasField("ttl"):
            directive.expire_time.seconds = NOW + request.ttl.seconds
        control.directives[control.epoch] = directive
        control.by_request[request.request_id] = (
            body.SerializeToString(deterministic=True),
            control.epoch,
        )
        return containment_pb2.ContainResponse(receipt=control.receipt(directive), agents=agents)

    @domain_errors
    async def Release(self, request: Any, context: Context) -> Any:
        control = self.control
        directive = control.directives.get(request.epoch)
        if directive is None:
            raise NotFoundError(f"there is no directive {request.epoch}")
        if not control.is_holding and caller_of(context) == directive.author:
            raise RefusedError(
                "whoever ordered a directive does not end it",
                reason=ErrorReason.SECOND_HUMAN_NEEDED,
                hint="ask a second human who holds the role release",
            )
        if control.is_holding:
            summary = f"local wants to release directive {request.epoch}"
            operation = control.held("release", summary, request.request_id)
            answer = containment_pb2.ReleaseResponse(operation=operation)
            if operation.HasField("directive"):
                answer.directive.CopyFrom(operation.directive)
                answer.epoch = operation.epoch
            return answer
        if directive.state != types_pb2.Directive.STATE_ACTIVE:
            raise PreconditionError("it was released", reason=ErrorReason.ALREADY_RELEASED)
        directive.state = types_pb2.Directive.STATE_RELEASED
        directive.releaser = caller_of(context)
        control.epoch += 1
        remaining = [
            other
            for other in control.directives.values()
            if other.state == types_pb2.Directive.STATE_ACTIVE and other.target == directive.target
        ]
        return containment_pb2.ReleaseResponse(
            directive=directive, epoch=control.epoch, remaining=remaining
        )

    @domain_errors
    async def ListDirectives(self, request: Any, context: Context) -> Any:
        active = types_pb2.Directive.STATE_ACTIVE
        found = [
            directive
            for directive in reversed(self.control.directives.values())
            if (request.include_ended or directive.state == active)
            and (not request.agent or request.agent in self.control.covered(directive.target))
        ]
        more = found[request.page_size :]
        return containment_pb2.ListDirectivesResponse(
            directives=found[: request.page_size],
            epoch=self.control.epoch,
            next_page_token="2" if more else "",
        )

    @domain_errors
    async def GetReceipt(self, request: Any, context: Context) -> Any:
        directive = self.control.directives.get(request.epoch)
        if directive is None:
            raise NotFoundError(f"there is no directive {request.epoch}")
        return containment_pb2.GetReceiptResponse(receipt=self.control.receipt(directive))

    @domain_errors
    async def VerifyContainment(self, request: Any, context: Context) -> Any:
        is_contained = self.control.is_contained
        effect = types_pb2.EFFECT_DENY if is_contained else types_pb2.EFFECT_ALLOW
        item = containment_pb2.VerifyContainmentResponse.Item(
            decision_id="dec_1",
            tool="send_money\x1b[2J",
            original_effect=types_pb2.EFFECT_ALLOW,
            effect=effect,
            reason=types_pb2.Reason(code="KILLED" if is_contained else "POLICY_ALLOW"),
        )
        return containment_pb2.VerifyContainmentResponse(
            items=[item] * 3, contained=is_contained, statement=f"3 calls of {request.agent}"
        )


class Tokens(token_pb2_grpc.TokenServiceServicer):
    def __init__(self, control: MemoryControl) -> None:
        self.control = control

    @domain_errors
    async def RevokeTokens(self, request: Any, context: Context) -> Any:
        if request.jti and not request.issuer:
            raise UntrustedInputError("a token id needs its issuer")
        self.control.epoch += 1
        revocation = token_pb2.Revocation(
            epoch=self.control.epoch,
            jti=request.jti,
            agent=request.agent,
            session=request.session,
            issuer=request.issuer,
            issued_before=request.issued_before,
            author=caller_of(context),
            reason=request.reason,
            create_time=Timestamp(seconds=NOW),
        )
        self.control.revocations.insert(0, revocation)
        return token_pb2.RevokeTokensResponse(
            revocation=revocation, laggards=sorted(self.control.laggards)
        )

    @domain_errors
    async def ListRevocations(self, request: Any, context: Context) -> Any:
        return token_pb2.ListRevocationsResponse(revocations=self.control.revocations)


class Agents(agent_pb2_grpc.AgentServiceServicer):
    def __init__(self, control: MemoryControl) -> None:
        self.control = control

    def _agent(self, name: str) -> agent_pb2.Agent:
        held = [
            directive
            for directive in self.control.directives.values()
            if name in self.control.covered(directive.target)
            and directive.state == types_pb2.Directive.STATE_ACTIVE
        ]
        return agent_pb2.Agent(
            agent=name,
            owner="emma@example.com",
            groups=["finance"],
            labels=self.control.agents[name],
            declared=name == "banking",
            gates=[name],
            directives=held,
            level=max((directive.level for directive in held), default=0),
            decision_counts={"ALLOW": 3},
        )

    @domain_errors
    async def ListAgents(self, request: Any, context: Context) -> Any:
        return agent_pb2.ListAgentsResponse(
            agents=[self._agent(name) for name in self.control.agents], next_page_token="9"
        )

    @domain_errors
    async def GetAgent(self, request: Any, context: Context) -> Any:
        if request.agent not in self.control.agents:
            raise NotFoundError("no such agent", hint="list the agents; names are exact")
        return agent_pb2.GetAgentResponse(agent=self._agent(request.agent))

    @domain_errors
    async def ListTools(self, request: Any, context: Context) -> Any:
        return agent_pb2.ListToolsResponse(
            tools=[
                agent_pb2.Tool(
                    tool="send_money",
                    tool_class=types_pb2.TOOL_CLASS_WRITE,
                    data_class="financial",
                    declared=True,
                    agents=["banking"],
                    call_count=3,
                ),
                agent_pb2.Tool(tool="rm", destinations=["evil\x1b[1A.example"]),
            ]
        )


class Policy(policy_pb2_grpc.PolicyServiceServicer):
    def __init__(self, control: MemoryControl) -> None:
        self.control = control

    def _policy_set(self) -> policy_pb2.PolicySet:
        return policy_pb2.PolicySet(
            digest="d" * 64, epoch=1, files=self.control.bundle, policy_count=1
        )

    @domain_errors
    async def GetPolicySet(self, request: Any, context: Context) -> Any:
        return policy_pb2.GetPolicySetResponse(policy_set=self._policy_set())

    @domain_errors
    async def ExplainDecision(self, request: Any, context: Context) -> Any:
        return policy_pb2.ExplainDecisionResponse(
            effect=types_pb2.EFFECT_ALLOW,
            policies=[
                policy_pb2.ExplainDecisionResponse.Policy(
                    id=f"{request.agent}-may", file="policies/a.cedar", line=3, effect="permit",
                    matched=True,
                )
            ],
            directives=list(self.control.directives.values()),
        )  # fmt: skip

    @domain_errors
    async def ReloadPolicySet(self, request: Any, context: Context) -> Any:
        if self.control.is_holding:
            summary = "local wants a bundle that permits more"
            if request.validate_only:
                operation = types_pb2.Operation(action="activate_policy", detail="permits more")
            else:
                operation = self.control.held("activate_policy", summary, request.request_id)
            return policy_pb2.ReloadPolicySetResponse(
                policy_set=self._policy_set(), changed=True, operation=operation
            )
        return policy_pb2.ReloadPolicySetResponse(
            policy_set=self._policy_set(), changed=self.control.is_bundle_changed
        )


class Audit(audit_pb2_grpc.AuditServiceServicer):
    def __init__(self, control: MemoryControl) -> None:
        self.control = control

    @property
    def _directory(self) -> Path:
        assert self.control.audit_directory is not None
        return self.control.audit_directory

    def _entry(self, stored: StoredEntry) -> audit_pb2.Entry:
        return audit_pb2.Entry(log="control", index=stored.seq, json=stored.line)

    @domain_errors
    async def ListEntries(self, request: Any, context: Context) -> Any:
        found = [
            entry
            for entry in reversed(read_entries(self._directory))
            if not request.agent or entry.fields().get("agent") == request.agent
        ]
        return audit_pb2.ListEntriesResponse(
            entries=[self._entry(entry) for entry in found[: request.page_size]],
            next_page_token="x" if found[request.page_size :] else "",
        )

    @domain_errors
    async def GetCheckpoint(self, request: Any, context: Context) -> Any:
        return audit_pb2.GetCheckpointResponse(
            checkpoint=checkpoint_text(self._directory), verifier_key=self.control.vkey
        )

    @domain_errors
    async def GetInclusionProof(self, request: Any, context: Context) -> Any:
        text = checkpoint_text(self._directory)
        size = int(text.split("\n")[1])
        if request.index >= size:
            raise NotFoundError("there is no such entry yet")
        return audit_pb2.GetInclusionProofResponse(
            entry=self._entry(read_entries(self._directory, request.index, 1)[0]),
            tree_size=size,
            hashes=inclusion_proof(self._directory, request.index),
            checkpoint=text,
        )


class Approvals(approval_pb2_grpc.ApprovalServiceServicer):
    def __init__(self, control: MemoryControl) -> None:
        self.control = control

    def _get(self, name: str) -> approval_pb2.Approval:
        found = self.control.approvals.get(name)
        if found is None:
            raise NotFoundError("there is no such approval")
        return found

    @domain_errors
    async def ListApprovals(self, request: Any, context: Context) -> Any:
        pending = approval_pb2.Approval.STATE_PENDING
        found = [
            approval
            for approval in reversed(self.control.approvals.values())
            if (not request.pending_only or approval.state == pending)
            and (not request.mine_only or caller_of(context) in approval.approvers)
            and (not request.agent or approval.agent == request.agent)
        ]
        page = found[: request.page_size]
        token = page[-1].name if len(found) > len(page) else ""
        return approval_pb2.ListApprovalsResponse(approvals=page, next_page_token=token)

    @domain_errors
    async def GetApproval(self, request: Any, context: Context) -> Any:
        return approval_pb2.GetApprovalResponse(approval=self._get(request.name))

    @domain_errors
    async def DecideApproval(self, request: Any, context: Context) -> Any:
        approval = self._get(request.name)
        self.control.when_decided(request)
        message = approval_pb2.Approval
        voted = [vote for vote in approval.votes if vote.reason == request.reason]
        if voted and request.request_id == "retry-00":
            return approval_pb2.DecideApprovalResponse(approval=approval, repeated_request=True)
        if approval.state != message.STATE_PENDING:
            raise PreconditionError(
                f"it is over: {approval.detail}", reason=ErrorReason.APPROVAL_CLOSED
            )
        if request.verdict == message.VERDICT_GRANT:
            if request.fingerprint != approval.fingerprint:
                raise RefusedError("not it", reason=ErrorReason.FINGERPRINT_MISMATCH)
            if approval.passkey_required and not request.passkey_assertion:
                raise RefusedError("sign it", reason=ErrorReason.PASSKEY_NEEDED)
            if approval.reason_required and not request.reason:
                raise RefusedError("say why", reason=ErrorReason.REASON_NEEDED)
        approval.votes.add(
            operator=caller_of(context),
            verdict=request.verdict,
            reason=request.reason,
            create_time=Timestamp(seconds=NOW + 60),
            channel=request.channel,
        )
        if request.verdict == message.VERDICT_REFUSE:
            approval.state = message.STATE_REFUSED
        elif len(approval.votes) >= approval.quorum:
            approval.state = message.STATE_GRANTED
        approval.detail = f"decided by {caller_of(context)}"
        return approval_pb2.DecideApprovalResponse(approval=approval)

    async def WatchApprovals(self, request: Any, context: Context) -> Any:
        if self.control.hang:
            await asyncio.Event().wait()
        if self.control.failure is not None:
            await abort_with(context, self.control.failure)
        await context.send_initial_metadata(())
        for approval in self.control.approvals.values():
            yield approval_pb2.WatchApprovalsResponse(approval=approval, initial=True)
        while (approval := await self.control.changes.get()) is not None:
            yield approval_pb2.WatchApprovalsResponse(approval=approval)


class Operations(operation_pb2_grpc.OperationServiceServicer):
    def __init__(self, control: MemoryControl) -> None:
        self.control = control

    @domain_errors
    async def GetOperation(self, request: Any, context: Context) -> Any:
        operation = self.control.operations.get(request.name)
        if operation is None:
            raise NotFoundError("there is no such operation")
        if request.HasField("wait"):
            self.control.when_polled(operation)
        return operation_pb2.GetOperationResponse(operation=operation)

    @domain_errors
    async def ListOperations(self, request: Any, context: Context) -> Any:
        pending = types_pb2.Operation.STATE_PENDING_APPROVAL
        found = [
            operation
            for operation in reversed(self.control.operations.values())
            if not request.pending_only or operation.state == pending
        ]
        return operation_pb2.ListOperationsResponse(operations=found)


class Sync(sync_pb2_grpc.SyncServiceServicer):
    def __init__(self, control: MemoryControl) -> None:
        self.control = control

    async def RegisterRuntime(self, request: Any, context: Context) -> Any:
        self.control.runtimes.append(request)
        return sync_pb2.RegisterRuntimeResponse()


class ServerThread:
    """An event loop in a thread, for servers that a command in the main thread calls."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self._servers: list[grpc.aio.Server] = []

    def run(self, work: Any) -> Any:
        """Run the coroutine *work* there and return its result."""
        future: Future[Any] = asyncio.run_coroutine_threadsafe(work, self.loop)
        return future.result(timeout=20)

    def serve(
        self,
        register: Callable[[grpc.aio.Server], None],
        address: str,
        credentials: grpc.ServerCredentials | None = None,
    ) -> int:
        """Start a server on *address* and return its port."""

        async def start() -> int:
            server = grpc.aio.server()
            register(server)
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
            await server.start()
            self._servers.append(server)
            return port

        return int(self.run(start()))

    def stop(self) -> None:
        """Stop every server and the loop."""

        async def stop() -> None:
            await asyncio.gather(*(server.stop(0) for server in self._servers))

        self.run(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)
        self.loop.close()


def register_control(control: MemoryControl, status: int) -> Callable[[grpc.aio.Server], None]:
    """Return what adds every service of *control* to a server."""

    def register(server: grpc.aio.Server) -> None:
        containment_pb2_grpc.add_ContainmentServiceServicer_to_server(Containment(control), server)
        token_pb2_grpc.add_TokenServiceServicer_to_server(Tokens(control), server)
        agent_pb2_grpc.add_AgentServiceServicer_to_server(Agents(control), server)
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(Policy(control), server)
        audit_pb2_grpc.add_AuditServiceServicer_to_server(Audit(control), server)
        approval_pb2_grpc.add_ApprovalServiceServicer_to_server(Approvals(control), server)
        operation_pb2_grpc.add_OperationServiceServicer_to_server(Operations(control), server)
        register_health(status)(server)

    return register


def register_health(status: int) -> Callable[[grpc.aio.Server], None]:
    """Return what adds a health service that says *status* to a server."""

    def register(server: grpc.aio.Server) -> None:
        servicer = health.aio.HealthServicer()
        asyncio.get_running_loop().create_task(
            servicer.set("", health_pb2.HealthCheckResponse.ServingStatus.ValueType(status))
        )
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)

    return register
