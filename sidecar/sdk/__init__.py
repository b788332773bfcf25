# SPDX-License-Identifier: Apache-2.0
"""Asks the agent's gate before every tool call.

::

    from sidecar.sdk import Guard

    guard = Guard.from_env()                      # what `holdfast run` put into the environment

    @guard.tool("shell.exec")                     # runs only if the gate allows exactly this call
    async def run(cmd: str) -> str: ...

    async with guard.call("http.get", {"url": url}) as permit:
        await fetch(url, addresses=permit.addresses)

    decision = await guard.authorize("send_money", {"recipient": "bob", "amount": 12})
    if decision.allowed:
        ...
        await guard.log(decision.decision_id, Result.SUCCESS)

**A call that a human must decide** is held, and says so at once. Whoever would rather wait::

    @guard.tool("payments.refund", hold_timeout=600)     # seconds; the same for call and authorize
    async def refund(customer: str) -> str: ...

    except Held as held:                                 # or by hand, without hold_timeout
        await tell(f"{held.reason}: {', '.join(held.approvers)} must decide, {held.url}")
        decision = await held.wait(timeout=600)          # or: await held.cancel()

A wait holds up no other call of the guard and survives restarts of the gate and of control. When the
human has granted, the gate is asked about the identical call again, and its answer counts: the grant
alone is no permission. A refusal is a ``Denied`` that says who refused; when the time has passed the
call is still held, and the request stays open: the identical call, made later, finds the grant. A
task that is cancelled while it waits withdraws its request, and a kill ends the wait at once.
Arguments that contain a time or a random id make every call another one: grants are for exactly one.

Threads and plain scripts use the same forms of ``SyncGuard``. A denial is a value
(``decision.allowed``, ``decision.reasons``) or, in the first two forms, an error: ``Denied``,
``Held`` (a human must decide), ``Suspended`` (the agent is contained), ``GateUnavailable``.
``for_model()`` of each is a text that may be shown to the language model. ``guard.killed`` tells of
a kill at once, and ``guard.cancel_on_kill()`` cancels its body then; the decorator and ``call`` do
so by themselves.

**Whatever is uncertain is denied**: no gate, no answer within the deadline (250 ms), an answer that
is not understood, a process that was forked after it had connected. There is no switch to allow
instead.

**What this does not protect against.** It runs inside the agent's process, so it is *advisory*: it
stops a runtime that cooperates. Code that runs in this process (a tool with a shell, a plug-in, an
interpreter the model can reach) can skip it, patch it, or call the tool's function directly, and
nothing here can notice. It also sees only what goes through it: tools that a model provider runs on
its own side, sub-processes and native harnesses pass it by; a blocking function can't be cancelled;
what an allowed call did before a kill is not undone; and an outcome is the process's own word. The
boundary is what the process can't reach without the gate: keep credentials and network egress
behind the gate or a proxy that asks it, run the agent under its own user, and use this package to
make the runtime behave well in front of that boundary.

Needs grpcio and protobuf, and imports them at first use only. A process that forks (``os.fork``,
``multiprocessing`` with its fork method, pre-fork servers) must connect in the children, not before:
a guard that was made before the fork and used only after it works in each child by itself. If it
must fork after it connected, start it with ``GRPC_ENABLE_FORK_SUPPORT=0``: gRPC's own fork handlers
can crash the child otherwise.
"""

from sidecar.sdk._forms import Call, KilledEvent, KillScope
from sidecar.sdk._permit import Permit
from sidecar.sdk.errors import Denied, GateUnavailable, GuardError, Held, Suspended
from sidecar.sdk.guard import Guard
from sidecar.sdk.sync import SyncGuard
from sidecar.sdk.values import (
    ApprovalState,
    ApprovalStatus,
    Containment,
    Decision,
    Effect,
    Executable,
    LogConfirmation,
    Obligations,
    Reason,
    Result,
)

__all__ = [
    "ApprovalState",
    "ApprovalStatus",
    "Call",
    "Containment",
    "Decision",
    "Denied",
    "Effect",
    "Executable",
    "GateUnavailable",
    "Guard",
    "GuardError",
    "Held",
    "KillScope",
    "KilledEvent",
    "LogConfirmation",
    "Obligations",
    "Permit",
    "Reason",
    "Result",
    "Suspended",
    "SyncGuard",
]
