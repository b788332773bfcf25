# SPDX-License-Identifier: Apache-2.0
"""Wires the approvals of control: who is asked, how they are told, what a grant sets in motion.

None of it may take the kill switch with it: a store that cannot be opened leaves a control that
contains and revokes as ever, and that denies what a human would have to decide.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import urlsplit

import structlog

from sidecar.approvals.answers import ApprovalLimits
from sidecar.approvals.ports import AuditSink
from sidecar.approvals.service import Approvals
from sidecar.approvals.store import ApprovalStore
from sidecar.approvals.store_sqlite import SqliteApprovals
from sidecar.approvals.values import Approval, Cause, RequestKind
from sidecar.clock import Clock
from sidecar.compose.announcing import ApprovalAnnouncer, ApprovalReach
from sidecar.compose.following import ApprovalFollower
from sidecar.containment.process_group import ProcessGroupDriver
from sidecar.containment.service import ContainmentService
from sidecar.control.gates import GateRegistry
from sidecar.control.holds import HoldRelay, changed_message
from sidecar.control.identity import LOCAL_OPERATOR
from sidecar.control.policies import ControlPolicy
from sidecar.errors import EnvironmentFailure, ErrorReason, HoldfastError, RefusedError
from sidecar.ids import RandomIds
from sidecar.model import Operator
from sidecar.notify.channel import Routed
from sidecar.notify.notifier import Notifier
from sidecar.operations.ports import Activate
from sidecar.operations.rules import tier_rules
from sidecar.operations.service import Operations
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.passkeys.accounts import Accounts
    from sidecar.passkeys.passkeys import Passkeys

__all__ = ["Approving"]

log = structlog.get_logger("holdfast.control")


class Approving:
    """The approvals of one control, and everything that belongs to them."""

    def __init__(self) -> None:
        self.approvals: Approvals
        self.operations: Operations
        self.notifier: Notifier
        self.holds: HoldRelay
        self.follower: ApprovalFollower
        self.passkeys: Passkeys | None = None
        self.accounts: Accounts | None = None
        self.watchers: list[Callable[[], int]] = []
        self._origin = ""

    @classmethod
    async def open(
        cls,
        settings: Settings,
        stack: AsyncExitStack,
        *,
        policy: ControlPolicy,
        gates: GateRegistry,
        runtimes: ProcessGroupDriver,
        service: ContainmentService,
        audit: AuditSink,
        activate: Activate,
        clock: Clock,
        boot_id: str,
    ) -> Approving:
        """Open the stores and start what has to run.

        Raises:
            HoldfastError: A file that somebody wrote (notifications) is wrong.
        """
        self = cls()
        self._origin = settings.console_origin
        home = settings.layout.control
        directory = _Directory(policy)
        self._open_passkeys(settings, stack, audit=audit, directory=directory, clock=clock)
        self.notifier = self._open_notifier(settings, stack, clock)
        self.approvals = Approvals(
            store=_open_store(home / "approvals.db", stack),
            directory=directory,
            audit=audit,
            passkeys=self.passkeys or _NoPasskeys(),
            reach=ApprovalReach(notifier=self.notifier),
            announcer=ApprovalAnnouncer(
                notifier=self.notifier,
                policy=policy,
                directory=directory,
                url=self.url,
                clock=clock,
            ),
            clock=clock,
            boot_id=boot_id,
            ids=RandomIds(),
            epoch=lambda: service.epoch,
            policy_digest=lambda: policy.state.bundle.digest,
            limits=ApprovalLimits(max_pending_per_agent=settings.max_pending_approvals),
        )
        stack.push_async_callback(self.approvals.close)
        self.operations = Operations(
            approvals=self.approvals,
            containment=service,
            policy=policy,
            activate=activate,
            clock=clock,
            outsiders=(LOCAL_OPERATOR,),
        )
        stack.push_async_callback(self.operations.aclose)
        self.holds = HoldRelay(
            approvals=self.approvals,
            policy=policy,
            tiers=lambda: tier_rules(policy.state.bundle.approvals),
            url=self.url,
        )
        self.follower = ApprovalFollower(
            approvals=self.approvals, bundle=lambda: policy.state.bundle, runtimes=runtimes
        )
        service.add_listener(self.follower.follow)
        self.approvals.add_listener(lambda approval: _tell_gates(gates, approval))
        return self

    async def start(self, stack: AsyncExitStack) -> None:
        """Take up what was left, and keep everything running until *stack* is closed."""
        try:
            await self.approvals.start()
            await self.operations.start()
        except EnvironmentFailure as exc:
            log.error("approvals do not work: what they would hold is denied", problem=str(exc))
        await self.notifier.start()
        stack.push_async_callback(self.notifier.aclose)
        for name, work in (
            ("approvals", self.approvals.run()),
            ("operations", self.operations.run()),
            ("approval events", self.follower.run()),
        ):
            stack.push_async_callback(_end, asyncio.create_task(_reported(name, work), name=name))

    def url(self, approval_id: str) -> str:
        """Return where the console shows an approval; empty without a console."""
        if not self._origin:
            return ""
        return f"{self._origin}/approvals/{approval_id}" if approval_id else f"{self._origin}/"

    # -- parts --------------------------------------------------------------------------------

    def _open_passkeys(
        self,
        settings: Settings,
        stack: AsyncExitStack,
        *,
        audit: AuditSink,
        directory: _Directory,
        clock: Clock,
    ) -> None:
        """Open the passkeys; without a console there is no place they could be bound to."""
        if not self._origin:
            return
        # Imported here, as the channels below: a control that has none need not wait for them.
        from sidecar.passkeys.accounts import Accounts
        from sidecar.passkeys.passkeys import Passkeys
        from sidecar.passkeys.store_sqlite import PasskeyStore

        try:
            store = PasskeyStore(settings.layout.control / "passkeys.db")
        except EnvironmentFailure as exc:
            log.error("passkeys cannot be read: there is no console", problem=str(exc))
            return
        stack.callback(store.close)
        host = urlsplit(self._origin).hostname or ""
        self.passkeys = Passkeys(store=store, rp_id=host, origins=[self._origin], clock=clock)
        self.accounts = Accounts(
            store=store,
            passkeys=self.passkeys,
            audit=audit,
            operators=directory.operators,
            console_url=self._origin,
            clock=clock,
        )

    def _open_notifier(self, settings: Settings, stack: AsyncExitStack, clock: Clock) -> Notifier:
        channels: Sequence[Routed] = ()
        store = None
        if settings.notifications is not None:
            from sidecar.notify.build import load_channels
            from sidecar.notify.store_sqlite import SqliteNotices

            channels = load_channels(settings.notifications, clock=clock)
            try:
                store = SqliteNotices(settings.layout.control / "notices.db")
            except EnvironmentFailure as exc:
                log.error("notices do not outlive a restart", problem=str(exc))
            else:
                stack.callback(store.close)
        return Notifier(
            channels=channels,
            clock=clock,
            store=store,
            watchers=lambda: sum(count() for count in self.watchers),
            on_unreachable=self._unreachable,
        )

    def _unreachable(self, approval: str) -> None:
        """Withdraw a request that nobody was told of: its caller need not wait for the deadline."""
        task = asyncio.create_task(self._cancel_unreachable(approval.removeprefix("approvals/")))
        _PENDING.add(task)
        task.add_done_callback(_PENDING.discard)

    async def _cancel_unreachable(self, approval_id: str) -> None:
        try:
            await self.approvals.cancel(
                approval_id,
                Cause.UNREACHABLE,
                detail=self.notifier.refusal() or "no channel reached any approver",
            )
        except HoldfastError as exc:
            log.error("a request that reached nobody stays", problem=str(exc))


_PENDING: Final[set[asyncio.Task[None]]] = set()


class _Directory:
    """Implements ``approvals.ports.Directory`` over the bundle in force."""

    def __init__(self, policy: ControlPolicy) -> None:
        self._policy = policy

    def operators(self) -> Collection[Operator]:
        """Return the operators in force."""
        return self._policy.operators().values()


class _NoPasskeys:
    """Where there is no console there are no passkeys, and nothing that needs one is granted."""

    async def verify(self, *, human_id: str, challenge: bytes, assertion: bytes) -> str:
        raise RefusedError(
            "this control has no console, and so no passkeys",
            reason=ErrorReason.PASSKEY_INVALID,
            hint="set console_listen, enrol a passkey, and decide on the console",
        )


class _NoStore:
    """In place of a store that cannot be opened: every method says why."""

    def __init__(self, failure: EnvironmentFailure) -> None:
        self._failure = failure

    def close(self) -> None:
        """There is nothing to close."""

    def __getattr__(self, name: str) -> Callable[..., NoReturn]:
        def fail(*_: object, **__: object) -> NoReturn:
            raise self._failure

        return fail


def _open_store(path: Any, stack: AsyncExitStack) -> ApprovalStore:
    try:
        store = SqliteApprovals(path)
    except EnvironmentFailure as exc:
        log.error("approvals cannot be kept: what a human must decide is denied", problem=str(exc))
        broken: Any = _NoStore(exc)
        return broken  # type: ignore[no-any-return]
    stack.callback(store.close)
    return store


def _tell_gates(gates: GateRegistry, approval: Approval) -> None:
    if approval.request.kind is RequestKind.CALL:
        gates.tell_approval(changed_message(approval))


async def _reported(name: str, work: Coroutine[Any, Any, None]) -> None:
    """Run *work*; should it ever end with an error, say so at once."""
    try:
        await work
    except Exception:
        log.exception("a part of control has stopped", part=name)
        raise


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
