# SPDX-License-Identifier: Apache-2.0
"""Carries out what was granted, once.

Laws:

1. What is held is done only when it is granted, from the very bytes that were granted, by the
   requester as the requester is then: who has lost the role meanwhile carries out nothing.
2. Once: the grant is taken before anything is done, and what is done is named by the request id, so
   carrying on after a crash changes nothing that was done already.
3. The world may move while humans think. A directive that has ended is not released again; a bundle
   comes into force only in place of the one that the humans compared it with, and only if the
   directory still holds it. Who would be asked in vain is not asked any longer.
4. What was granted ends DONE or FAILED, and says why; only where the latch itself has failed it is
   left for the next start, which knows what became durable.

Belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import structlog

from sidecar.approvals.eligibility import fold
from sidecar.approvals.values import Approval, ApprovalState, Cause, RequestKind, Verdict
from sidecar.containment.consent import Consent
from sidecar.containment.events import Event, Expired, Released
from sidecar.containment.service import ContainmentService
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    IntegrityError,
    NotDurableError,
    PreconditionError,
    RefusedError,
)
from sidecar.model import Operator
from sidecar.operations.forms import (
    activation_in,
    containment_in,
    directive_sentence,
    release_form,
    release_in,
)
from sidecar.operations.ports import Activate, ApprovalsPort, InForce, PolicySource
from sidecar.operations.rules import require_activation_request
from sidecar.operations.values import Action, Outcome
from sidecar.policy.bundle import Bundle
from sidecar.policy.engine import PolicyEngine

__all__ = ["Executor", "consent_of"]

_INTERNAL: Final = "INTERNAL"
log = structlog.get_logger("holdfast.control")


class Executor:
    """Takes grants and carries them out."""

    def __init__(
        self,
        *,
        approvals: ApprovalsPort,
        containment: ContainmentService,
        policy: PolicySource,
        activate: Activate,
        outsiders: Sequence[Operator],
    ) -> None:
        self._approvals = approvals
        self._containment = containment
        self._policy = policy
        self._let_in = activate
        self._outsiders = tuple(outsiders)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._untaken: set[str] = set()

    async def start(self) -> None:
        """Listen, and go on with what was granted or taken before.

        Raises:
            EnvironmentFailure: The approvals cannot be read.
        """
        self._approvals.add_listener(self._on_approval)
        self._containment.add_listener(self._on_event)
        for approval in await self._approvals.unfinished():
            if approval.state is ApprovalState.GRANTED:
                self._begin(approval.id, self._carry_out(approval.id))
            else:
                log.info("carrying on with what was granted", approval=approval.id)
                self._begin(approval.id, self._finish(approval))
        await self._drop_outdated()

    def retry(self) -> None:
        """Try again to take what store or log did not let through."""
        for approval_id in tuple(self._untaken):
            self._begin(approval_id, self._carry_out(approval_id))

    async def settle(self) -> None:
        """Wait until nothing is being carried out."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks.values()))

    async def activate(self, bundle: Bundle, engine: PolicyEngine, author: Operator) -> InForce:
        """Let *bundle* come into force; nobody is asked about what it replaces any longer."""
        state = await self._let_in(bundle, engine, author)
        await self._drop_outdated()
        return state

    # -- listening ------------------------------------------------------------------------------

    def _on_approval(self, approval: Approval) -> None:
        is_action = approval.request.kind is RequestKind.ACTION
        if is_action and approval.state is ApprovalState.GRANTED:
            self._begin(approval.id, self._carry_out(approval.id))

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Released | Expired):
            epoch = event.directive_epoch
            self._begin(f"directive {epoch}", self._drop_releases(epoch))

    def _begin(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        if name in self._tasks:
            work.close()  # one task carries it out, however often it is told
            return
        task = asyncio.create_task(work, name=f"operation {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    # -- carrying out ---------------------------------------------------------------------------

    async def _carry_out(self, approval_id: str) -> None:
        try:
            approval = await self._approvals.take(approval_id)  # law 2
        except EnvironmentFailure as exc:
            log.error("a grant could not be taken", approval=approval_id, problem=str(exc))
            self._untaken.add(approval_id)
            return
        except HoldfastError as exc:
            log.warning("a grant was not used", approval=approval_id, problem=str(exc))
            self._untaken.discard(approval_id)
            return
        self._untaken.discard(approval_id)
        await self._finish(approval)

    async def _finish(self, approval: Approval) -> None:
        try:
            outcome, detail = await self._done(approval)
        except NotDurableError as exc:
            log.error("left for the next start", approval=approval.id, problem=str(exc))  # law 4
            return
        except HoldfastError as exc:
            outcome = Outcome(error_reason=exc.reason.value)
            detail = f"{_granters(approval)}, and it could not be carried out: {exc.message}"
        except (OSError, RuntimeError, ValueError, TypeError, LookupError):
            log.exception("an operation failed", approval=approval.id)
            outcome = Outcome(error_reason=_INTERNAL)
            detail = f"{_granters(approval)}, and control failed while it carried it out"
        try:
            await self._approvals.finish(
                approval.id,
                result=outcome.to_json(),
                detail=detail,
                is_failed=bool(outcome.error_reason),
            )
        except HoldfastError as exc:  # the approvals go on trying, and the next start does it again
            log.error("a result could not be noted", approval=approval.id, problem=str(exc))

    async def _done(self, approval: Approval) -> tuple[Outcome, str]:
        match Action(approval.request.action):
            case Action.CONTAIN:
                return await self._contain(approval)
            case Action.RELEASE:
                return await self._release(approval)
            case Action.ACTIVATE_POLICY:
                return await self._activate(approval)
            case Action.CONFIRM:
                return Outcome(), _granters(approval)  # the answer is all that was asked for

    async def _contain(self, approval: Approval) -> tuple[Outcome, str]:
        order = containment_in(approval)
        answer = await self._containment.find_containment(order)
        if answer is None:
            answer = await self._containment.contain(
                order, self._requester(approval), consent_of(approval)
            )
        directive = answer.receipt.receipt.directive
        return (
            Outcome(directive_epoch=directive.epoch, epoch=directive.epoch),
            f"{_granters(approval)}; {directive.name} was ordered",
        )

    async def _release(self, approval: Approval) -> tuple[Outcome, str]:
        order = release_in(approval)
        answer = await self._containment.find_release(order)
        if answer is None:
            requester = self._requester(approval)
            contained = await self._containment.releasable(order, requester)  # law 3
            if release_form(order, contained) != approval.request.canonical:
                raise IntegrityError(f"{approval.name} was granted for another directive")
            answer = await self._containment.release(order, requester, consent_of(approval))
        return (
            Outcome(directive_epoch=order.directive_epoch, epoch=answer.epoch),
            f"{_granters(approval)}; {directive_sentence(answer.entry.contained)} was released",
        )

    async def _activate(self, approval: Approval) -> tuple[Outcome, str]:
        wanted = activation_in(approval)
        async with self._policy.reloading:
            state = self._policy.state
            if state.bundle.digest != wanted.digest:
                requester = self._requester(approval)
                require_activation_request(requester)
                if state.bundle.digest != wanted.digest_in_force:  # law 3
                    raise _moved("another bundle came into force after it was asked")
                bundle, engine = await self._policy.read()
                if bundle.digest != wanted.digest:
                    raise _moved("the directory changed after it was asked")
                state = await self.activate(bundle, engine, requester)
        return (
            Outcome(policy_digest=wanted.digest, epoch=state.epoch),
            f"{_granters(approval)}; the bundle is in force",
        )

    def _requester(self, approval: Approval) -> Operator:
        """Return who asked, as they are now (law 1).

        Raises:
            RefusedError: Nobody of that name is the same person any more.
        """
        request = approval.request
        for operator in (*self._policy.operators().values(), *self._outsiders):
            is_same_human = fold(operator.human_id) == fold(request.requester_human)
            if operator.name == request.requester and is_same_human:
                return operator
        raise RefusedError(
            f"{request.requester}, who asked for it, is no operator any more",
            hint="somebody who is one may ask again",
        )

    # -- what nobody need be asked any longer -----------------------------------------------------

    async def _drop_outdated(self) -> None:
        """Cancel requests to activate a bundle in place of one that is not in force any more."""
        digest = self._policy.state.bundle.digest

        def is_outdated(approval: Approval) -> bool:
            return activation_in(approval).digest_in_force != digest

        await self._drop(
            Action.ACTIVATE_POLICY,
            is_outdated,
            Cause.POLICY_CHANGED,
            "another bundle came into force; compare with that one and ask again",
        )

    async def _drop_releases(self, epoch: int) -> None:
        """Cancel requests to release a directive that has ended."""
        await self._drop(
            Action.RELEASE,
            lambda approval: release_in(approval).directive_epoch == epoch,
            Cause.EPOCH_MOVED,
            f"directives/{epoch} has ended meanwhile",
        )

    async def _drop(
        self,
        action: Action,
        is_moot: Callable[[Approval], bool],
        cause: Cause,
        detail: str,
    ) -> None:
        for approval in self._approvals.live():
            try:
                if approval.request.action == action.value and is_moot(approval):
                    await self._approvals.cancel(approval.id, cause, detail=detail)
            except HoldfastError as exc:
                # It asks in vain then: what is carried out is looked at once more.
                log.warning("moot, and asked on", approval=approval.id, problem=str(exc))


def consent_of(approval: Approval) -> Consent:
    """Return the consent of the humans who granted *approval*, which has been taken."""
    humans = dict.fromkeys(
        vote.human_id for vote in approval.votes if vote.verdict is Verdict.GRANT
    )
    return Consent(approval=approval.name, humans=tuple(humans))


def _granters(approval: Approval) -> str:
    names = dict.fromkeys(vote.operator for vote in approval.votes if vote.verdict is Verdict.GRANT)
    return f"granted by {', '.join(names)}"


def _moved(message: str) -> PreconditionError:
    return PreconditionError(
        message,
        reason=ErrorReason.POLICY_CHANGED,
        hint="look at the directory and ask again with a fresh request id",
    )
