# SPDX-License-Identifier: Apache-2.0
"""Control actions that wait for a second human: asked and told of here, carried out in ``execution``.

Laws:

1. What one hand may do is done at once, and asks nobody: no store stands between an operator with
   ``break-glass`` and a containment.
2. The same request id with the same body, from whoever asked with it, is the same operation, whatever
   became of it; anything else with it is a conflict. A request id that the journal knows from a
   direct order keeps its answer.
3. What can be seen before anybody is asked is refused before anybody is asked: a missing role, a
   directive that does not stand, too few humans who could grant it.
4. Of what lets one agent go, and of a question about it (an operation that ends with its answer), the
   agent's owner decides as little as whoever asks.
5. An operation shows itself to those who may see its approval; to everybody else it does not exist.

Belongs to one event loop. ``start`` once, then ``run`` beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import Final, NoReturn

from sidecar.approvals.values import Approval, Request, RequestKind
from sidecar.clock import NS_PER_SECOND, Clock
from sidecar.containment.answers import ContainmentAnswer, ReleaseAnswer
from sidecar.containment.orders import ContainmentOrder, ReleaseOrder
from sidecar.containment.rules import require_releaser
from sidecar.containment.service import ContainmentService
from sidecar.errors import ConflictError, ErrorReason, NotFoundError, RefusedError
from sidecar.identifiers import check_request_id
from sidecar.model import Fingerprint, Operator
from sidecar.operations.answers import (
    NO_RESULT,
    AskPreview,
    OperationPage,
    OperationResult,
    Preview,
)
from sidecar.operations.changes import change_between
from sidecar.operations.execution import Executor
from sidecar.operations.forms import (
    activation_form,
    activation_in,
    activation_sentence,
    containment_sentence,
    release_form,
    release_sentence,
)
from sidecar.operations.ports import Activate, ApprovalsPort, InForce, PolicySource
from sidecar.operations.questions import (
    Question,
    question_sentence,
    require_confirmation_request,
)
from sidecar.operations.rules import (
    Need,
    need_of_activation,
    need_of_confirmation,
    need_of_containment,
    need_of_release,
    require_activation_request,
)
from sidecar.operations.values import Action, Operation, OperationState, operation_of
from sidecar.policy.approval_rules import ApprovalRules
from sidecar.policy.bundle import Bundle
from sidecar.policy.compare import may_permit_more
from sidecar.policy.engine import PolicyEngine

__all__ = ["Operations"]

_PAGE: Final = 200
_MAX_PAGE: Final = 1000
_MAX_SCANNED: Final = 2000
_MAX_WAIT_S: Final = 30.0
_TICK_S: Final = 1.0
_NOBODY: Final = frozenset({ErrorReason.NO_APPROVER, ErrorReason.NO_CHANNEL})


class Operations:
    """Asks for control actions, and tells how they stand.

    Args:
        approvals: Where humans are asked; started before this is.
        containment: The levers; started before this is.
        policy: The bundle in force, the directory it is read from, and the operators.
        activate: Lets a bundle come into force.
        clock: For waits.
        outsiders: Operators that the bundle does not name: that of the host's own socket.
    """

    def __init__(
        self,
        *,
        approvals: ApprovalsPort,
        containment: ContainmentService,
        policy: PolicySource,
        activate: Activate,
        clock: Clock,
        outsiders: Sequence[Operator] = (),
    ) -> None:
        self._approvals = approvals
        self._containment = containment
        self._policy = policy
        self._clock = clock
        self._executor = Executor(
            approvals=approvals,
            containment=containment,
            policy=policy,
            activate=activate,
            outsiders=outsiders,
        )

    # -- life -----------------------------------------------------------------------------------

    async def start(self) -> None:
        """Go on with what was granted before a crash; call once.

        Raises:
            EnvironmentFailure: The approvals cannot be read.
        """
        await self._executor.start()

    async def run(self) -> None:
        """Try again what the machine under us did not let through, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            self._executor.retry()

    async def settle(self) -> None:
        """Wait until nothing is being carried out."""
        await self._executor.settle()

    async def aclose(self) -> None:
        """Finish what was begun."""
        await self._executor.settle()

    # -- asking ---------------------------------------------------------------------------------

    def preview(self, order: ContainmentOrder, caller: Operator) -> Preview:
        """Return what *order* would reach and wait for; order and ask nothing.

        Raises:
            RefusedError: *caller* may not contain.
        """
        reach = self._containment.preview(order, caller)
        return Preview(
            agents=reach.agents,
            is_wide=reach.is_wide,
            protected=reach.protected,
            need=need_of_containment(reach, self._rules),
            summary=containment_sentence(caller.name, order),
            unknown=reach.unknown,
        )

    async def contain(
        self, order: ContainmentOrder, caller: Operator
    ) -> ContainmentAnswer | Operation:
        """Contain at once, or ask for it if it is more than one hand may order (law 1).

        Raises:
            RefusedError: *caller* may not contain; NO_APPROVER or NO_CHANNEL if it must be asked
                for, and nobody could grant it.
            ConflictError: The request id was used for another order.
            EnvironmentFailure: It must be asked for, and that cannot be stored.
        """
        need = need_of_containment(self._containment.preview(order, caller), self._rules)
        if need is None:
            return await self._containment.contain(order, caller)
        done = await self._containment.find_containment(order)
        if done is not None and not done.approval:
            return done
        known = await self._known(caller, order.request_id, order.fingerprint())
        if known is not None:
            return known
        if done is not None:
            return done  # the approvals were lost since
        try:
            return await self._ask(
                Action.CONTAIN,
                need,
                caller,
                request_id=order.request_id,
                canonical=order.canonical(),
                summary=containment_sentence(caller.name, order),
                agent=order.target.agent,
            )
        except RefusedError as exc:
            _refuse_with_break_glass(exc)

    async def release(self, order: ReleaseOrder, caller: Operator) -> ReleaseAnswer | Operation:
        """Ask for a release. Only one that was carried out before operations were is no operation.

        Raises:
            RefusedError: *caller* may not release, or not this one; NO_APPROVER or NO_CHANNEL.
            NotFoundError: There is no such directive.
            PreconditionError: ALREADY_RELEASED.
            ConflictError: The request id was used for another order.
            EnvironmentFailure: It cannot be stored.
        """
        require_releaser(caller)
        entry = await self._containment.get_directive(order.directive_epoch)
        canonical = release_form(order, entry.contained)
        done = await self._containment.find_release(order)
        if done is not None and not done.entry.release_approval:
            return done
        known = await self._known(caller, order.request_id, sha256(canonical).hexdigest())
        if known is not None:
            return known
        if done is not None:
            return done
        contained = await self._containment.releasable(order, caller)
        return await self._ask(
            Action.RELEASE,
            need_of_release(caller, self._rules),
            caller,
            request_id=order.request_id,
            canonical=canonical,
            summary=release_sentence(caller.name, order, contained),
            agent=contained.directive.target.agent,
            owner=self._owner(contained.directive.target.agent),  # law 4
        )

    async def activate(
        self, bundle: Bundle, engine: PolicyEngine, caller: Operator, request_id: str
    ) -> InForce | Operation:
        """Let *bundle* come into force at once if it cannot permit more, else ask for it.

        Call it with ``policy.reloading`` held, so that what was read is what is compared.

        Raises:
            RefusedError: *caller* may not ask for it; NO_APPROVER or NO_CHANNEL.
            ConflictError: The request id was used for something else.
            EnvironmentFailure: It cannot be stored, or not be made durable.
        """
        require_activation_request(caller)
        known = await self._approvals.find_action(check_request_id(request_id))
        if known is not None:
            return _same_activation(known, bundle, caller)
        state = self._policy.state
        if bundle.digest == state.bundle.digest:
            return state
        is_more, reasons = await asyncio.to_thread(may_permit_more, state.bundle, bundle)
        if not is_more:
            return await self._executor.activate(bundle, engine, caller)
        change = await asyncio.to_thread(change_between, state.bundle, bundle, reasons)
        return await self._ask(
            Action.ACTIVATE_POLICY,
            need_of_activation(reasons, caller, self._rules),
            caller,
            request_id=request_id,
            canonical=activation_form(change),
            summary=activation_sentence(caller.name, change),
        )

    async def preview_activation(self, bundle: Bundle, caller: Operator) -> Need | None:
        """Return what *bundle* would wait for; None if it would come into force at once.

        Raises:
            RefusedError: *caller* may not ask for it.
        """
        require_activation_request(caller)
        is_more, reasons = await asyncio.to_thread(
            may_permit_more, self._policy.state.bundle, bundle
        )
        return need_of_activation(reasons, caller, self._rules) if is_more else None

    async def confirm(self, asked: Question, caller: Operator) -> tuple[Operation, bool]:
        """Ask humans *asked*; return the operation, and whether it had been asked before (law 2).

        Raises:
            RefusedError: *caller* may not ask; NO_APPROVER or NO_CHANNEL.
            ConflictError: The request id was used for another order.
            EnvironmentFailure: It cannot be stored.
        """
        preview = self.preview_confirmation(asked, caller)
        known = await self._known(caller, asked.request_id, preview.request.fingerprint)
        if known is not None:
            return known, True
        return operation_of(await self._approvals.open_action(preview.request)), False

    def preview_confirmation(self, asked: Question, caller: Operator) -> AskPreview:
        """Return what *asked* would show to whom; ask nobody.

        Raises:
            RefusedError: *caller* may not ask.
        """
        require_confirmation_request(caller)
        need = need_of_confirmation(self._rules)
        request = self._request(
            Action.CONFIRM,
            need,
            caller,
            request_id=asked.request_id,
            canonical=asked.canonical(),
            summary=question_sentence(caller.name, asked),
            agent=asked.agent,
            owner=self._owner(asked.agent),
        )
        return AskPreview(request=request, need=need)

    # -- telling --------------------------------------------------------------------------------

    async def get(self, operation_id: str, caller: Operator) -> Operation:
        """Return one operation.

        Raises:
            NotFoundError: There is none that *caller* may see (law 5).
        """
        return operation_of(await self._visible(operation_id, caller))

    async def wait(self, operation_id: str, caller: Operator, *, timeout_s: float) -> Operation:
        """Return one operation as soon as it has ended, or after *timeout_s* as it is then.

        Raises:
            NotFoundError: There is none that *caller* may see (law 5).
        """
        approval = await self._visible(operation_id, caller)
        deadline = self._clock.boot_ns() + round(
            min(max(timeout_s, 0.0), _MAX_WAIT_S) * NS_PER_SECOND
        )
        while not operation_of(approval).is_ended:
            left_s = (deadline - self._clock.boot_ns()) / NS_PER_SECOND
            if left_s <= 0:
                break
            newer = await self._approvals.wait(
                approval.id, version=approval.version, timeout_s=left_s
            )
            if newer.version == approval.version:
                break
            approval = newer
        return operation_of(approval)

    async def list(
        self,
        caller: Operator,
        *,
        pending_only: bool = False,
        limit: int = 100,
        before: str | None = None,
    ) -> OperationPage:
        """Return operations that *caller* may see, newest first (law 5).

        A page may be short, or empty, and not the last one: only so many approvals are looked at.
        """
        limit = max(1, min(limit, _MAX_PAGE))
        found: list[Operation] = []
        for _ in range(_MAX_SCANNED // _PAGE):
            page = await self._approvals.list(pending_only=pending_only, limit=_PAGE, before=before)
            for approval in page.approvals:
                if not self._is_visible(approval, caller):
                    continue
                found.append(operation_of(approval))
                if len(found) == limit:
                    return OperationPage(operations=tuple(found), next_before=approval.id)
            before = page.next_before
            if before is None:
                break
        return OperationPage(operations=tuple(found), next_before=before)

    async def result(self, operation: Operation) -> OperationResult:
        """Return what *operation* gave, as it stands now; nothing unless it is DONE.

        Raises:
            EnvironmentFailure: The history cannot be read.
        """
        if operation.state is not OperationState.DONE:
            return NO_RESULT
        match operation.action:
            case Action.CONTAIN:
                receipt = await self._containment.get_receipt(operation.outcome.directive_epoch)
                return OperationResult(receipt=receipt)
            case Action.RELEASE:
                entry = await self._containment.get_directive(operation.outcome.directive_epoch)
                return OperationResult(entry=entry, remaining=self._containment.remaining(entry))
            case Action.ACTIVATE_POLICY | Action.CONFIRM:
                return NO_RESULT

    # -- private --------------------------------------------------------------------------------

    @property
    def _rules(self) -> ApprovalRules:
        return self._policy.state.bundle.approvals

    def _owner(self, agent: str) -> str:
        """Return the human behind *agent*, or nothing."""
        spec = self._policy.state.bundle.agents.get(agent)
        return spec.owner if spec is not None else ""

    async def _ask(
        self,
        action: Action,
        need: Need,
        caller: Operator,
        *,
        request_id: str,
        canonical: bytes,
        summary: str,
        agent: str = "",
        owner: str = "",
    ) -> Operation:
        request = self._request(
            action,
            need,
            caller,
            request_id=request_id,
            canonical=canonical,
            summary=summary,
            agent=agent,
            owner=owner,
        )
        return operation_of(await self._approvals.open_action(request))

    def _request(
        self,
        action: Action,
        need: Need,
        caller: Operator,
        *,
        request_id: str,
        canonical: bytes,
        summary: str,
        agent: str = "",
        owner: str = "",
    ) -> Request:
        rule = need.rule
        return Request(
            kind=RequestKind.ACTION,
            fingerprint=Fingerprint(sha256(canonical).hexdigest()),
            canonical=canonical,
            summary=summary,
            reason=need.why,
            tier=need.tier,
            role=need.role,
            quorum=rule.quorum,
            is_passkey_needed=rule.is_passkey_needed,
            is_reason_needed=rule.is_reason_needed,
            expiry_s=rule.expiry_s,
            grant_life_s=rule.grant_life_s,
            policy_digest=self._policy.state.bundle.digest,
            epoch=self._containment.epoch,
            action=action.value,
            requester=caller.name,
            requester_human=caller.human_id,
            request_id=request_id,
            agent=agent,
            owner=owner,
        )

    async def _known(self, caller: Operator, request_id: str, fingerprint: str) -> Operation | None:
        """Return the operation of this request id, if there is one (law 2).

        Raises:
            ConflictError: It is another order, or somebody else's.
        """
        known = await self._approvals.find_action(request_id)
        if known is None:
            return None
        if (known.request.fingerprint, known.request.requester) != (fingerprint, caller.name):
            raise _conflict()
        return operation_of(known)

    async def _visible(self, operation_id: str, caller: Operator) -> Approval:
        try:
            approval = await self._approvals.get(operation_id)
        except NotFoundError as exc:
            raise _nothing() from exc
        if not self._is_visible(approval, caller):
            raise _nothing()
        return approval

    def _is_visible(self, approval: Approval, caller: Operator) -> bool:
        is_action = approval.request.kind is RequestKind.ACTION
        return is_action and self._approvals.may_see(approval, caller)


def _same_activation(known: Approval, bundle: Bundle, caller: Operator) -> Operation:
    """Return the operation *known* if *caller* asked with it to activate *bundle* (law 2).

    The body also names the bundle that was in force then, which may be another one now.
    """
    request = known.request
    if (request.action, request.requester) != (Action.ACTIVATE_POLICY, caller.name):
        raise _conflict()
    if not request.canonical or activation_in(known).digest != bundle.digest:
        raise _conflict()
    return operation_of(known)


def _nothing() -> NotFoundError:
    return NotFoundError("there is no such operation", hint="list the operations")


def _conflict() -> ConflictError:
    return ConflictError(
        "this request id was used before, for another order",
        hint="use a fresh request id for each order, and the same one only to retry it",
    )


def _refuse_with_break_glass(exc: RefusedError) -> NoReturn:
    """Raise *exc* again; if nobody can be asked, say who needs not ask."""
    if exc.reason not in _NOBODY:
        raise exc
    raise RefusedError(
        exc.message,
        reason=exc.reason,
        hint="let somebody with the role break-glass order it: that waits for nobody",
    ) from exc
