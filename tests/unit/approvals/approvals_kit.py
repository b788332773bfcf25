# SPDX-License-Identifier: Apache-2.0
"""Operators, requests, fakes and a whole service over a real store, for tests of approvals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from sidecar.approvals.answers import ApprovalLimits, Ballot, DecideAnswer, HoldAnswer, Pending
from sidecar.approvals.service import Approvals
from sidecar.approvals.store import ApprovalStore, Guard
from sidecar.approvals.store_sqlite import SqliteApprovals
from sidecar.approvals.values import (
    Approval,
    Binding,
    Channel,
    Moment,
    Request,
    RequestKind,
    Tier,
    Verdict,
)
from sidecar.approvals.worker import Worker
from sidecar.canonical import canonicalise
from sidecar.clock import ManualClock
from sidecar.errors import EnvironmentFailure, ErrorReason, RefusedError
from sidecar.ids import SequentialIds
from sidecar.model import Fingerprint, Operator, OperatorKind, Role

_T = TypeVar("_T")

BOOT = "11111111-2222-3333-4444-555555555555"
OTHER_BOOT = "66666666-7777-8888-9999-000000000000"
DIGEST = "d" * 64
OTHER_DIGEST = "e" * 64
EPOCH = 7


def operator(
    name: str,
    *roles: Role,
    kind: OperatorKind = OperatorKind.HUMAN,
    human_id: str | None = None,
    emails: tuple[str, ...] = (),
    identity: str = "",
) -> Operator:
    """Return an operator; a human is called by its name unless said otherwise."""
    if human_id is None:
        human_id = name if kind is OperatorKind.HUMAN else ""
    return Operator(
        name=name,
        kind=kind,
        human_id=human_id,
        roles=frozenset(roles or (Role.APPROVE,)),
        identity=identity or f"spiffe://holdfast.dev/operator/{name}",
        emails=emails,
    )


ALICE = operator("alice")
BOB = operator("bob")
CAROL = operator("carol")
OWNER = operator("olga", emails=("Olga@Example.com",))
SOAR = operator("soar", Role.APPROVE, Role.CONTAIN, kind=OperatorKind.AUTOMATION)
AUDITOR = operator("ada", Role.AUDIT_READ)
OUTSIDER = operator("otto", Role.CONTAIN)
EVERYBODY = (ALICE, BOB, CAROL, OWNER, SOAR, AUDITOR, OUTSIDER)


def canonical_of(call: Mapping[str, Any]) -> tuple[bytes, Fingerprint]:
    """Return canonical form and fingerprint."""
    canonical = canonicalise(dict(call))
    return canonical, Fingerprint(sha256(canonical).hexdigest())


def call_request(
    *,
    agent: str = "banking",
    session: str = "s-1",
    tool: str = "send_money",
    amount: int = 100,
    nonce: str = "",
    **change: Any,
) -> Request:
    """Return a request for a held call."""
    canonical, fingerprint = canonical_of(
        {
            "v": 1,
            "agent": agent,
            "session": session,
            "tool": tool,
            "arguments": {"amount": amount},
            "url": "",
            "cwd": "",
            "environment_digest": "",
            "nonce": nonce,
        }
    )
    return Request(
        **{
            "kind": RequestKind.CALL,
            "fingerprint": fingerprint,
            "canonical": canonical,
            "summary": f"agent {agent} wants to run {tool}",
            "reason": "money leaves",
            "tier": Tier.MEDIUM,
            "role": Role.APPROVE,
            "quorum": 1,
            "is_passkey_needed": False,
            "is_reason_needed": False,
            "expiry_s": 1800,
            "grant_life_s": 900,
            "policy_digest": DIGEST,
            "epoch": EPOCH,
            "agent": agent,
            "owner": "olga@example.com",
            "session": session,
            "tool": tool,
            "decision_id": "dec_held",
            "policies": ("hold-money",),
            **change,
        }
    )


def action_request(request_id: str = "request-1", *, epoch: int = 3, **change: Any) -> Request:
    """Return a request for a control action."""
    canonical, fingerprint = canonical_of(
        {"v": 1, "action": "release", "body": {"directive_epoch": str(epoch)}}
    )
    return Request(
        **{
            "kind": RequestKind.ACTION,
            "fingerprint": fingerprint,
            "canonical": canonical,
            "summary": f"alice wants to release directive {epoch}",
            "reason": "a release needs a second human",
            "tier": Tier.MEDIUM,
            "role": Role.APPROVE,
            "quorum": 1,
            "is_passkey_needed": False,
            "is_reason_needed": False,
            "expiry_s": 1800,
            "grant_life_s": 900,
            "policy_digest": DIGEST,
            "epoch": EPOCH,
            "action": "release",
            "requester": "alice",
            "requester_human": "alice",
            "request_id": request_id,
            **change,
        }
    )


def binding_of(request: Request, epoch: int = EPOCH) -> Binding:
    """Return what a use of *request* is."""
    return Binding(
        fingerprint=request.fingerprint,
        agent=request.agent,
        session=request.session,
        policy_digest=request.policy_digest,
        epoch=epoch,
    )


def moment_of(clock: ManualClock, boot_id: str = BOOT) -> Moment:
    """Return now."""
    return Moment(wall_ns=clock.wall_ns(), boot_ns=clock.boot_ns(), boot_id=boot_id)


def ballot(
    approval: Approval,
    verdict: Verdict = Verdict.GRANT,
    *,
    request_id: str = "",
    reason: str = "",
    fingerprint: str | None = None,
    assertion: bytes = b"",
    channel: Channel = Channel.CLI,
) -> Ballot:
    """Return a ballot on *approval* with its own fingerprint."""
    return Ballot(
        approval_id=approval.id,
        verdict=verdict,
        fingerprint=approval.request.fingerprint if fingerprint is None else fingerprint,
        reason=reason,
        request_id=request_id,
        channel=channel,
        assertion=assertion,
    )


class FakeDirectory:
    """Operators in a list, or an error."""

    def __init__(self, operators: Collection[Operator] = EVERYBODY) -> None:
        self.known: list[Operator] = list(operators)
        self.is_failing = False

    def operators(self) -> Collection[Operator]:
        if self.is_failing:
            raise EnvironmentFailure("the directory is gone")
        return tuple(self.known)


class FakeAudit:
    """A log that keeps its entries, and fails or hangs when told to."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self.is_failing = False
        self.gate: asyncio.Event | None = None
        self.before: Callable[[Mapping[str, Any]], None] | None = None

    async def append(self, kind: str, body: Mapping[str, Any]) -> int:
        assert kind == "approval"
        await asyncio.sleep(0)  # no log answers before others had their turn
        if self.gate is not None:
            await self.gate.wait()
        if self.is_failing:
            raise EnvironmentFailure("the log is gone", reason=ErrorReason.AUDIT_UNAVAILABLE)
        self.entries.append(dict(body))
        if self.before is not None:
            self.before(body)
        return len(self.entries) - 1

    def events(self, approval_id: str = "") -> list[str]:
        """Return the names of what happened, of one approval or of all."""
        name = f"approvals/{approval_id}"
        return [
            entry["event"] for entry in self.entries if not approval_id or entry["approval"] == name
        ]


class FakePasskeys:
    """Takes the assertion ``<human>:<challenge in hex>`` for a signature."""

    async def verify(self, *, human_id: str, challenge: bytes, assertion: bytes) -> str:
        await asyncio.sleep(0)
        if assertion != f"{human_id}:{challenge.hex()}".encode():
            raise RefusedError("that is not a signature", reason=ErrorReason.PASSKEY_INVALID)
        return json.dumps({"credential_id": f"key of {human_id}", "signature": "s"})


def signed(human_id: str, challenge: bytes) -> bytes:
    """Return what ``FakePasskeys`` takes."""
    return f"{human_id}:{challenge.hex()}".encode()


class FakeReach:
    """Reaches everybody, until told why not."""

    def __init__(self) -> None:
        self.why_not = ""

    def refusal(self, request: Request) -> str:
        return self.why_not


class FakeAnnouncer:
    """Remembers what was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str]] = []
        self.alerts: list[tuple[str, str]] = []

    def announce(self, approval: Approval, kind: str) -> None:
        self.told.append((approval.id, kind, approval.state.value))

    def alert(self, agent: str, text: str) -> None:
        self.alerts.append((agent, text))

    def kinds(self, approval_id: str) -> list[str]:
        """Return what was told of one approval."""
        return [kind for told_id, kind, _ in self.told if told_id == approval_id]


class FaultyStore(SqliteApprovals):
    """A store that fails, or does something first, when told to."""

    fails: frozenset[str] = frozenset()
    commits_then_fails = False
    before_swap: Callable[[Approval, Approval], None] | None = None

    def insert(self, approval: Approval) -> bool:
        self._check("insert")
        is_kept = super().insert(approval)
        if self.commits_then_fails:
            raise EnvironmentFailure("the disk is gone")
        return is_kept

    def swap(
        self, before: Approval, after: Approval, *, guard: Guard | None, is_logged: bool
    ) -> bool:
        if self.before_swap is not None:
            hook, self.before_swap = self.before_swap, None
            hook(before, after)
        self._check("swap")
        is_made = super().swap(before, after, guard=guard, is_logged=is_logged)
        if self.commits_then_fails:
            raise EnvironmentFailure("the disk is gone")
        return is_made

    def get(self, approval_id: str) -> Approval | None:
        self._check("get")
        return super().get(approval_id)

    def _check(self, what: str) -> None:
        if what in self.fails:
            raise EnvironmentFailure("the disk is gone")


class InlineWorker(Worker):
    """Works in the loop, so that the same steps come in the same order every time."""

    async def run(self, work: Callable[[], _T]) -> _T:
        await asyncio.sleep(0)
        return work()


class Host:
    """A service over a store on disk, and everything around it; may be restarted."""

    def __init__(
        self, path: Path, *, limits: ApprovalLimits | None = None, is_inline: bool = False
    ) -> None:
        self.path = path
        self.is_inline = is_inline
        self.limits = limits or ApprovalLimits()
        self.clock = ManualClock()
        self.boot_id = BOOT
        self.epoch = EPOCH
        self.digest = DIGEST
        self.ids = SequentialIds()
        self.directory = FakeDirectory()
        self.audit = FakeAudit()
        self.passkeys = FakePasskeys()
        self.reach = FakeReach()
        self.announcer = FakeAnnouncer()
        self.store = FaultyStore(path)
        self.approvals = self.service()

    def service(self, store: ApprovalStore | None = None) -> Approvals:
        """Return a service over the store; the host's own is one of them."""
        return Approvals(
            store=store or self.store,
            directory=self.directory,
            audit=self.audit,
            passkeys=self.passkeys,
            reach=self.reach,
            announcer=self.announcer,
            clock=self.clock,
            boot_id=self.boot_id,
            ids=self.ids,
            epoch=lambda: self.epoch,
            policy_digest=lambda: self.digest,
            limits=self.limits,
            worker=InlineWorker() if self.is_inline else None,
        )

    async def restart(self, *, is_reboot: bool = False) -> None:
        """Stop, and start again over what is on disk."""
        await self.approvals.close()
        self.store.close()
        if is_reboot:
            self.boot_id = OTHER_BOOT if self.boot_id == BOOT else BOOT
            self.clock = ManualClock(wall_ns=self.clock.wall_ns())
        self.store = FaultyStore(self.path)
        self.approvals = self.service()
        await self.approvals.start()

    async def close(self) -> None:
        """Stop."""
        await self.approvals.close()
        self.store.close()

    async def hold(
        self, request: Request, *, decision_id: str = "dec_use", **change: Any
    ) -> HoldAnswer:
        """Hold the call *request* under the world as it is; *change* alters its binding."""
        binding = replace(binding_of(request, self.epoch), **change)
        return await self.approvals.hold(request, binding, decision_id=decision_id)

    async def opened(self, request: Request | None = None) -> Approval:
        """Return the approval that holding a call opens."""
        answer = await self.hold(request or call_request())
        assert isinstance(answer, Pending), answer
        return answer.approval

    async def vote(
        self, approval: Approval, caller: Operator, verdict: Verdict = Verdict.GRANT, **rest: Any
    ) -> DecideAnswer:
        """Vote on *approval*."""
        return await self.approvals.decide(ballot(approval, verdict, **rest), caller)

    async def granted(self, request: Request | None = None) -> Approval:
        """Return an approval that bob has granted."""
        return (await self.vote(await self.opened(request), BOB)).approval
