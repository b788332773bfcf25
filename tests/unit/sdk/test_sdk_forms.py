# SPDX-License-Identifier: Apache-2.0
"""The decorator, the context manager and the plain form, for coroutines and blocking functions."""

from __future__ import annotations

import asyncio
import functools
import inspect
from pathlib import Path
from typing import Any

import pytest

from sidecar.sdk import Denied, GuardError, Held, Permit, Result, Suspended
from sidecar.sdk._permit import BoundCall
from sidecar.sdk.testing import FakeGuard, FakeSyncGuard


@pytest.fixture
def guard() -> FakeGuard:
    guard = FakeGuard()
    guard.allow("t")
    return guard


def results(guard: FakeGuard | FakeSyncGuard) -> list[tuple[Result, str]]:
    return [(outcome.result, outcome.detail) for outcome in guard.outcomes]


# -- the decorator ------------------------------------------------------------------------------


async def test_decorated_coroutine_runs_only_when_allowed(guard: FakeGuard) -> None:
    """The arguments that are decided are the function's, by name, with defaults."""
    ran: list[Any] = []

    @guard.tool("t")
    async def tool(a: int, b: str = "x", *rest: int, flag: bool = False, **more: Any) -> str:
        ran.append((a, b, rest, flag, more))
        return "done"

    answer = await tool(1, "y", 2, 3, colour="red")
    guard.deny("t")
    with pytest.raises(Denied):
        await tool(4)

    assert answer == "done"
    assert ran == [(1, "y", (2, 3), False, {"colour": "red"})]
    assert guard.calls[0].arguments == {
        "a": 1,
        "b": "y",
        "rest": [2, 3],
        "flag": False,
        "colour": "red",
    }
    assert guard.calls[1].arguments == {"a": 4, "b": "x", "rest": [], "flag": False}
    assert results(guard) == [(Result.SUCCESS, "")]
    assert inspect.iscoroutinefunction(tool)
    assert tool.__name__ == "tool"


def test_decorated_blocking_function_runs_only_when_allowed(guard: FakeGuard) -> None:
    """A blocking function stays one, guarded by the twin."""
    ran: list[int] = []

    @guard.tool("t")
    def tool(a: int) -> int:
        ran.append(a)
        return a + 1

    answer = tool(1)
    guard.hold("t")
    with pytest.raises(Held):
        tool(2)

    assert (answer, ran) == (2, [1])
    assert results(guard) == [(Result.SUCCESS, "")]


@pytest.mark.parametrize("denial", ["unscripted", "deny", "hold", "kill"])
async def test_denied_function_does_not_run(denial: str) -> None:
    """Whatever the denial is, the function's body is not entered and no outcome is reported."""
    guard = FakeGuard()
    match denial:
        case "deny":
            guard.deny("t")
        case "hold":
            guard.hold("t")
        case "kill":
            guard.allow("t")
            guard.kill()

    @guard.tool("t")
    async def tool() -> None:
        pytest.fail("ran")

    @guard.tool("t")
    def blocking() -> None:
        pytest.fail("ran")

    with pytest.raises(GuardError):
        await tool()
    with pytest.raises(GuardError):
        blocking()
    assert guard.outcomes == []


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (ValueError("secret-canary"), Result.ERROR),
        (TimeoutError(), Result.AMBIGUOUS),
        (ConnectionResetError(), Result.AMBIGUOUS),
        (asyncio.CancelledError(), Result.AMBIGUOUS),
        (KeyError("known to be ambiguous"), Result.AMBIGUOUS),
    ],
)
async def test_outcome_of_a_failing_function(
    guard: FakeGuard, error: BaseException, result: Result
) -> None:
    """The outcome tells whether the action may have had its effect; the error is passed on."""

    @guard.tool("t", ambiguous=(KeyError,))
    async def tool() -> None:
        raise error

    @guard.tool("t", ambiguous=(KeyError,))
    def blocking() -> None:
        raise error

    with pytest.raises(type(error)):
        await tool()
    with pytest.raises(type(error)):
        blocking()
    assert results(guard) == [(result, type(error).__name__)] * 2


async def test_interrupt_is_ambiguous() -> None:
    """Ctrl-C in the middle of an action says nothing about its effect."""
    guard = FakeSyncGuard()
    guard.allow("t")

    with pytest.raises(KeyboardInterrupt), guard.call("t"):
        raise KeyboardInterrupt

    assert results(guard) == [(Result.AMBIGUOUS, "KeyboardInterrupt")]


async def test_methods_leave_their_instance_out(guard: FakeGuard) -> None:
    """``self`` and ``cls`` are not arguments of the tool."""

    class Tools:
        @guard.tool("t")
        async def run(self, cmd: str) -> str:
            return cmd

        @classmethod
        @guard.tool("t")
        def run_too(cls, cmd: str) -> str:
            return cmd

    answers = [await Tools().run("ls"), Tools.run_too("pwd")]

    assert answers == ["ls", "pwd"]
    assert [call.arguments for call in guard.calls] == [{"cmd": "ls"}, {"cmd": "pwd"}]


async def test_a_function_whose_parameter_is_called_self_is_no_method(guard: FakeGuard) -> None:
    """Only a method's first parameter is left out: nothing else escapes the decision."""

    @guard.tool("t")
    async def tool(self: str) -> None: ...

    await tool("seen")

    assert guard.calls[0].arguments == {"self": "seen"}


async def test_permit_parameter_takes_the_permit(guard: FakeGuard) -> None:
    """A network tool gets the addresses that were decided on; the caller can't give them."""
    guard.allow("t", addresses=("192.0.2.1",))
    seen: list[Any] = []

    @guard.tool("t", permit_parameter="permit")
    async def tool(url: str, *, permit: Permit | None = None) -> None:
        assert permit is not None
        seen.append((permit.addresses, permit.obligations.max_redirects))
        permit.finish(Result.ERROR, detail="404", response_digest="ab" * 32)

    await tool("https://example.com")
    with pytest.raises(TypeError):
        await tool("https://example.com", permit="forged")

    assert seen == [(("192.0.2.1",), 0)]
    assert guard.calls[0].arguments == {"url": "https://example.com"}
    assert results(guard) == [(Result.ERROR, "404")]
    assert guard.outcomes[0].response_digest == "ab" * 32


async def test_session_of_each_call(guard: FakeGuard) -> None:
    """A runtime with many sessions says which one each call belongs to."""

    @guard.tool("t", session=lambda: "s-9")
    async def tool() -> None: ...

    @guard.tool("t", session=lambda: "s-8")
    def blocking() -> None: ...

    await tool()
    blocking()

    assert [call.session for call in guard.calls] == ["s-9", "s-8"]


@pytest.mark.parametrize("value", [object(), {1: 2}, float("nan"), Path("/x"), "\ud800"])
async def test_arguments_that_are_not_json_are_denied(guard: FakeGuard, value: Any) -> None:
    """A call that can't be shown to the gate is not made."""

    @guard.tool("t")
    async def tool(value: Any) -> None:
        pytest.fail("ran")

    with pytest.raises(Denied) as raised:
        await tool(value)

    assert raised.value.reasons[0].code == "MALFORMED"


async def test_a11_arguments_changed_while_deciding_are_denied(
    guard: FakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The decider and the doer see the same arguments, or nothing is done."""
    argv = ["ls"]
    real = FakeGuard.authorize

    async def swapping(self: FakeGuard, *args: Any, **kwargs: Any) -> Any:
        decision = await real(self, *args, **kwargs)
        argv[:] = ["rm", "-rf"]
        return decision

    monkeypatch.setattr(FakeGuard, "authorize", swapping)

    @guard.tool("t")
    async def tool(argv: list[str]) -> None:
        pytest.fail("ran")

    with pytest.raises(Denied) as raised:
        await tool(argv)

    assert raised.value.reasons[0].metadata["cause"] == "ARGUMENTS_CHANGED"
    assert results(guard) == [(Result.CANCELLED, "")]


async def test_arguments_that_stop_being_json_are_denied(
    guard: FakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look refuses also what can't be looked at any more."""
    argv: list[Any] = ["ls"]
    real = FakeGuard.authorize

    async def spoiling(self: FakeGuard, *args: Any, **kwargs: Any) -> Any:
        decision = await real(self, *args, **kwargs)
        argv.append(object())
        return decision

    monkeypatch.setattr(FakeGuard, "authorize", spoiling)

    @guard.tool("t")
    async def tool(argv: list[Any]) -> None:
        pytest.fail("ran")

    with pytest.raises(Denied):
        await tool(argv)

    assert results(guard) == [(Result.CANCELLED, "")]


async def test_a11_negative_control(guard: FakeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the second look, what runs is not what was decided."""
    monkeypatch.setattr(BoundCall, "check_unchanged", lambda self, permit: None)
    argv = ["ls"]
    real = FakeGuard.authorize
    ran: list[list[str]] = []

    async def swapping(self: FakeGuard, *args: Any, **kwargs: Any) -> Any:
        decision = await real(self, *args, **kwargs)
        argv[:] = ["rm", "-rf"]
        return decision

    monkeypatch.setattr(FakeGuard, "authorize", swapping)

    @guard.tool("t")
    async def tool(argv: list[str]) -> None:
        ran.append(list(argv))

    await tool(argv)

    assert guard.calls[0].arguments == {"argv": ["ls"]}
    assert ran == [["rm", "-rf"]]


async def test_misuse_of_the_decorator_is_refused(guard: FakeGuard) -> None:
    """What can't be guarded is refused when it is decorated, not when it is called."""

    def generator() -> Any:
        yield 1

    async def async_generator() -> Any:
        yield 1

    async def coroutine() -> None: ...

    def function() -> None: ...

    with pytest.raises(TypeError, match="generator"):
        guard.tool("t")(generator)
    with pytest.raises(TypeError, match="generator"):
        guard.tool("t")(async_generator)
    with pytest.raises(TypeError, match="asynchronous"):
        FakeSyncGuard().tool("t")(coroutine)
    with pytest.raises(ValueError, match="no parameter"):
        guard.tool("t", permit_parameter="permit")(function)


async def test_work_put_off_is_refused(guard: FakeGuard) -> None:
    """A blocking function that returns an awaitable or a generator has not done its work yet."""

    async def later() -> None:
        pytest.fail("ran")

    def lazily() -> Any:
        pytest.fail("ran")
        yield

    for make in (later, lazily):

        @guard.tool("t")
        def blocking() -> Any:
            return make()  # noqa: B023 - called within this turn

        with pytest.raises(TypeError, match="put its work off"):
            blocking()

    assert results(guard) == [(Result.CANCELLED, "")] * 2


async def test_objects_with_an_asynchronous_call(guard: FakeGuard) -> None:
    """An object whose ``__call__`` is a coroutine function is guarded as one."""

    class Tool:
        async def __call__(self, a: int) -> int:
            return a + 1

    guarded = guard.tool("t")(Tool())

    assert await guarded(1) == 2
    assert guard.calls[0].arguments == {"a": 1}


async def test_wrong_call_of_the_function_is_not_asked(guard: FakeGuard) -> None:
    """A call that the function would not take is a ``TypeError``, as without a guard."""

    @guard.tool("t")
    async def tool(a: int, /, **more: Any) -> None: ...

    with pytest.raises(TypeError):
        await tool()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="twice"):
        await tool(1, a=2)
    assert guard.calls == []


async def test_partials_and_wrapped_coroutines(guard: FakeGuard) -> None:
    """A partial of a coroutine function is one."""

    async def tool(a: int, b: int) -> int:
        return a + b

    guarded = guard.tool("t")(functools.partial(tool, 1))

    assert await guarded(b=2) == 3
    assert guard.calls[0].arguments == {"b": 2}


# -- the context manager ------------------------------------------------------------------------


async def test_call_raises_on_enter_and_reports_on_exit(guard: FakeGuard) -> None:
    """The body runs under a permit; its end is the outcome."""
    async with guard.call("t", {"a": 1}, url="https://example.com", nonce="n") as permit:
        assert permit.decision.allowed
        assert guard.outcomes == []
    with pytest.raises(Denied):
        async with guard.call("other"):
            pytest.fail("ran")

    assert (guard.calls[0].url, guard.calls[0].nonce) == ("https://example.com", "n")
    assert guard.calls[0].arguments == {"a": 1}
    assert guard.calls[1].arguments == {}
    assert results(guard) == [(Result.SUCCESS, "")]
    assert guard.outcomes[0].decision_id == permit.decision.decision_id


async def test_a_call_is_used_once(guard: FakeGuard) -> None:
    """A second use needs a second decision."""
    call = guard.call("t")
    async with call:
        pass
    with pytest.raises(RuntimeError):
        async with call:
            pytest.fail("ran")
    blocking = guard.sync.call("t")
    with blocking:
        pass
    with pytest.raises(RuntimeError), blocking:
        pytest.fail("ran")


async def test_p3_lapsed_permission_does_not_start(
    guard: FakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A permission that lapsed between decision and start is not used, and the log knows."""
    monkeypatch.setattr("sidecar.sdk._script._LIFE_NS", -1)

    with pytest.raises(Denied):
        async with guard.call("t"):
            pytest.fail("ran")
    with pytest.raises(Denied), guard.sync.call("t"):
        pytest.fail("ran")

    assert results(guard) == [(Result.CANCELLED, "lapsed")] * 2


async def test_p3_negative_control(guard: FakeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check at the start a lapsed permission would start."""
    monkeypatch.setattr("sidecar.sdk._script._LIFE_NS", -1)
    monkeypatch.setattr("sidecar.sdk.values.Decision.raise_for_effect", lambda self: None)

    async with guard.call("t") as permit:
        assert not permit.decision.allowed


# -- killed -------------------------------------------------------------------------------------


async def test_e16_kill_cancels_what_runs(guard: FakeGuard) -> None:
    """A body under way when the agent is killed ends with ``Suspended``, its effect unknown."""
    started = asyncio.Event()

    @guard.tool("t")
    async def tool() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(tool())
    await started.wait()
    guard.kill()
    with pytest.raises(Suspended) as raised:
        await task

    assert raised.value.reasons[0].code == "KILLED"
    assert results(guard) == [(Result.AMBIGUOUS, "CancelledError")]
    assert not task.cancelled()


async def test_e16_kill_negative_control(guard: FakeGuard) -> None:
    """Asked not to be cancelled, the body goes on after the kill."""
    started, release = asyncio.Event(), asyncio.Event()

    @guard.tool("t", cancel_on_kill=False)
    async def tool() -> str:
        started.set()
        await release.wait()
        return "went on"

    task = asyncio.create_task(tool())
    await started.wait()
    guard.kill()
    await asyncio.sleep(0)
    release.set()

    assert await task == "went on"


async def test_cancel_on_kill_helper(guard: FakeGuard) -> None:
    """The helper cancels its body once, and refuses to begin while the agent is held."""
    entered = asyncio.Event()

    async def work() -> None:
        async with guard.cancel_on_kill():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    guard.kill("FREEZE")
    with pytest.raises(Suspended) as raised:
        await task
    with pytest.raises(Suspended):
        async with guard.cancel_on_kill():
            pytest.fail("ran")
    guard.release()
    async with guard.cancel_on_kill():
        pass

    assert raised.value.reasons[0].code == "FROZEN"


async def test_cancel_from_outside_stays_a_cancellation(guard: FakeGuard) -> None:
    """Only the kill's own cancellation shows as ``Suspended``."""
    entered = asyncio.Event()

    async def work() -> None:
        async with guard.cancel_on_kill():
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await entered.wait()
    guard.kill()
    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()


async def test_kill_by_the_bodys_own_call_does_not_strike_outside(guard: FakeGuard) -> None:
    """A body that is past its last await when the kill comes ends normally; nothing strikes later."""
    async with guard.cancel_on_kill():
        guard.kill()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_kill_scope_needs_a_task_and_is_used_once(guard: FakeGuard) -> None:
    """Misuse is said so."""
    scope = guard.cancel_on_kill()
    async with scope:
        pass
    with pytest.raises(RuntimeError):
        async with scope:
            pytest.fail("ran")


async def test_killed_event_is_read_only(guard: FakeGuard) -> None:
    """The runtime can wait for the kill; it can neither set nor clear it."""
    waiting = asyncio.create_task(guard.killed.wait())
    await asyncio.sleep(0)
    guard.kill()

    assert await waiting
    assert guard.killed.is_set()
    assert guard.sync.killed.is_set()
    assert guard.containment.level == "KILL"
    assert not hasattr(guard.killed, "clear")
    guard.release()
    assert not guard.killed.is_set()
    assert not guard.sync.killed.is_set()
    assert not guard.sync.killed.wait(0)
