# SPDX-License-Identifier: Apache-2.0
"""Guards taken out, by name, for negative controls: with one of these an attack must succeed.

Each function changes the running process for good. It is called in a forked child of the zygote,
before anything is served there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

__all__ = ["apply"]

_BREAKAGES: dict[str, Callable[[], None]] = {}


def apply(name: str) -> None:
    """Take the guard *name* out of this process."""
    _BREAKAGES[name]()


def _breakage(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def register(function: Callable[[], None]) -> Callable[[], None]:
        _BREAKAGES[name] = function
        return function

    return register


# -- control --------------------------------------------------------------------------------------


@_breakage("lenient-names")
def _lenient_names() -> None:
    """H02: look at every SAN, fold case, escapes and dots, as some libraries do."""
    from cryptography import x509

    from sidecar.control import identity

    def lenient(pem: bytes) -> tuple[str | None, int, int]:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uri = names.get_values_for_type(x509.UniformResourceIdentifier)[0].lower()
        return uri.replace("%61", "a").replace("/x/..", ""), 0, 2**62

    identity._read_certificate = lenient  # type: ignore[assignment]


@_breakage("no-certificate-expiry")
def _no_certificate_expiry() -> None:
    """H03: believe what the handshake once saw."""
    from sidecar.control import identity

    read = identity._read_certificate

    def forever(pem: bytes) -> tuple[str | None, int, int]:
        return read(pem)[0], 0, 2**62

    identity._read_certificate = forever  # type: ignore[assignment]


@_breakage("no-permissions")
def _no_permissions() -> None:
    """I09, P10: whoever has a certificate may do everything."""
    from sidecar.control import admission

    admission._check_permission = lambda method, operator: None  # type: ignore[assignment]


@_breakage("no-token-scope")
def _no_token_scope() -> None:
    """I09: whoever is limited to some agents is limited to none."""
    from sidecar.control import admission

    admission._check_scope = lambda method, operator, request: None  # type: ignore[assignment]


@_breakage("no-token-end")
def _no_token_end() -> None:
    """I09: a token that was given out once works for ever."""
    from sidecar.apitokens.service import ApiTokens

    ApiTokens._check_alive = lambda self, token, now_ns: None  # type: ignore[method-assign]


@_breakage("tokens-carry-all")
def _tokens_carry_all() -> None:
    """I09: a token may carry whatever its row says."""
    from sidecar.apitokens import service
    from sidecar.model import Role

    service.GRANTABLE = frozenset(Role)  # type: ignore[misc]


@_breakage("every-stranger-recorded")
def _every_stranger_recorded() -> None:
    """G16: write down each refusal, whoever was refused and however often."""
    from sidecar.control import admission

    admission.MAX_STRANGERS_A_MINUTE = 10**9  # type: ignore[misc]


@_breakage("endless-connections")
def _endless_connections() -> None:
    """P2: hold as many connections as strangers like to make."""
    from sidecar.compose import control
    from sidecar.control.server import CONTROL_OPTIONS

    control.TOKEN_OPTIONS = CONTROL_OPTIONS  # type: ignore[misc]


@_breakage("one-hand-releases")
def _one_hand_releases() -> None:
    """E02: who may release is not looked at any further than the role, and nobody else is asked."""
    from sidecar.containment import service
    from sidecar.operations.service import Operations

    def release(self: Operations, order: Any, caller: Any) -> Any:
        return self._containment.release(order, caller)

    service.require_release = lambda contained, caller, consent: None  # type: ignore[assignment]
    Operations.release = release  # type: ignore[method-assign]


@_breakage("no-request-ids")
def _no_request_ids() -> None:
    """E01: forget which request ids were used."""
    from sidecar.containment.ledger import Ledger

    def find(self: Ledger, request_id: str, fingerprint: str) -> None:
        return None

    Ledger.find = find  # type: ignore[assignment, method-assign]


@_breakage("release-by-target")
def _release_by_target() -> None:
    """E03: a release ends everything on the same target, whatever directive it names."""
    from sidecar.containment.events import Released
    from sidecar.containment.machine import ContainmentState

    apply_all = ContainmentState.apply_all

    def careless(self: ContainmentState, events: Any) -> ContainmentState:
        events = tuple(events)
        after = apply_all(self, events)
        contained = dict(after.contained)
        for event in events:
            if isinstance(event, Released) and event.directive_epoch in self.contained:
                target = self.contained[event.directive_epoch].directive.target
                contained = {
                    epoch: held
                    for epoch, held in contained.items()
                    if held.directive.target != target
                }
        return ContainmentState(
            epoch=after.epoch, contained=contained, policy_digest=after.policy_digest
        )

    ContainmentState.apply_all = careless  # type: ignore[method-assign]


@_breakage("hasty-activation")
def _hasty_activation() -> None:
    """Let the latch name a bundle before the gates have built it."""
    from sidecar.control.gates import GateRegistry

    async def settle(self: GateRegistry, *, timeout_s: float) -> None:
        return

    GateRegistry.settle = settle  # type: ignore[method-assign]


@_breakage("restart-loosens")
def _restart_loosens() -> None:
    """K06: at a start, do not compare what lies in the directory with what is in force."""
    from sidecar.control import policy_start

    policy_start.may_permit_more = lambda old, new: (False, ())  # type: ignore[assignment]


@_breakage("dies-before-the-latch-names-it")
def _dies_before_the_latch_names_it() -> None:
    """K07: a crash once the gates have a reloaded bundle, before it is in force."""
    import os
    import signal

    from sidecar.containment.service import ContainmentService

    activate = ContainmentService.activate_policy

    async def die(self: ContainmentService, digest: str, *, author: str) -> int:
        if author == "control":
            return await activate(self, digest, author=author)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a killed process goes on")

    ContainmentService.activate_policy = die  # type: ignore[method-assign]


# -- gate -----------------------------------------------------------------------------------------


@_breakage("no-staleness")
def _no_staleness() -> None:
    """E10: never mind when control was last heard."""
    from sidecar.gate.state import GateState

    GateState.staleness = lambda self: None  # type: ignore[method-assign]


@_breakage("no-latch-identity")
def _no_latch_identity() -> None:
    """E18: never look whether the mapped latch is still the one at its path."""
    from sidecar.latch.reader import LatchReader

    LatchReader.check_identity = lambda self: True  # type: ignore[method-assign]


@_breakage("push-only")
def _push_only() -> None:
    """E08, E16: learn of a kill from the message alone; do not compare the latch at each call."""
    from sidecar.gate.state import GateState
    from sidecar.gate.sync import SyncClient

    current = GateState.current
    refresh = GateState._refresh

    def stored(self: GateState) -> Any:
        return self._world

    GateState.current = stored  # type: ignore[method-assign]
    GateState.is_current = lambda self, world: True  # type: ignore[method-assign]
    acknowledge = SyncClient.acknowledge

    def acknowledge_first(self: SyncClient, epoch: int) -> None:
        acknowledge(self, self._state._latch.read().epoch)

    SyncClient.acknowledge = acknowledge_first  # type: ignore[method-assign]
    del current, refresh


@_breakage("identity-from-metadata")
def _identity_from_metadata() -> None:
    """H11: believe a header that says which agent calls."""
    from sidecar.gate.servicer import GuardServicer

    authorize = GuardServicer.authorize

    async def credulous(self: GuardServicer, received: Any, context: Any) -> Any:
        claimed = dict(context.invocation_metadata() or ()).get("x-agent-id")
        known, self._agent = self._agent, claimed or self._agent
        try:
            return await authorize(self, received, context)
        finally:
            self._agent = known

    GuardServicer.authorize = credulous  # type: ignore[method-assign]


@_breakage("containment-on-the-data-plane")
def _containment_on_the_data_plane() -> None:
    """H10: register the levers on the agent's socket too."""
    import grpc

    from sidecar.api.v1 import containment_pb2, containment_pb2_grpc
    from sidecar.gate.servicer import GuardServicer

    handler = GuardServicer.handler

    class Levers(containment_pb2_grpc.ContainmentServiceServicer):
        async def Contain(self, request: Any, context: Any) -> Any:
            return containment_pb2.ContainResponse()

    class Both(grpc.GenericRpcHandler):
        def __init__(self, handlers: Collection[Any]) -> None:
            self._handlers = handlers

        def service(self, handler_call_details: Any) -> Any:
            found = (each.service(handler_call_details) for each in self._handlers)
            return next((each for each in found if each is not None), None)

    def levers() -> Any:
        return grpc.method_handlers_generic_handler(
            "sidecar.api.v1.ContainmentService",
            {
                "Contain": grpc.unary_unary_rpc_method_handler(
                    Levers().Contain,
                    request_deserializer=containment_pb2.ContainRequest.FromString,
                    response_serializer=containment_pb2.ContainResponse.SerializeToString,
                )
            },
        )

    def open_handler(self: GuardServicer) -> Any:
        return Both([handler(self), levers()])

    GuardServicer.handler = open_handler  # type: ignore[method-assign]


@_breakage("lenient-protobuf")
def _lenient_protobuf() -> None:
    """A05: take any bytes that parse."""
    from sidecar.gate import convert

    convert.is_exact = lambda message, data: True  # type: ignore[assignment]


# -- the machine under them -----------------------------------------------------------------------


@_breakage("small-files")
def _small_files() -> None:
    """No file may grow beyond 64 KiB: the log's write fails with EFBIG soon after the start."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024, 64 * 1024))


@_breakage("deaf-audit")
def _deaf_audit() -> None:
    """Control's log takes its first entries, and then fails as a full disk makes it fail."""
    from sidecar.audit.log import AuditLog
    from sidecar.errors import EnvironmentFailure, ErrorReason

    append = AuditLog.append

    def deaf(self: AuditLog, fields: Any) -> Any:
        if fields.get("kind") in {"start", "policy"}:
            return append(self, fields)
        raise EnvironmentFailure("no space", reason=ErrorReason.AUDIT_UNAVAILABLE)

    AuditLog.append = deaf  # type: ignore[method-assign]


@_breakage("latch-sync-fails")
def _latch_sync_fails() -> None:
    """Once a file ``fail-now`` is in the test's directory, every sync of the latch is an EIO."""
    import errno
    import os
    from pathlib import Path

    from sidecar.latch.files import OsFileOps

    sync = OsFileOps.sync

    def failing(self: OsFileOps, descriptor: int) -> None:
        directory = Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent
        if (directory.parent.parent / "fail-now").exists():
            raise OSError(errno.EIO, "Input/output error")
        sync(self, descriptor)

    OsFileOps.sync = failing  # type: ignore[method-assign]


@_breakage("failing-inventory")
def _failing_inventory() -> None:
    """An error that nobody foresaw, with a secret in its words."""
    from sidecar.control.agents import AgentServicer

    def fail(self: AgentServicer) -> set[str]:
        raise LookupError("the password is hunter2")

    AgentServicer._names = fail  # type: ignore[method-assign]


@_breakage("wall-clock-steps")
def _wall_clock_steps() -> None:
    """Once a file ``step-now`` is in the test's directory, the wall clock is 40 minutes ahead."""
    import time
    from pathlib import Path

    from sidecar.clock import NS_PER_SECOND, SystemClock

    log = Path("/proc/self/fd/2").readlink()  # what the child prints lies in that directory

    def wall_ns(self: SystemClock) -> int:
        step_s = 2400 if (log.parent / "step-now").exists() else 0
        return time.time_ns() + step_s * NS_PER_SECOND

    SystemClock.wall_ns = wall_ns  # type: ignore[method-assign]
