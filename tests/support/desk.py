# SPDX-License-Identifier: Apache-2.0
"""A desk for pipelines under test that have no control: it grants exactly what a test granted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sidecar.authorize.holds import Grant, HeldCall, Opened, Outcome, Turned, Used
from sidecar.model import Reason

__all__ = ["ScriptedDesk"]


class ScriptedDesk:
    """Opens a request for every held call, unless a test granted it or turns everything away."""

    def __init__(self) -> None:
        self.asked: list[HeldCall] = []
        self.grants: dict[str, Grant] = {}
        self.turned: Reason | None = None
        self.before_answer: Callable[[HeldCall], Awaitable[None] | None] = lambda call: None

    def grant(self, call: HeldCall, **changes: str | int) -> None:
        """Grant *call* once; *changes* make the grant one for something else."""
        bound = {
            "fingerprint": call.fingerprint,
            "policy_digest": call.policy_digest,
            "epoch": call.epoch,
            **changes,
        }
        self.grants[call.fingerprint] = Grant(
            approval=f"apr_{len(self.asked):032x}",
            granters=("bob",),
            fingerprint=str(bound["fingerprint"]),
            policy_digest=str(bound["policy_digest"]),
            epoch=int(bound["epoch"]),
        )

    async def settle(self, call: HeldCall) -> Outcome:
        """Answer as control would."""
        self.asked.append(call)
        grant = self.grants.pop(call.fingerprint, None)
        waiting = self.before_answer(call)
        if waiting is not None:
            await waiting
        if grant is not None:
            return Used(grant)
        if self.turned is not None:
            return Turned(reason=self.turned)
        return Opened(
            approval=f"apr_{len(self.asked):032x}",
            expire_time_ns=2**60,
            approvers=("bob",),
            url="",
        )
