# SPDX-License-Identifier: Apache-2.0
"""Stops the process group of an agent's runtime: SIGTERM, a grace, SIGKILL.

Laws:

1. Nothing but the registered group is ever signalled. The leader is held by a pidfd from its
   registration on, and its start time is compared once more just before the signal, so a number
   that the kernel has given to somebody else is left alone. The user is checked at registration
   only: a process that changes it later is the same process, and must not escape by that.
2. The group is signalled through the leader's pidfd where the kernel can (6.9), else by its number
   and only while one of it, held by a pidfd, is seen alive, which keeps the number from being
   reused.
3. Exits are awaited on pidfds, never by sleeping.
4. A process that left the group and the leader's descriptor behind (``setsid`` in a child) is not
   reached; a driver on cgroups or containers is the answer to that.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import select
import signal
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.containment.isolation import IsolationItem, IsolationResult
from sidecar.errors import ErrorReason, UntrustedInputError

__all__ = ["ProcessGroupDriver", "RuntimeRegistration"]

_PIDFD_SIGNAL_PROCESS_GROUP: Final = 4
_MAX_PER_AGENT: Final = 16
_PROC: Final = Path("/proc")
# Fields of /proc/<pid>/stat after the name, which ends with the last ")".
_STATE, _GROUP, _THREADS, _START_TIME = 0, 2, 17, 19
_DEAD: Final = frozenset({b"Z", b"X"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRegistration:
    """One runtime of an agent. ``start_time`` is field 22 of the leader's ``/proc/<pid>/stat``."""

    agent: str
    process_group: int
    leader: int
    start_time: int
    uid: int

    def describe(self) -> str:
        """Return it as people read it."""
        return f"pgid {self.process_group} (agent {self.agent})"


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    group: int
    start_time: int
    uid: int
    is_dead: bool


@dataclass(slots=True)
class _Held:
    registration: RuntimeRegistration
    pidfd: int


class ProcessGroupDriver:
    """Stops registered process groups.

    Args:
        grace_s: How long a group may take after SIGTERM.
        kill_wait_s: How long to wait for what SIGKILL ends.
        uid_of: The user that an agent's runtime must run as, or None if that is not configured.
    """

    name = "process_group"

    def __init__(
        self,
        *,
        grace_s: float = 5.0,
        kill_wait_s: float = 2.0,
        uid_of: Callable[[str], int | None] = lambda _: None,
    ) -> None:
        self._grace_s = grace_s
        self._kill_wait_s = kill_wait_s
        self._uid_of = uid_of
        self._held: dict[str, list[_Held]] = {}

    def register(
        self, *, agent: str, process_group: int, leader: int, leader_start_time: int
    ) -> RuntimeRegistration:
        """Remember a runtime of *agent*; registering it again changes nothing.

        Raises:
            UntrustedInputError: There is no such group, or it must not be stopped.
        """
        if process_group <= 1 or leader <= 1 or process_group == os.getpgrp():
            raise _refused("this process group is not one that may be stopped")
        try:
            pidfd = os.pidfd_open(leader)
        except (OSError, OverflowError) as exc:
            raise _refused("there is no such process") from exc
        try:
            found = _look_at(leader)  # after the pidfd: what is seen now is what is held
            if found is None or found.start_time != leader_start_time:
                raise _refused("the leader is another process than the one that was named")
            if found.group != process_group:
                raise _refused("the leader is in another process group")
            wanted = self._uid_of(agent)
            if wanted is not None and found.uid != wanted:
                raise _refused("the leader runs as another user than the agent's")
            registration = RuntimeRegistration(
                agent=agent,
                process_group=process_group,
                leader=leader,
                start_time=leader_start_time,
                uid=found.uid,
            )
            known = self._held.setdefault(agent, [])
            if any(held.registration == registration for held in known):
                os.close(pidfd)
                return registration
            self._drop_exited(known)
            if len(known) >= _MAX_PER_AGENT:
                raise _refused(f"an agent has at most {_MAX_PER_AGENT} runtimes")
        except UntrustedInputError:
            os.close(pidfd)
            raise
        known.append(_Held(registration, pidfd))
        return registration

    def close(self) -> None:
        """Forget every runtime."""
        for known in self._held.values():
            for held in known:
                os.close(held.pidfd)
        self._held.clear()

    def pending(self, agents: Collection[str]) -> Sequence[IsolationItem]:
        """Return one RUNNING item for each runtime that ``isolate`` would act on."""
        return [
            self._item(held.registration, IsolationResult.RUNNING, "is being stopped")
            for held in self._of(agents)
        ]

    async def isolate(self, agents: Collection[str]) -> Sequence[IsolationItem]:
        """Stop every runtime of *agents* and return one item for each."""
        return await asyncio.gather(*(self._stop(held) for held in self._of(agents)))

    # -- private --------------------------------------------------------------------------------

    async def gone(self, agent: str) -> None:
        """Wait until no registered runtime of *agent* lives; at once if none was registered."""
        while living := [held for held in self._held.get(agent, ()) if not _has_exited(held.pidfd)]:
            with ExitStack() as opened:
                pidfd = os.dup(living[0].pidfd)  # the loop watches a descriptor only once
                opened.callback(os.close, pidfd)
                await _exit_of(pidfd)

    def _of(self, agents: Collection[str]) -> list[_Held]:
        return [held for agent in sorted(set(agents)) for held in self._held.get(agent, ())]

    async def _stop(self, held: _Held) -> IsolationItem:
        registration = held.registration
        found = _look_at(registration.leader)
        if found is not None and found.start_time != registration.start_time:  # law 1
            return self._item(
                registration,
                IsolationResult.SKIPPED_IDENTITY_CHANGED,
                f"process {registration.leader} is not the registered one any more",
            )
        try:
            with ExitStack() as seen:
                return await self._stop_group(held, seen)
        except OSError as exc:
            return self._item(
                registration, IsolationResult.FAILED, f"cannot be signalled: {exc.strerror}"
            )

    async def _stop_group(self, held: _Held, seen: ExitStack) -> IsolationItem:
        registration = held.registration
        witnesses = _hold(await _members(registration.process_group), seen)
        if not witnesses and _has_exited(held.pidfd):
            return self._item(
                registration, IsolationResult.ALREADY_GONE, "had ended before the kill"
            )
        if await self._end(held, witnesses, signal.SIGTERM, self._grace_s):
            return self._item(
                registration, IsolationResult.TERMINATED, "ended when asked to by SIGTERM"
            )
        if await self._end(held, witnesses, signal.SIGKILL, self._kill_wait_s):
            return self._item(
                registration,
                IsolationResult.KILLED,
                f"did not end within {self._grace_s:g} s and was killed",
            )
        return self._item(registration, IsolationResult.FAILED, "is still there after SIGKILL")

    async def _end(
        self, held: _Held, witnesses: Sequence[int], number: signal.Signals, timeout_s: float
    ) -> bool:
        """Signal the group and wait until nothing of it is left; return whether that came true."""
        group = held.registration.process_group
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._signal(held, witnesses, number)
                    members = await _members(group)
                    if not members and _has_exited(held.pidfd):
                        return True
                    # What was born meanwhile is found, and signalled, in the next round.
                    await _exits(members, held.pidfd)
        except TimeoutError:
            return not await _members(group) and _has_exited(held.pidfd)

    def _signal(self, held: _Held, witnesses: Sequence[int], number: signal.Signals) -> None:
        """Signal the leader and its group (laws 1 and 2)."""
        with contextlib.suppress(ProcessLookupError):  # the group is empty
            try:
                signal.pidfd_send_signal(held.pidfd, number, None, _PIDFD_SIGNAL_PROCESS_GROUP)
            except OSError as exc:
                if exc.errno != errno.EINVAL:
                    raise
                if not all(map(_has_exited, (held.pidfd, *witnesses))):
                    os.killpg(held.registration.process_group, number)
        with contextlib.suppress(ProcessLookupError):  # the leader has ended
            # It may have moved to another group.
            signal.pidfd_send_signal(held.pidfd, number)

    def _drop_exited(self, known: list[_Held]) -> None:
        for held in list(known):
            if _has_exited(held.pidfd) and _look_at(held.registration.leader) is None:
                os.close(held.pidfd)
                known.remove(held)

    def _item(
        self, registration: RuntimeRegistration, result: IsolationResult, detail: str
    ) -> IsolationItem:
        return IsolationItem(
            driver=self.name, subject=registration.describe(), result=result, detail=detail
        )


def _look_at(pid: int) -> _Process | None:
    """Return what /proc says about *pid*; None if there is no such process."""
    try:
        directory = os.open(_PROC / str(pid), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        descriptor = os.open("stat", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        descriptor = os.open("status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as file:
            users = next(line for line in file if line.startswith(b"Uid:")).split()
        return _Process(
            pid=pid,
            group=int(fields[_GROUP]),
            start_time=int(fields[_START_TIME]),
            uid=int(users[1]),
            # A process whose first thread has ended looks dead, and is not.
            is_dead=fields[_STATE] in _DEAD and int(fields[_THREADS]) <= 1,
        )
    except (OSError, ValueError, IndexError, StopIteration):  # it ended while we looked
        return None
    finally:
        os.close(directory)


async def _members(group: int) -> list[_Process]:
    """Return the living processes of *group*."""
    return await asyncio.get_running_loop().run_in_executor(None, _scan, group)


def _scan(group: int) -> list[_Process]:
    found = (_look_at(int(entry.name)) for entry in _PROC.iterdir() if entry.name.isdigit())
    return [
        process
        for process in found
        if process is not None and process.group == group and not process.is_dead
    ]


async def _exits(members: Sequence[_Process], leader: int) -> None:
    """Wait until every one of *members*, and the *leader* behind its pidfd, has ended."""
    with ExitStack() as opened:
        pidfds = _hold(members, opened)
        if not _has_exited(leader):
            pidfds.append(os.dup(leader))  # the loop watches a descriptor only once
            opened.callback(os.close, pidfds[-1])
        await asyncio.gather(*map(_exit_of, pidfds))


def _hold(processes: Sequence[_Process], opened: ExitStack) -> list[int]:
    """Return pidfds of *processes*, closed with *opened*; those that have ended are left out."""
    pidfds = []
    for process in processes:
        try:
            pidfds.append(os.pidfd_open(process.pid))
        except OSError:
            continue  # it ended meanwhile
        opened.callback(os.close, pidfds[-1])
    return pidfds


async def _exit_of(pidfd: int) -> None:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(pidfd, _resolve, ended)
    try:
        await ended
    finally:
        loop.remove_reader(pidfd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _has_exited(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _refused(message: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT)
