# SPDX-License-Identifier: Apache-2.0
"""What the service knows without asking the disk: everything that is live, by what is asked of it.

Laws:

1. The board is a copy. Whether something may be granted or used is decided by the store's
   compare-and-swap; a stale board can only make an answer slower or tighter.
2. It never goes back: an older version of an approval does not replace a newer one, and one that has
   ended does not come back.
3. What it holds is bounded by what is live, by what ended lately, and by the agents there are.

Without I/O; belongs to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from sidecar.approvals.machine import fold_into
from sidecar.approvals.values import Approval, ApprovalState, Cause, Request, RequestKind

__all__ = ["Board", "CallKey", "RememberedRefusal", "call_key"]

CallKey: TypeAlias = tuple[str, str, str, str]
"""What makes two calls the same: fingerprint, agent, session, policy digest."""

_MAX_ENDED: Final = 4096


def call_key(request: Request) -> CallKey:
    """Return what makes *request* the same call as another."""
    return (request.fingerprint, request.agent, request.session, request.policy_digest)


@dataclass(frozen=True, slots=True)
class RememberedRefusal:
    """That a human refused a call, and until when (boot clock) the identical call is not asked."""

    approval_id: str
    detail: str
    until_boot_ns: int
    until_wall_ns: int


class Board:
    """The live approvals, the requests that are being opened, and the refusals of late."""

    def __init__(self) -> None:
        self._live: dict[str, Approval] = {}
        self._by_call: dict[CallKey, str] = {}
        self._by_asker: dict[tuple[RequestKind, str], set[str]] = {}
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._openings: dict[CallKey, asyncio.Future[None]] = {}
        self._folded: set[str] = set()
        self._refusals: dict[CallKey, RememberedRefusal] = {}
        self._cancels: dict[str, tuple[int, Cause, str]] = {}
        self._alerts: dict[str, int] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # -- what is live ---------------------------------------------------------------------------

    @property
    def live(self) -> Mapping[str, Approval]:
        """The live approvals by id."""
        return MappingProxyType(self._live)

    def put(self, approval: Approval) -> None:
        """Take *approval* in, in place of what was known of it (law 2)."""
        known = self._live.get(approval.id)
        if self._ended.get(approval.id, 0) >= approval.version:
            return
        if known is not None and known.version > approval.version:
            return
        asker = _asker(approval.request)
        if approval.is_live:
            if known is not None and known.folded_count > approval.folded_count:
                approval = replace(approval, folded_count=known.folded_count)
            self._live[approval.id] = approval
            self._by_asker.setdefault(asker, set()).add(approval.id)
            if approval.request.kind is RequestKind.CALL:
                self._by_call[call_key(approval.request)] = approval.id
            return
        self._live.pop(approval.id, None)
        self._folded.discard(approval.id)
        of_asker = self._by_asker.get(asker, set())
        of_asker.discard(approval.id)
        if not of_asker:
            self._by_asker.pop(asker, None)
        key = call_key(approval.request)
        if self._by_call.get(key) == approval.id:
            del self._by_call[key]
        self._ended[approval.id] = approval.version
        self._ended.move_to_end(approval.id)
        while len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)

    def of_call(self, key: CallKey) -> Approval | None:
        """Return the live approval of that very call."""
        return self._live.get(self._by_call.get(key, ""))

    def of_asker(self, kind: RequestKind, asker: str) -> list[Approval]:
        """Return the live approvals of an agent's calls, or of an operator's actions."""
        return [self._live[id_] for id_ in self._by_asker.get((kind, asker), ())]

    def pending_count(self, kind: RequestKind, asker: str) -> int:
        """Return how many of them wait for humans, with those that are being opened."""
        waiting = sum(
            approval.state is ApprovalState.PENDING for approval in self.of_asker(kind, asker)
        )
        if kind is RequestKind.CALL:
            waiting += sum(key[1] == asker for key in self._openings)
        return waiting

    def lock(self, approval_id: str) -> asyncio.Lock:
        """Return the lock of whatever loosens that approval, so that it is tried once at a time."""
        lock = self._locks.get(approval_id)
        if lock is None:
            lock = self._locks[approval_id] = asyncio.Lock()
        return lock

    # -- identical calls ------------------------------------------------------------------------

    def begin_opening(self, key: CallKey) -> asyncio.Future[None]:
        """Note that a request for *key* is being opened; others wait for it and fold."""
        opening: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        opening.add_done_callback(_look_at_exception)
        self._openings[key] = opening
        return opening

    def end_opening(self, key: CallKey) -> None:
        """Note that it has been opened, or that it has not."""
        self._openings.pop(key, None)

    def opening(self, key: CallKey) -> asyncio.Future[None] | None:
        """Return the request that is being opened for *key*."""
        return self._openings.get(key)

    def fold(self, approval: Approval) -> Approval:
        """Count one more identical call on *approval*."""
        folded = fold_into(self._live.get(approval.id, approval))
        if approval.id in self._live:
            self._live[approval.id] = folded
            self._folded.add(approval.id)
        return folded

    def take_folded(self) -> dict[str, int]:
        """Return the counts that changed since the last time."""
        counts = {id_: self._live[id_].folded_count for id_ in self._folded}
        self._folded.clear()
        return counts

    def put_back_folded(self, counts: Mapping[str, int]) -> None:
        """Remember that these counts were not written after all."""
        self._folded.update(id_ for id_ in counts if id_ in self._live)

    # -- refusals -------------------------------------------------------------------------------

    def remember_refusal(self, key: CallKey, refusal: RememberedRefusal) -> None:
        """Deny the identical call for a while."""
        self._refusals[key] = refusal

    def refusal(self, key: CallKey, boot_ns: int) -> RememberedRefusal | None:
        """Return the refusal that still stands against *key*."""
        refusal = self._refusals.get(key)
        return refusal if refusal is not None and boot_ns < refusal.until_boot_ns else None

    def forget_refusals(self, boot_ns: int) -> None:
        """Forget those that stand no more."""
        old = [key for key, item in self._refusals.items() if item.until_boot_ns <= boot_ns]
        for key in old:
            del self._refusals[key]

    # -- agents ---------------------------------------------------------------------------------

    def note_cancel(self, agent: str, cause: Cause, detail: str) -> None:
        """Note that everything of *agent* is cancelled, also what is being opened now."""
        count = self._cancels[agent][0] if agent in self._cancels else 0
        self._cancels[agent] = (count + 1, cause, detail)

    def last_cancel(self, agent: str) -> tuple[int, Cause, str] | None:
        """Return the last of these notes; another one means that it was cancelled since."""
        return self._cancels.get(agent)

    def may_alert(self, agent: str, boot_ns: int, every_ns: int) -> bool:
        """Return whether to alert about *agent* now; says so once in *every_ns*."""
        last = self._alerts.get(agent)
        if last is not None and boot_ns - last < every_ns:
            return False
        self._alerts[agent] = boot_ns
        return True

    def __iter__(self) -> Iterator[Approval]:
        return iter(tuple(self._live.values()))


def _asker(request: Request) -> tuple[RequestKind, str]:
    is_call = request.kind is RequestKind.CALL
    return request.kind, request.agent if is_call else request.requester


def _look_at_exception(opening: asyncio.Future[None]) -> None:
    """A failure that nobody waited for is no news: whoever opened it reports it."""
    if not opening.cancelled():
        opening.exception()
