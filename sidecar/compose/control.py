# SPDX-License-Identifier: Apache-2.0
"""Wires and runs control."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from sidecar import __version__
from sidecar.api.v1 import (
    account_pb2,
    account_pb2_grpc,
    agent_pb2,
    agent_pb2_grpc,
    api_token_pb2,
    api_token_pb2_grpc,
    approval_pb2,
    approval_pb2_grpc,
    audit_pb2,
    audit_pb2_grpc,
    containment_pb2,
    containment_pb2_grpc,
    incident_pb2,
    investigation_pb2,
    operation_pb2,
    operation_pb2_grpc,
    policy_pb2,
    policy_pb2_grpc,
    token_pb2,
    token_pb2_grpc,
)
from sidecar.apitokens.service import ApiTokens, ApiTokenStore, UnusableStore
from sidecar.apitokens.store_sqlite import SqliteApiTokens
from sidecar.audit.anchors import AnchorFile
from sidecar.audit.log import AuditLog
from sidecar.clock import SystemClock
from sidecar.compose.approving import Approving
from sidecar.compose.investigating import Investigating
from sidecar.containment.acks import AckTracker
from sidecar.containment.answers import AuditPosition, ServiceLimits
from sidecar.containment.events import RevocationRule, encode_rule
from sidecar.containment.history import HistoryStore, MemoryHistory, RevocationArchive
from sidecar.containment.process_group import ProcessGroupDriver
from sidecar.containment.receipt import ReceiptSigner
from sidecar.containment.rules import BlastLimit, FleetAgent
from sidecar.containment.service import ContainmentService
from sidecar.containment.store_sqlite import SqliteHistory
from sidecar.control.accounts import AccountServicer
from sidecar.control.admission import Admission, methods_of, via
from sidecar.control.agents import AgentServicer
from sidecar.control.api_tokens import ApiTokenServicer
from sidecar.control.approvals import ApprovalServicer
from sidecar.control.audit import AuditServicer
from sidecar.control.containment import ContainmentServicer, TokenServicer
from sidecar.control.evidence import EvidenceSource
from sidecar.control.gates import GateRegistry, Snapshot, SyncServicer
from sidecar.control.identity import (
    CallerIdentity,
    Identities,
    LocalIdentity,
    TlsIdentity,
    TokenIdentity,
)
from sidecar.control.interceptor import AuthorizationInterceptor
from sidecar.control.logs import HostLogs
from sidecar.control.operations import OperationServicer
from sidecar.control.pki import InsecureDevelopmentPki
from sidecar.control.policies import ControlPolicy, PolicyState
from sidecar.control.policy import PolicyServicer
from sidecar.control.policy_archive import PolicyArchive
from sidecar.control.policy_start import PolicyAtStart, policy_at_start
from sidecar.control.probes import ControlMetrics
from sidecar.control.replay import ContainmentVerifier
from sidecar.control.routes import Routes
from sidecar.control.server import (
    INTERNAL_OPTIONS,
    TOKEN_OPTIONS,
    HealthCheckAlone,
    bind_tls,
    bind_unix,
    tls_credentials,
)
from sidecar.errors import ConfigurationError, EnvironmentFailure, HoldfastError, NotDurableError
from sidecar.internal.v1 import sync_pb2_grpc
from sidecar.keys import load_or_create_key
from sidecar.latch.files import read_boot_id
from sidecar.latch.writer import LatchWriter
from sidecar.model import Operator
from sidecar.observe.exposition import serve_metrics
from sidecar.observe.metrics import Metrics
from sidecar.policy.bundle import Bundle
from sidecar.policy.engine import PolicyEngine
from sidecar.safe_paths import ensure_private_directory
from sidecar.settings import Settings
from sidecar.tokens.store_sqlite import RevocationStore

__all__ = ["run_control"]

_STOP_GRACE_S: Final = 2.0
_BUNDLE_DEADLINE_S: Final = 2.0
log = structlog.get_logger("holdfast.control")

_METHODS: Final = methods_of(
    *(
        module.DESCRIPTOR.services_by_name[name]
        for module, name in (
            (containment_pb2, "ContainmentService"),
            (token_pb2, "TokenService"),
            (audit_pb2, "AuditService"),
            (agent_pb2, "AgentService"),
            (policy_pb2, "PolicyService"),
            (approval_pb2, "ApprovalService"),
            (operation_pb2, "OperationService"),
            (account_pb2, "AccountService"),
            (api_token_pb2, "ApiTokenService"),
            (investigation_pb2, "InvestigationService"),
            (incident_pb2, "IncidentService"),
        )
    )
)


async def run_control(settings: Settings, *, is_dev: bool, accept_policy: str = "") -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: Of this process.
        is_dev: Make development certificates, with loud warnings.
        accept_policy: Digest of the bundle that may come into force though the one that was cannot
            be read any more.

    Raises:
        HoldfastError: Control could not start, or its storage failed: it never goes on as if
            nothing had happened.
    """
    settings.check_for_control(is_dev=is_dev)
    async with AsyncExitStack() as stack:
        control = await _Control.open(settings, stack, is_dev=is_dev, accept_policy=accept_policy)
        await control.serve(stack, is_dev=is_dev)


class _Control:
    """One running control: what must be reached from more than one place."""

    def __init__(
        self,
        *,
        settings: Settings,
        writer: LatchWriter,
        audit: AuditLog,
        policy: ControlPolicy,
        archive: PolicyArchive,
        gates: GateRegistry,
        acks: AckTracker,
        runtimes: ProcessGroupDriver,
        service: ContainmentService,
        clock: SystemClock,
    ) -> None:
        self.approving: Approving
        self.api_tokens: ApiTokens
        self._settings = settings
        self._writer = writer
        self._audit = audit
        self._policy = policy
        self._archive = archive
        self._gates = gates
        self._acks = acks
        self._runtimes = runtimes
        self._service = service
        self._clock = clock
        self._health = health.aio.HealthServicer()

    @classmethod
    async def open(
        cls, settings: Settings, stack: AsyncExitStack, *, is_dev: bool, accept_policy: str
    ) -> _Control:
        layout, clock = settings.layout, SystemClock()
        ensure_private_directory(layout.root, 0o711)
        ensure_private_directory(layout.runtime, 0o711)
        ensure_private_directory(layout.control, 0o700)
        policy = ControlPolicy(path=_bundle_path(settings), clock=clock)
        archive = PolicyArchive(layout.policy_archive)
        found = await policy.read()
        # Where a verifier key was written there was a log: a missing one is not made anew.
        is_new = not (layout.control / "audit.vkey").exists()
        key = load_or_create_key(layout.signing_key)
        history = _open_history(layout.database, stack)
        writer = _open_latch(layout.latch, epoch_floor=_highest_epoch(history))
        stack.callback(writer.close)
        audit = AuditLog.open(
            layout.control_audit,
            origin="holdfast.local/control",
            signing_key=key,
            clock=clock,
            is_creation_allowed=is_new,
            anchors=(
                [AnchorFile(anchor, clock=clock)]
                if (anchor := settings.anchor_of("control")) is not None
                else []
            ),
        )
        stack.push_async_callback(audit.aclose)
        (layout.control / "audit.vkey").write_text(audit.vkey + "\n")
        audit.append({"kind": "start", "process": "control", "version": __version__,
                      "settings_digest": settings.digest()})  # fmt: skip
        revocations = _open_revocations(layout.control / "revocations.db", stack)
        acks = AckTracker()
        gates = GateRegistry(acks=acks)
        runtimes = ProcessGroupDriver(grace_s=settings.isolation_grace_s)
        stack.callback(runtimes.close)
        boot_id, sink = read_boot_id(), _AuditSink(audit)
        service = ContainmentService(
            writer=writer,
            clock=clock,
            boot_id=boot_id,
            audit=sink,
            acks=acks,
            signer=ReceiptSigner(key),
            history=history,
            revocations=revocations,
            isolation=[runtimes],
            fleet=_Fleet(policy, gates),
            blast=BlastLimit(max_share=settings.wide_blast_share),
            limits=ServiceLimits(ack_timeout_s=settings.ack_timeout_s),
        )
        stack.push_async_callback(service.aclose)
        service.add_listener(lambda event: gates.nudge(event.epoch))
        begin = await asyncio.to_thread(
            policy_at_start,
            *found,
            directory=_bundle_path(settings),
            archive=archive,
            named=service.state.policy_digest,
            is_dev=is_dev,
            accepted=accept_policy,
        )
        policy.activate(begin.bundle, begin.engine, epoch=0)  # the service asks who the fleet is
        await service.start()
        control = cls(
            settings=settings,
            writer=writer,
            audit=audit,
            policy=policy,
            archive=archive,
            gates=gates,
            acks=acks,
            runtimes=runtimes,
            service=service,
            clock=clock,
        )
        await control._begin(begin)
        control.approving = await Approving.open(
            settings,
            stack,
            policy=policy,
            gates=gates,
            runtimes=runtimes,
            service=service,
            audit=sink,
            activate=control.activate,
            clock=clock,
            boot_id=boot_id,
        )
        control.api_tokens = ApiTokens(
            store=_open_api_tokens(layout.api_tokens, stack),
            audit=sink,
            operators=lambda: policy.operators().values(),
            clock=clock,
        )
        await control.api_tokens.start()
        stack.push_async_callback(control.api_tokens.aclose)
        if settings.metrics_listen:
            metrics = Metrics()
            probes = ControlMetrics(
                service=service,
                writer=writer,
                audit=audit,
                gates=gates,
                approvals=control.approving.approvals,
                notifier=control.approving.notifier,
            )
            metrics.pull(probes.samples)
            serve_metrics(metrics.registry, settings.metrics_listen)
        return control

    async def activate(self, bundle: Bundle, engine: PolicyEngine, author: Operator) -> PolicyState:
        """Let *bundle* come into force by the hand of *author*."""
        return await self._activate(bundle, engine, author.name)

    async def _activate(self, bundle: Bundle, engine: PolicyEngine, author: str) -> PolicyState:
        """Save *bundle*, send it to the gates, let them build it, then let the latch name it.

        A gate that has not built it in time is without a policy for a moment, and denies.
        """
        in_force = self._service.state.policy_digest
        await asyncio.to_thread(self._archive.save, bundle, in_force=in_force)
        self._gates.send_bundle(bundle.digest, bundle.files)
        await self._gates.settle(timeout_s=_BUNDLE_DEADLINE_S)
        epoch = await self._service.activate_policy(bundle.digest, author=author)
        await self._audit.durable(
            self._audit.append(
                {"kind": "policy", "digest": bundle.digest, "operator": author, "epoch": epoch}
            )
        )
        return self._policy.activate(bundle, engine, epoch=epoch)

    async def _begin(self, begin: PolicyAtStart) -> None:
        if begin.set_aside:
            self._audit.append(
                {"kind": "policy", "digest": begin.bundle.digest, "operator": begin.author,
                 "set_aside": begin.set_aside, "reasons": list(begin.reasons)}
            )  # fmt: skip
        if self._service.state.policy_digest != begin.bundle.digest:
            await self._activate(begin.bundle, begin.engine, begin.author)
        else:
            self._policy.activate(begin.bundle, begin.engine, epoch=self._service.epoch)

    # -- serving ------------------------------------------------------------------------------

    async def serve(self, stack: AsyncExitStack, *, is_dev: bool) -> None:
        """Serve until a signal, or until the storage fails."""
        layout = self._settings.layout
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await self.approving.start(stack)
        running = asyncio.create_task(self._service.run())
        failed = asyncio.create_task(self._service.failed.wait())
        noting = asyncio.create_task(self.api_tokens.run())
        logs = HostLogs(
            audit=self._audit,
            directory=layout.control_audit,
            index_directory=layout.control,
            gates=self._gates,
        )
        stack.callback(logs.close)
        approvals = ApprovalServicer(approvals=self.approving.approvals, urls=self.approving.url)
        self.approving.watchers.append(lambda: approvals.watchers)
        investigating = Investigating.open(
            self._settings,
            stack,
            logs=logs,
            gates=self._gates,
            policy=self._policy,
            service=self._service,
            audit=_AuditSink(self._audit),
            clock=self._clock,
        )

        def register(server: Any) -> None:
            self._register(server, logs, approvals, investigating)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, server)

        def register_for_tokens(server: Any) -> None:
            self._register(server, logs, approvals, investigating)
            health_pb2_grpc.add_HealthServicer_to_server(HealthCheckAlone(self._health), server)

        tls = self._tls_files(is_dev=is_dev)
        admission = Admission(methods=_METHODS, refused=self._record_refusal, clock=self._clock)
        stack.push_async_callback(admission.aclose)
        identities = Identities(operators=self._policy, clock=self._clock, tokens=self.api_tokens)

        def lets_in(identity: CallerIdentity) -> list[AuthorizationInterceptor]:
            return [AuthorizationInterceptor(identity=identity, admission=admission)]

        # It would say SERVING by itself, on the first listener before the last one is there.
        await self._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        servers = [
            await bind_unix(
                layout.internal_socket, (), self._register_internal,
                options=INTERNAL_OPTIONS, mode=0o660,
            ),
            await bind_unix(
                layout.local_socket, lets_in(LocalIdentity()), register, options=(), mode=0o600
            ),
            await bind_tls(
                self._settings.listen,
                tls_credentials(certificate=tls.certificate, key=tls.key, client_ca=tls.client_ca),
                lets_in(TlsIdentity(identities)),
                register,
            ),
        ]  # fmt: skip
        if self._settings.token_listen:
            servers.append(
                await bind_tls(
                    self._settings.token_listen,
                    tls_credentials(certificate=tls.certificate, key=tls.key, client_ca=None),
                    lets_in(TokenIdentity(identities)),
                    register_for_tokens,
                    setting="token_listen",
                    options=TOKEN_OPTIONS,
                )
            )
        if self._settings.api_listen:
            # Imported here: a control without the JSON twin needs none of it.
            from sidecar.compose.jsonapi import serve_jsonapi

            routes = Routes()
            self._register(routes, logs, approvals, investigating)
            await serve_jsonapi(
                self._settings,
                stack,
                routes=routes,
                admission=admission,
                identities=identities,
                service=self._service,
                certificate=tls.certificate,
                key=tls.key,
                client_ca=tls.client_ca,
                clock=self._clock,
            )
        if self.approving.accounts is not None:
            await self._serve_console(stack, logs, is_dev=is_dev)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        log.info("control serves", listen=self._settings.listen, pid=os.getpid(),
                 local_socket=str(layout.local_socket),
                 console=self._settings.console_origin, api=self._settings.api_listen,
                 for_automation=self._settings.token_listen)  # fmt: skip
        waiting = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, failed, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                raise NotDurableError(
                    f"the latch failed: {self._writer.seal_reason or 'its files were taken away'}",
                    hint="every gate of this host denies; repair the storage, then start again",
                )
        finally:
            await asyncio.gather(*(server.stop(_STOP_GRACE_S) for server in servers))
            tasks = (running, failed, waiting, noting)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve_console(self, stack: AsyncExitStack, logs: HostLogs, *, is_dev: bool) -> None:
        # Imported here: a control without a console needs none of it.
        from sidecar.compose.console import serve_console

        watchers = await serve_console(
            self._settings,
            stack,
            approving=self.approving,
            policy=self._policy,
            gates=self._gates,
            service=self._service,
            logs=logs,
            audit=_AuditSink(self._audit),
            clock=self._clock,
            is_dev=is_dev,
        )
        self.approving.watchers.append(watchers)

    def _tls_files(self, *, is_dev: bool) -> _TlsFiles:
        settings = self._settings
        if settings.tls_certificate and settings.tls_key and settings.client_ca:
            return _TlsFiles(
                certificate=settings.tls_certificate,
                key=settings.tls_key,
                client_ca=settings.client_ca,
            )
        assert is_dev  # noqa: S101 - check_for_control() demands the paths otherwise
        operators = self._policy.state.bundle.operators.values()
        pki = InsecureDevelopmentPki.ensure(
            settings.layout.pki, [(operator.name, operator.identity) for operator in operators]
        )
        log.warning("DEVELOPMENT CERTIFICATES: never in production", directory=str(pki.directory))
        return _TlsFiles(
            certificate=pki.certificate("server"), key=pki.key("server"), client_ca=pki.ca
        )

    async def _record_refusal(
        self, method: str, operator: Operator | None, error: HoldfastError, omitted: int
    ) -> None:
        token = operator.token if operator is not None else getattr(error, "token", "")
        await self._audit.durable(
            self._audit.append(
                {
                    "kind": "refused",
                    "method": method,
                    "operator": operator.name if operator is not None else "",
                    "reason": error.reason.value,
                    **({"via": via(token)} if token else {}),
                    **({"omitted": omitted} if omitted else {}),
                }
            )
        )

    def _register(
        self,
        server: Any,
        logs: HostLogs,
        approvals: ApprovalServicer,
        investigating: Investigating,
    ) -> None:
        """Add every servicer to *server*, a gRPC server or ``Routes``."""
        service, gates, policy = self._service, self._gates, self._policy
        operations = self.approving.operations
        operation_servicer = OperationServicer(
            operations=operations, approvals=self.approving.approvals, urls=self.approving.url
        )
        containment_pb2_grpc.add_ContainmentServiceServicer_to_server(
            ContainmentServicer(
                service=service,
                operations=operations,
                tell=operation_servicer.message,
                verifier=ContainmentVerifier(gates=gates),
            ),
            server,
        )
        token_pb2_grpc.add_TokenServiceServicer_to_server(TokenServicer(service=service), server)
        audit_pb2_grpc.add_AuditServiceServicer_to_server(
            AuditServicer(
                audit=self._audit,
                logs=logs,
                gates=gates,
                evidence=EvidenceSource(logs=logs, traces=investigating.traces),
                clock=self._clock,
            ),
            server,
        )
        investigating.register(server)
        agent_pb2_grpc.add_AgentServiceServicer_to_server(
            AgentServicer(policy=policy, gates=gates, containment=lambda: service.state), server
        )
        policy_pb2_grpc.add_PolicyServiceServicer_to_server(
            PolicyServicer(
                policy=policy,
                operations=operations,
                tell=operation_servicer.message,
                containment=lambda: service.state,
            ),
            server,
        )
        approval_pb2_grpc.add_ApprovalServiceServicer_to_server(approvals, server)
        operation_pb2_grpc.add_OperationServiceServicer_to_server(operation_servicer, server)
        api_token_pb2_grpc.add_ApiTokenServiceServicer_to_server(
            ApiTokenServicer(tokens=self.api_tokens), server
        )
        if self.approving.accounts is not None:
            account_pb2_grpc.add_AccountServiceServicer_to_server(
                AccountServicer(accounts=self.approving.accounts), server
            )

    def _register_internal(self, server: grpc.aio.Server) -> None:
        sync_pb2_grpc.add_SyncServiceServicer_to_server(
            SyncServicer(
                registry=self._gates,
                acks=self._acks,
                runtimes=self._runtimes,
                snapshot=self._snapshot,
                registered=self._registered,
                holds=self.approving.holds,
                clock=self._clock,
            ),
            server,
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)

    async def _registered(self, agent: str) -> None:
        """Do what is due when a runtime of *agent* was registered."""
        self.approving.follower.watch_runtime(agent)
        await self._service.isolate_if_killed(agent)

    async def _snapshot(self) -> Snapshot:
        rules = await self._service.list_revocations()
        bundle = self._policy.state.bundle
        return Snapshot(
            epoch=self._writer.epoch,
            rules=[encode_rule(rule) for rule in rules],
            digest=bundle.digest,
            files=bundle.files,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _TlsFiles:
    """What control shows over TLS, and whose certificates it takes."""

    certificate: Path
    key: Path
    client_ca: Path


class _Fleet:
    """The agents control knows: those the bundle declares and those a gate serves."""

    def __init__(self, policy: ControlPolicy, gates: GateRegistry) -> None:
        self._policy = policy
        self._gates = gates

    def agents(self) -> Sequence[FleetAgent]:
        declared = self._policy.state.bundle.agents
        known = [
            FleetAgent(
                id=name,
                labels=spec.labels,
                principals=frozenset((spec.owner,)),
                is_protected=spec.is_protected,
            )
            for name, spec in declared.items()
        ]
        known += [FleetAgent(id=name) for name in self._gates.agents() - set(declared)]
        return known


def _bundle_path(settings: Settings) -> Path:
    if settings.bundle is None:
        raise ConfigurationError(
            "no policy bundle is configured", key="bundle", hint="give one with --bundle"
        )
    return settings.bundle


def _open_latch(directory: Path, *, epoch_floor: int) -> LatchWriter:
    """Open the latch, or make it where none has ever been; control's group may read it: the gates.

    An epoch that was once used is not used again, also by a latch that was lost and made anew: what
    is bound to one (a grant, a cached verdict) would fit a world that it was not given in.
    """
    is_installed = LatchWriter.is_installed(directory)
    make = LatchWriter.open if is_installed else LatchWriter.initialise
    return make(directory, directory_mode=0o750, file_mode=0o640, epoch_floor=epoch_floor)


def _highest_epoch(history: HistoryStore) -> int:
    try:
        return history.highest_epoch()
    except EnvironmentFailure as exc:
        log.error("the history does not say which epochs were used", problem=str(exc))
        return 0


class _AuditSink:
    """Control's log, as the containment service sees it."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def append(self, kind: str, body: Mapping[str, Any]) -> AuditPosition:
        ticket = self._audit.append({"kind": kind, **body})
        await self._audit.durable(ticket)
        return AuditPosition(index=ticket.seq, checkpoint=await self._audit.checkpoint())


class _UnreadableArchive:
    """In place of a broken store of revocations: nobody knows them all, so no gate becomes ready."""

    def __init__(self, failure: EnvironmentFailure) -> None:
        self._failure = failure

    def add_all(self, rules: Iterable[RevocationRule]) -> None:
        raise self._failure

    def load_all(self) -> Sequence[RevocationRule]:
        raise self._failure


def _open_history(path: Path, stack: AsyncExitStack) -> HistoryStore:
    """Open the history; a broken database must not take the kill switch with it."""
    try:
        history = SqliteHistory(path)
    except EnvironmentFailure as exc:
        log.error("going on without the history of directives", problem=str(exc))
        return MemoryHistory()
    stack.callback(history.close)
    return history


def _open_revocations(path: Path, stack: AsyncExitStack) -> RevocationArchive:
    try:
        store = RevocationStore(path)
    except EnvironmentFailure as exc:
        log.error("the revocations cannot be read: gates stay unready", problem=str(exc))
        return _UnreadableArchive(exc)
    stack.callback(store.close)
    return store


def _open_api_tokens(path: Path, stack: AsyncExitStack) -> ApiTokenStore:
    try:
        store = SqliteApiTokens(path)
    except EnvironmentFailure as exc:
        return UnusableStore(exc)  # which is told when it is read
    stack.callback(store.close)
    return store
