# SPDX-License-Identifier: Apache-2.0
"""What an approval is held against beside the call: the epoch, the policy, and who may decide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sidecar.approvals import machine
from sidecar.approvals.eligibility import Electorate, electorate_of
from sidecar.approvals.ports import Directory
from sidecar.approvals.refusals import No, Refusal
from sidecar.approvals.values import Approval, Cause, Moment, Request

__all__ = ["World"]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The world as it is whenever it is asked."""

    epoch: Callable[[], int]
    policy_digest: Callable[[], str]
    directory: Directory

    def electorate(self, request: Request) -> Electorate:
        """Return who may decide *request* now; raises ``HoldfastError`` if nobody knows."""
        return electorate_of(request, self.directory.operators())

    def void_cause(self, approval: Approval, moment: Moment) -> tuple[Cause, str] | None:
        """Return why the world voids the live *approval* now, if it does."""
        return machine.void_cause(
            approval, moment=moment, epoch=self.epoch(), policy_digest=self.policy_digest()
        )

    def void(self, approval: Approval, moment: Moment) -> Approval | Refusal:
        """Return *approval* CANCELLED if the world voids it."""
        cause = self.void_cause(approval, moment)
        if cause is None:
            return Refusal(No.NOT_DUE, "nothing voids this approval")
        return machine.cancel(approval, cause[0], detail=cause[1], moment=moment)
