# SPDX-License-Identifier: Apache-2.0
"""One human's vote: the only way in which anything is granted or refused.

Laws:

1. Every vote is cast by the caller's own ``Operator``, whichever way it came. There is no vote on
   somebody's behalf.
2. The order of the checks is: may see, human and electorate, the same vote again, state, already
   voted, fingerprint, reason, passkey. What the caller may not see is answered exactly as what does
   not exist, before anything else is looked at.
3. The same vote again, by request id, gives the same answer; the same id with another vote is a
   conflict.
4. Nothing here trusts what it saw before it waited: the transition checks everything again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.approvals import machine
from sidecar.approvals.answers import Ballot, DecideAnswer
from sidecar.approvals.challenge import grant_challenge
from sidecar.approvals.eligibility import Standing, fold, standing_of
from sidecar.approvals.ports import PasskeyVerifier
from sidecar.approvals.refusals import No, Refusal, error_of
from sidecar.approvals.transitions import Transitions, missing
from sidecar.approvals.values import Approval, Moment, Verdict, Vote
from sidecar.approvals.world import World
from sidecar.errors import ConflictError, ErrorReason, UntrustedInputError
from sidecar.identifiers import check_request_id
from sidecar.model import Operator, Role

__all__ = ["Deciding", "check_ballot", "may_see"]

_MAX_REASON: Final = 1000
_MAX_FINGERPRINT: Final = 128
_MAX_ASSERTION: Final = 16 * 1024
# Controls, surrogates, line and paragraph separators; and the marks that turn text around.
_STEERING: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)


def may_see(approval: Approval, caller: Operator) -> bool:
    """Return whether *caller* may know of *approval*: its role, auditors, and whoever asked."""
    request = approval.request
    if request.role in caller.roles or Role.AUDIT_READ in caller.roles:
        return True
    if request.requester and caller.name == request.requester:
        return True
    human = fold(caller.human_id)
    return bool(human) and human == fold(request.requester_human)


def check_ballot(ballot: Ballot) -> None:
    """Hold the texts of *ballot* to their bounds; says nothing about any approval.

    Raises:
        UntrustedInputError: INVALID_ARGUMENT or MALFORMED.
    """
    if len(ballot.reason) > _MAX_REASON:
        raise _unfit(f"the reason is longer than {_MAX_REASON} characters")
    if any(unicodedata.category(char) in _STEERING or char in _TURNING for char in ballot.reason):
        raise _unfit("the reason holds a control character or a line break")
    if len(ballot.fingerprint) > _MAX_FINGERPRINT:
        raise _unfit("the fingerprint is not 64 hex digits")
    if len(ballot.assertion) > _MAX_ASSERTION:
        raise _unfit(f"the passkey's assertion is longer than {_MAX_ASSERTION} bytes")
    if ballot.request_id:
        check_request_id(ballot.request_id)


class Deciding:
    """Counts votes."""

    def __init__(
        self,
        *,
        transitions: Transitions,
        world: World,
        passkeys: PasskeyVerifier,
        look_up: Callable[[str], Awaitable[Approval]],
    ) -> None:
        self._transitions = transitions
        self._world = world
        self._passkeys = passkeys
        self._look_up = look_up

    async def decide(self, ballot: Ballot, caller: Operator) -> DecideAnswer:
        """Count the vote of *caller*.

        Raises:
            UntrustedInputError: The ballot is malformed.
            NotFoundError: There is no such approval, or it is none of the caller's business.
            RefusedError: The caller may not decide it, or not like this.
            PreconditionError: It is closed, or the caller has voted.
            ConflictError: The request id was used for another vote.
            EnvironmentFailure: The vote was not counted, for all that is known.
        """
        check_ballot(ballot)
        approval = await self._look_up(ballot.approval_id)
        if not may_see(approval, caller):
            raise missing()
        electorate = self._world.electorate(approval.request)
        refusal = machine.vote_refusal(
            approval, caller=caller, electorate=electorate, moment=self._transitions.moment()
        )
        if standing_of(approval.request, electorate, caller) is Standing.MEMBER:
            repeated = _repeated(approval, ballot, caller)
            if repeated is not None:
                return repeated
        refusal = refusal or machine.ballot_refusal(
            approval, ballot, is_signed=bool(ballot.assertion)
        )
        if refusal is not None:
            raise await self._refused(approval.id, refusal)
        signature = await self._signature(approval, ballot, caller)

        def step(current: Approval, moment: Moment) -> Approval | Refusal:
            return machine.vote(
                current,
                ballot,
                caller=caller,
                signature=signature,
                electorate=self._world.electorate(current.request),
                moment=moment,
                epoch=self._world.epoch(),
            )

        is_grant = ballot.verdict is Verdict.GRANT
        change = self._transitions.loosen if is_grant else self._transitions.tighten
        voted = await change(approval.id, step)
        if isinstance(voted, Refusal):
            now = await self._transitions.current(approval.id)
            repeated = _repeated(now, ballot, caller)  # the same vote, sent twice at once
            if repeated is not None:
                return repeated
            raise await self._refused(approval.id, voted)
        return DecideAnswer(await self._still(voted), is_repeated=False)

    async def _signature(self, approval: Approval, ballot: Ballot, caller: Operator) -> str:
        """Return what proves that the caller's passkey signed a grant of exactly this."""
        if ballot.verdict is not Verdict.GRANT or not ballot.assertion:
            return ""
        challenge = grant_challenge(approval.id, approval.request.fingerprint)
        return await self._passkeys.verify(
            human_id=caller.human_id, challenge=challenge, assertion=ballot.assertion
        )

    async def _refused(self, approval_id: str, refusal: Refusal) -> Exception:
        """Return the error of *refusal*; a deadline that has passed is written down first."""
        if refusal.code is No.EXPIRED:
            await self._transitions.expire(approval_id)
        return error_of(refusal)

    async def _still(self, voted: Approval) -> Approval:
        """Return *voted* as the world leaves it: the epoch may have moved while it was written."""
        if not voted.is_live:
            return voted
        ended = await self._transitions.tighten(voted.id, self._world.void)
        return voted if isinstance(ended, Refusal) else ended


def _repeated(approval: Approval, ballot: Ballot, caller: Operator) -> DecideAnswer | None:
    """Return the answer to a vote that is counted already (law 3)."""
    if not ballot.request_id:
        return None
    for vote in approval.votes:
        if (vote.request_id, vote.operator) == (ballot.request_id, caller.name):
            if _is_same(vote, ballot, approval):
                return DecideAnswer(approval, is_repeated=True)
            raise ConflictError(
                "this request id was used for another vote", hint="use a new request id"
            )
    return None


def _is_same(vote: Vote, ballot: Ballot, approval: Approval) -> bool:
    fingerprint = ballot.fingerprint or approval.request.fingerprint
    given = (ballot.verdict, ballot.reason, fingerprint)
    return given == (vote.verdict, vote.reason, approval.request.fingerprint)


def _unfit(message: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT)
