# SPDX-License-Identifier: Apache-2.0
"""The guard against a real gRPC server that answers, hangs, lies, dies and comes back."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.sdk import Effect, GateUnavailable, Guard, Result
from sidecar.sdk import _wire as wire
from sidecar.sdk._link import CHANNEL_OPTIONS
from sidecar.sdk._questions import Questions
from sidecar.sdk._streams import Backoff

Answer = guard_pb2.AuthorizeStreamResponse.Item
SHORT = timedelta(milliseconds=60)
LONG = timedelta(seconds=5)


async def test_allow_reaches_the_caller_with_all_its_fields(gate: Any) -> None:
    """An ALLOW carries the gate's id, epoch, digests, class and obligations."""

    def decide(question: Any) -> types_pb2.Decision:
        decision = gate.decision(cached=True)
        decision.obligations.addresses.extend(["192.0.2.7"])
        return decision

    gate.answers(decide)
    async with Guard(gate.address, session="s-1", deadline=LONG) as guard:
        decision = await guard.authorize(
            "http.get", {"a": [1, "é"]}, url="https://example.com", cwd="/srv", nonce="n"
        )

    assert decision.allowed
    assert decision.decision_id == "dec_" + "0" * 31 + "1"
    assert (decision.epoch, decision.tool_class, decision.is_cached) == (1, "write", True)
    assert decision.obligations.addresses == ("192.0.2.7",)
    assert decision.reason.code == "POLICY_ALLOW"
    call = gate.questions[0].request.tool_call
    assert call.arguments == '{"a":[1,"é"]}'.encode()
    assert (call.tool, call.session_id, call.url) == ("http.get", "s-1", "https://example.com")
    assert (call.cwd, call.nonce) == ("/srv", "n")


async def test_deny_and_hold_are_values(gate: Any) -> None:
    """A denial and a hold come back as decisions, with the gate's reasons."""
    answers = {
        "a": gate.deny("POLICY_DENY", "rule seven"),
        "b": gate.decision(types_pb2.EFFECT_HOLD, "POLICY_HOLD", "ask first"),
    }
    answers["b"].obligations.hold_tier = "HIGH"
    answers["b"].obligations.hold_expiry.seconds = 60
    gate.answers(lambda question: answers[question.request.tool_call.tool])
    async with Guard(gate.address, deadline=LONG) as guard:
        denied, held = await asyncio.gather(guard.authorize("a", {}), guard.authorize("b", {}))

    assert (denied.effect, denied.reason.text, denied.allowed) == (Effect.DENY, "rule seven", False)
    assert (held.effect, held.obligations.hold_tier) == (Effect.HOLD, "HIGH")
    assert held.obligations.hold_expiry == timedelta(minutes=1)
    assert not held


async def test_what_waits_travels_in_one_message(gate: Any) -> None:
    """64 callers in a closed loop fill the messages: far fewer messages than calls."""
    async with Guard(gate.address, deadline=LONG) as guard:

        async def caller() -> None:
            for _ in range(10):
                assert (await guard.authorize("t", {})).allowed

        await asyncio.gather(*(caller() for _ in range(64)))

    assert sum(gate.batches) == 640
    assert max(gate.batches) > 1
    assert sum(gate.batches) / len(gate.batches) > 8
    assert gate.streams == 1


async def test_batching_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With one question to a message there are as many messages as calls."""
    monkeypatch.setattr("sidecar.sdk._questions.MAX_BATCH", 1)
    async with Guard(gate.address, deadline=LONG) as guard:
        await asyncio.gather(*(guard.authorize("t", {}) for _ in range(64)))

    assert gate.batches == [1] * 64


async def test_e17_without_a_gate_every_call_is_denied_in_time(socket_path: Path) -> None:
    """No sidecar: each call is denied locally when its deadline has passed."""
    async with Guard(f"unix:{socket_path}", deadline=SHORT) as guard:
        await guard.authorize("warm-up", {})
        begin = time.monotonic()
        decision = await guard.authorize("t", {})
        elapsed = time.monotonic() - begin

    assert decision.effect is Effect.DENY
    assert decision.is_local
    assert decision.reason.code == "GATE_UNAVAILABLE"
    assert decision.decision_id.startswith("local_")
    assert 0.05 < elapsed < 1


async def test_e17_no_environment_variable_allows(
    socket_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no switch that turns the absence of a gate into an ALLOW."""
    monkeypatch.setenv("HOLDFAST_ADDRESS", f"unix:{socket_path}")
    monkeypatch.setenv("HOLDFAST_DEADLINE_MS", "20")
    for name in ("DISABLED", "FAIL_OPEN", "INSECURE", "ALLOW", "ENABLED", "MODE", "ON_ERROR"):
        for value in ("1", "allow"):
            monkeypatch.setenv(f"HOLDFAST_{name}", value)
            monkeypatch.setenv(name, value)

    async with Guard.from_env() as guard:
        decision = await guard.authorize("t", {})

    assert not decision.allowed


async def test_deadline_holds_for_64_hanging_calls(gate: Any) -> None:
    """A gate that hangs denies all 64 callers at the deadline, not later and not one by one."""
    gate.hangs()
    async with Guard(gate.address, deadline=timedelta(milliseconds=150)) as guard:
        await guard.wait_ready(5)
        begin = time.monotonic()
        decisions = await asyncio.gather(*(guard.authorize("t", {}) for _ in range(64)))
        elapsed = time.monotonic() - begin

    assert {d.reason.code for d in decisions} == {"DEADLINE"}
    assert all(d.is_local for d in decisions)
    assert 0.14 < elapsed < 0.6


async def test_deadline_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the sweep a hanging gate would keep its callers for ever."""
    monkeypatch.setattr(Questions, "_sweep", lambda self: None)
    gate.hangs()
    async with Guard(gate.address, deadline=SHORT) as guard:
        await guard.wait_ready(5)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(guard.authorize("t", {}), 0.3)


async def test_slow_answer_within_the_deadline_is_used(gate: Any) -> None:
    """Slow is not late."""

    async def on_batch(gate: Any, message: Any, context: Any) -> None:
        await asyncio.sleep(0.05)
        await gate.answer_all(message, context)

    gate.on_batch = on_batch
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})

    assert decision.allowed


async def test_late_allow_is_denied_and_reported_as_cancelled(gate: Any) -> None:
    """An ALLOW after the deadline helps nobody, and the log says that it was not used."""
    release = asyncio.Event()

    async def on_batch(gate: Any, message: Any, context: Any) -> None:
        await release.wait()
        await gate.answer_all(message, context)

    gate.on_batch = on_batch
    async with Guard(gate.address, deadline=SHORT) as guard:
        await guard.wait_ready(5)
        decision = await guard.authorize("t", {})
        release.set()
        outcomes = await gate.outcomes_become(1)

    assert decision.reason.code == "DEADLINE"
    assert outcomes[0].result == guard_pb2.Outcome.RESULT_CANCELLED
    assert outcomes[0].decision_id == "dec_" + "0" * 31 + "1"


async def test_answer_that_waited_in_a_busy_loop_is_late(gate: Any) -> None:
    """If the loop was busy past the deadline, an answer that is read first is late all the same."""
    async with Guard(gate.address, deadline=timedelta(milliseconds=30)) as guard:
        await guard.wait_ready(5)
        link = guard._link
        assert link is not None
        future = link.ask(link.question_of("t", b"{}", "", None, None, None, ""))
        message = guard_pb2.AuthorizeStreamResponse(items=[Answer(id=1, decision=gate.decision())])
        time.sleep(0.05)
        link.questions.answered(message)
        decision = link.conclude(await future, True)

    assert decision.reason.code == "DEADLINE"


async def test_cancelled_caller_leaves_the_others_alone(gate: Any) -> None:
    """Cancelling one of many waiting calls cancels that one; its ALLOW is reported as not used."""
    release = asyncio.Event()

    async def on_batch(gate: Any, message: Any, context: Any) -> None:
        await release.wait()
        await gate.answer_all(message, context)

    gate.on_batch = on_batch
    async with Guard(gate.address, deadline=LONG) as guard:
        tasks = [asyncio.create_task(guard.authorize("t", {"n": n})) for n in range(8)]
        await gate.asked.wait()
        tasks[3].cancel()
        await asyncio.wait([tasks[3]])
        release.set()
        rest = await asyncio.gather(*(task for n, task in enumerate(tasks) if n != 3))
        outcomes = await gate.outcomes_become(1)

    assert tasks[3].cancelled()
    assert all(decision.allowed for decision in rest)
    assert [o.result for o in outcomes] == [guard_pb2.Outcome.RESULT_CANCELLED]
    assert outcomes[0].decision_id not in {decision.decision_id for decision in rest}


async def test_cancelled_in_the_turn_the_answer_came_is_reported(gate: Any) -> None:
    """An ALLOW that is already in the caller's hands when it is cancelled is reported too."""
    gate.hangs()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize("t", {}))
        await gate.asked.wait()
        link = guard._link
        assert link is not None
        link.questions.answered(
            guard_pb2.AuthorizeStreamResponse(items=[Answer(id=1, decision=gate.decision())])
        )
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        outcomes = await gate.outcomes_become(1)

    assert outcomes[0].result == guard_pb2.Outcome.RESULT_CANCELLED


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.OK,
    ],
)
async def test_stream_that_ends_denies_what_it_carried_and_recovers(
    gate: Any, code: grpc.StatusCode
) -> None:
    """Whatever status ends the stream, its calls are denied at once and the next ones are asked."""
    if code is grpc.StatusCode.OK:

        async def on_batch(gate: Any, message: Any, context: Any) -> bool:
            return True  # the handler ends without an answer

        gate.on_batch = on_batch
    else:
        gate.aborts(code)
    async with Guard(gate.address, deadline=LONG) as guard:
        lost = await guard.authorize("t", {})
        gate.on_batch = type(gate).answer_all
        found = await guard.authorize("t", {})

    assert lost.is_local
    assert lost.reason.code == "GATE_UNAVAILABLE"
    assert found.allowed
    assert gate.streams == 2


async def test_method_the_gate_does_not_have_is_a_denial(socket_path: Path) -> None:
    """A server without the guard service answers UNIMPLEMENTED, and that denies."""
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{socket_path}")
    await server.start()
    async with Guard(f"unix:{socket_path}", deadline=timedelta(milliseconds=200)) as guard:
        decision = await guard.authorize("t", {})
        with pytest.raises(GateUnavailable):
            await guard.wait_ready(0.05)
    await server.stop(None)

    assert decision.reason.code == "GATE_UNAVAILABLE"


async def test_bytes_that_are_no_message_deny(socket_path: Path) -> None:
    """A peer that answers garbage bytes is no gate."""

    async def garbage(_: Any, context: Any) -> None:
        await context.read()
        await context.write(b"\xff\xff\xff\xff not protobuf")
        await asyncio.Event().wait()

    handler = grpc.method_handlers_generic_handler(
        "sidecar.api.v1.GuardService",
        {"AuthorizeStream": grpc.stream_stream_rpc_method_handler(garbage)},
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"unix:{socket_path}")
    await server.start()
    async with Guard(f"unix:{socket_path}", deadline=LONG) as guard:
        decision = await guard.authorize("t", {})
    await server.stop(None)

    assert decision.reason.code == "GATE_UNAVAILABLE"
    assert decision.reason.metadata["status"] == "DATA_LOSS"


@pytest.fixture
def first_failure(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Set when the guard has failed to connect for the first time."""
    failed = asyncio.Event()
    real = Backoff.next_pause_s

    def noted(self: Backoff) -> float:
        failed.set()
        return real(self)

    monkeypatch.setattr(Backoff, "next_pause_s", noted)
    return failed


async def test_call_that_waits_for_a_restarted_gate_is_decided(
    stopped_gate: Any, first_failure: asyncio.Event
) -> None:
    """A gate that comes back before the deadline decides the calls that waited for it."""
    gate = stopped_gate
    async with Guard(gate.address, deadline=LONG) as guard:
        waiting = asyncio.create_task(guard.authorize("t", {}))
        await first_failure.wait()
        await gate.start()
        decision = await waiting
        await gate.stop()

    assert decision.allowed


async def test_reconnects_after_a_restart_without_reusing_ids(gate: Any) -> None:
    """After a restart the guard asks on a new stream, with ids it never used before."""
    async with Guard(gate.address, deadline=LONG) as guard:
        first = await guard.authorize("t", {})
        await gate.stop()
        await gate.start()
        # The first call may still have left on the dying stream, which denies it.
        second = [await guard.authorize("t", {}) for _ in range(2)]

    assert first.allowed
    assert second[-1].allowed
    assert gate.streams == 2
    assert len({question.id for question in gate.questions}) == len(gate.questions)


async def test_call_that_left_is_not_asked_again(gate: Any) -> None:
    """A gate that dies after it was asked may have decided: the call is denied, not repeated."""
    gate.hangs()
    async with Guard(gate.address, deadline=LONG) as guard:
        task = asyncio.create_task(guard.authorize("t", {"only": "once"}))
        await gate.asked.wait()
        await gate.stop()
        decision = await task
        gate.on_batch = type(gate).answer_all
        await gate.start()
        again = await guard.authorize("t", {"another": "call"})

    assert decision.reason.metadata["cause"] == "STREAM_LOST"
    assert again.allowed
    asked = [question.request.tool_call.arguments for question in gate.questions]
    assert asked == [b'{"only":"once"}', b'{"another":"call"}']


async def test_expired_question_never_leaves(stopped_gate: Any) -> None:
    """What expired while the gate was away is not asked when it comes back."""
    gate = stopped_gate
    async with Guard(gate.address, deadline=SHORT) as guard:
        await asyncio.gather(*(guard.authorize("old", {}) for _ in range(5)))
        await gate.start()
        await guard.wait_ready(5)
        guard._link.questions._deadline_s = 5.0  # type: ignore[union-attr]
        decision = await guard.authorize("new", {})

    assert decision.allowed
    assert {question.request.tool_call.tool for question in gate.questions} == {"new"}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: setattr(d, "effect", 0),
        lambda d: setattr(d, "effect", 99),
        lambda d: setattr(d, "decision_id", ""),
        lambda d: setattr(d, "decision_id", "local_" + "0" * 32),
        lambda d: setattr(d, "decision_id", "a\nb"),
        lambda d: d.ClearField("reasons"),
        lambda d: d.ClearField("valid_until"),
        lambda d: d.valid_until.FromSeconds(1),
        lambda d: setattr(d.valid_until, "seconds", -(2**60)),
    ],
)
async def test_dubious_allow_is_a_local_denial(gate: Any, spoil: Any) -> None:
    """An ALLOW that is not beyond doubt does not allow."""

    def decide(question: Any) -> types_pb2.Decision:
        decision = gate.decision()
        spoil(decision)
        return decision

    gate.answers(decide)
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})

    assert not decision.allowed
    assert decision.is_local
    assert decision.effect is Effect.DENY


async def test_dubious_allow_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Believing the effect alone, a lapsed ALLOW would have allowed."""
    real = wire.decision_of
    monkeypatch.setattr(
        "sidecar.sdk._link.decision_of", lambda message, now_ns: real(message, now_ns=0)
    )

    def decide(question: Any) -> types_pb2.Decision:
        decision = gate.decision()
        decision.valid_until.FromNanoseconds(time.time_ns() - 1)
        return decision

    gate.answers(decide)
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})

    assert decision.effect is Effect.ALLOW


async def test_lapsed_allow_is_reported_as_not_used(gate: Any) -> None:
    """The log learns that an ALLOW which came too late to be valid was not used."""

    def decide(question: Any) -> types_pb2.Decision:
        decision = gate.decision()
        decision.valid_until.FromNanoseconds(time.time_ns() - 1)
        return decision

    gate.answers(decide)
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})
        outcomes = await gate.outcomes_become(1)

    assert decision.reason.code == "DEADLINE"
    assert outcomes[0].result == guard_pb2.Outcome.RESULT_CANCELLED


async def test_p3_an_allow_lives_thirty_seconds_at_most(gate: Any) -> None:
    """A gate with a wrong clock can't make an ALLOW that lasts for ever."""

    def decide(question: Any) -> types_pb2.Decision:
        decision = gate.decision()
        decision.valid_until.FromSeconds(9_000_000_000)
        return decision

    gate.answers(decide)
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})

    assert decision.valid_until_ns <= time.time_ns() + wire.MAX_ALLOW_LIFE_NS


async def test_answers_with_foreign_ids_settle_nothing(gate: Any) -> None:
    """An ALLOW under an id that was not asked is no answer to the call that waits."""

    async def on_batch(gate: Any, message: Any, context: Any) -> None:
        ids = [0, 2**64 - 1, 10_000, *(item.id + 1 for item in message.items)]
        await context.write(
            guard_pb2.AuthorizeStreamResponse(
                items=[Answer(id=id_, decision=gate.decision()) for id_ in ids]
            )
        )

    gate.on_batch = on_batch
    async with Guard(gate.address, deadline=SHORT) as guard:
        await guard.wait_ready(5)
        decision = await guard.authorize("t", {})
        stray = guard._link.questions.stray_answers  # type: ignore[union-attr]

    assert decision.reason.code == "DEADLINE"
    assert stray == 4
    assert gate.outcomes == []


async def test_foreign_id_negative_control(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taking answers in order instead of by id, somebody else's ALLOW would have allowed."""
    real = Questions.answered

    def in_order(self: Questions, message: guard_pb2.AuthorizeStreamResponse) -> None:
        for item, id_ in zip(message.items, list(self._pending), strict=False):
            item.id = id_
        real(self, message)

    monkeypatch.setattr(Questions, "answered", in_order)

    async def on_batch(gate: Any, message: Any, context: Any) -> None:
        await context.write(
            guard_pb2.AuthorizeStreamResponse(items=[Answer(id=777, decision=gate.decision())])
        )

    gate.on_batch = on_batch
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})

    assert decision.allowed


async def test_second_answer_changes_nothing(gate: Any) -> None:
    """A doubled answer, even a contrary one, neither reaches a call nor reports an outcome."""

    async def on_batch(gate: Any, message: Any, context: Any) -> None:
        items = []
        for item in message.items:
            items.append(Answer(id=item.id, decision=gate.deny("POLICY_DENY")))
            items.append(Answer(id=item.id, decision=gate.decision()))
        await context.write(guard_pb2.AuthorizeStreamResponse(items=items))

    gate.on_batch = on_batch
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})
        again = await guard.authorize("t", {})
        stray = guard._link.questions.stray_answers  # type: ignore[union-attr]

    assert (decision.effect, again.effect) == (Effect.DENY, Effect.DENY)
    assert stray == 2
    assert gate.outcomes == []


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"arguments": {"x": float("nan")}}, "MALFORMED"),
        ({"arguments": {"x": object()}}, "MALFORMED"),
        ({"arguments": {"x": "\ud800"}}, "MALFORMED"),
        ({"arguments": {"x": "a" * 70_000}}, "TOO_LARGE"),
        ({"arguments": b"[" * 70_000}, "TOO_LARGE"),
        ({"tool": "\udfff"}, "MALFORMED"),
        ({"tool": "t" * 9_000}, "TOO_LARGE"),
        ({"url": "https://\ud800"}, "MALFORMED"),
        ({"session": "s" * 9_000}, "TOO_LARGE"),
    ],
)
async def test_call_that_cannot_be_carried_is_denied_alone(
    gate: Any, fields: dict[str, Any], code: str
) -> None:
    """One bad call in a batch is denied; the others travel and are decided."""
    call: dict[str, Any] = {"tool": "t", "arguments": {}} | fields
    async with Guard(gate.address, deadline=LONG) as guard:
        bad, *good = await asyncio.gather(
            guard.authorize(**call), *(guard.authorize("t", {"n": n}) for n in range(4))
        )

    assert bad.is_local
    assert bad.reason.code == code
    assert all(decision.allowed for decision in good)
    assert len(gate.questions) == 4


async def test_too_many_waiting_calls_are_denied_at_once(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: beyond the limit a call is denied without waiting."""
    monkeypatch.setattr("sidecar.sdk._questions.MAX_WAITING", 4)
    gate.hangs()
    async with Guard(gate.address, deadline=LONG) as guard:
        tasks = [asyncio.create_task(guard.authorize("t", {})) for _ in range(4)]
        await gate.asked.wait()
        decision = await guard.authorize("t", {})
        for task in tasks:
            task.cancel()

    assert decision.reason.code == "OVERLOAD"


async def test_large_calls_are_spread_over_messages(gate: Any) -> None:
    """64 calls of 60 KiB never make one message that the gate must refuse."""
    async with Guard(gate.address, deadline=LONG) as guard:
        decisions = await asyncio.gather(
            *(guard.authorize("t", {"x": "a" * 60_000}) for _ in range(64))
        )

    assert all(decision.allowed for decision in decisions)
    assert max(gate.batches) <= 4


async def test_closed_guard_denies(gate: Any) -> None:
    """Calls that wait when the guard is closed, and all later ones, are denied."""
    gate.hangs()
    guard = Guard(gate.address, deadline=LONG)
    waiting = asyncio.create_task(guard.authorize("t", {}))
    await gate.asked.wait()
    await guard.aclose()
    late = await guard.authorize("t", {})

    assert (await waiting).reason.code == "SHUTTING_DOWN"
    assert late.reason.code == "SHUTTING_DOWN"
    with pytest.raises(GateUnavailable):
        await guard.wait_ready(1)
    await guard.aclose()


async def test_failed_background_task_denies_everything(gate: Any) -> None:
    """If a task of the guard dies, nobody waits for answers that can't come."""
    async with Guard(gate.address, deadline=LONG) as guard:
        await guard.wait_ready(5)
        link = guard._link
        assert link is not None
        link._tasks[0].cancel()
        await asyncio.wait([link._tasks[0]])
        decision = await guard.authorize("t", {})

    assert not decision.allowed


async def test_wait_ready_is_bounded(socket_path: Path) -> None:
    """Waiting for a gate that is not there ends with an error that can be shown."""
    async with Guard(f"unix:{socket_path}") as guard:
        with pytest.raises(GateUnavailable, match="Nobody could decide"):
            await guard.wait_ready(timedelta(milliseconds=50))


async def test_wait_ready_returns_when_the_gate_comes(
    stopped_gate: Any, first_failure: asyncio.Event
) -> None:
    """A gate that starts late is awaited."""
    gate = stopped_gate
    async with Guard(gate.address) as guard:
        ready = asyncio.create_task(guard.wait_ready(5))
        await first_failure.wait()
        await gate.start()
        await ready
        await gate.stop()

    assert guard.containment.level == ""


async def test_token_is_sent_with_each_question(gate: Any) -> None:
    """The provider is asked for every call."""
    tokens = iter(["one", "two", ""])
    async with Guard(gate.address, deadline=LONG, token_provider=lambda: next(tokens)) as guard:
        for _ in range(3):
            await guard.authorize("t", {})

    assert [question.request.token for question in gate.questions] == ["one", "two", ""]


@pytest.mark.parametrize("token", [None, 7, b"bytes", "\ud800", "x" * 20_000])
async def test_unusable_token_denies_without_showing_it(gate: Any, token: Any) -> None:
    """A provider that fails or returns nonsense denies; the token is in no text."""

    def provider() -> str:
        if token is None:
            raise RuntimeError("secret-canary")
        return token  # type: ignore[no-any-return]

    async with Guard(gate.address, deadline=LONG, token_provider=provider) as guard:
        decision = await guard.authorize("t", {})

    assert decision.reason.code == "TOKEN_MISSING"
    assert "secret-canary" not in repr(decision) + decision.for_model() + repr(guard)
    assert gate.questions == []


async def test_log_returns_the_gates_confirmation(gate: Any) -> None:
    """The plain form reports by hand and learns where the entry stands."""
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})
        confirmation = await guard.log(
            decision.decision_id,
            Result.ERROR,
            detail="disk full\ud800",
            duration=timedelta(milliseconds=3),
            response_digest="ef" * 32,
        )

    outcome = gate.outcomes[0]
    assert confirmation.log_index == 1
    assert confirmation
    assert outcome.decision_id == decision.decision_id
    assert outcome.result == guard_pb2.Outcome.RESULT_ERROR
    assert (outcome.detail, outcome.duration.nanos) == ("disk full?", 3_000_000)


async def test_refused_report_is_a_value(gate: Any) -> None:
    """A gate that does not take a report says so, and that is false."""
    gate.refuse_outcomes = True
    async with Guard(gate.address, deadline=LONG) as guard:
        confirmation = await guard.log("dec_1", Result.SUCCESS)

    assert not confirmation
    assert confirmation.refusal is not None
    assert confirmation.refusal.code == "RATE_LIMITED"


async def test_unconfirmed_report_raises_and_stays_queued(stopped_gate: Any) -> None:
    """Without a gate the report fails loudly, and leaves when the gate is there."""
    gate = stopped_gate
    async with Guard(gate.address) as guard:
        with pytest.raises(GateUnavailable):
            await guard.log("dec_7", Result.SUCCESS, timeout=0.05)
        await gate.start()
        outcomes = await gate.outcomes_become(1)
        await gate.stop()

    assert outcomes[0].decision_id == "dec_7"


async def test_g13_outcomes_survive_a_lost_stream(gate: Any) -> None:
    """A report whose stream broke is sent again; the gate marks doubles."""
    gate.lose_outcome_streams = 2
    async with Guard(gate.address, deadline=LONG) as guard:
        confirmation = await guard.log("dec_7", Result.SUCCESS, timeout=5)

    assert confirmation.log_index == 1
    assert [outcome.decision_id for outcome in gate.outcomes] == ["dec_7"]


def test_a_guard_serves_one_loop_after_another(threaded_gate: Any) -> None:
    """``asyncio.run`` twice with one guard works; its first loop is gone by then."""
    guard = Guard(threaded_gate.gate.address, deadline=LONG)

    async def once() -> bool:
        return (await guard.authorize("t", {})).allowed

    first = asyncio.run(once())
    second = asyncio.run(once())
    asyncio.run(guard.aclose())

    assert (first, second) == (True, True)


async def test_a_guard_refuses_a_second_running_loop(gate: Any) -> None:
    """Two loops at once are misuse, said so, and not a hang."""
    async with Guard(gate.address, deadline=LONG) as guard:
        await guard.authorize("t", {})

        async def elsewhere() -> None:
            await guard.authorize("t", {})

        with pytest.raises(RuntimeError, match="one event loop"):
            await asyncio.to_thread(asyncio.run, elsewhere())


async def test_link_options_are_the_channels_alone() -> None:
    """Connecting changes no environment variable of the agent's process."""
    before = dict(os.environ)
    async with Guard("unix:/nonexistent/guard.sock", deadline=SHORT) as guard:
        await guard.authorize("t", {})

    assert dict(os.environ) == before
    assert ("grpc.enable_retries", 0) in CHANNEL_OPTIONS


async def test_crash_of_a_background_task_denies_everything(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error nobody foresaw ends in denials, not in callers that wait."""

    def broken(message: Any) -> Any:
        raise ArithmeticError

    gate.hangs()
    monkeypatch.setattr("sidecar.sdk._link.containment_of", broken)
    async with Guard(gate.address, deadline=LONG) as guard:
        decision = await guard.authorize("t", {})

    assert decision.reason.code == "SHUTTING_DOWN"


async def test_guard_that_cannot_make_a_channel_denies(
    gate: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process without descriptors or threads gets denials, not exceptions."""

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise OSError(24, "too many open files")

    with monkeypatch.context() as broken:
        broken.setattr("grpc.aio.insecure_channel", fails)
        guard = Guard(gate.address, deadline=LONG)
        denied = await guard.authorize("t", {})
        with pytest.raises(GateUnavailable):
            await guard.wait_ready(1)
    allowed = await guard.authorize("t", {})
    await guard.aclose()

    assert denied.reason.metadata["cause"] == "NOT_CONNECTED"
    assert allowed.allowed


async def test_report_without_room_is_refused(gate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no more outcomes can be kept, the plain form says so and the others go on."""
    monkeypatch.setattr("sidecar.sdk._outcomes.MAX_KEPT", 0)
    async with Guard(gate.address, deadline=LONG) as guard:
        with pytest.raises(GateUnavailable):
            await guard.log("dec_1", Result.SUCCESS)
        async with guard.call("t"):
            pass

    assert gate.outcomes == []


async def test_closed_guard_reports_nothing(gate: Any) -> None:
    """An action that outlives its guard ends without a report, and without an error."""
    guard = Guard(gate.address, deadline=LONG)
    async with guard.call("t"):
        await guard.aclose()
    with pytest.raises(GateUnavailable):
        await guard.log("dec_1", Result.SUCCESS)

    assert guard.sync.authorize("t", {}).reason.code == "SHUTTING_DOWN"
    assert gate.outcomes == []


async def test_a_guard_is_closed_where_it_was_used(gate: Any) -> None:
    """Closing from another loop is misuse, said so."""
    guard = Guard(gate.address, deadline=LONG)
    await guard.authorize("t", {})
    with pytest.raises(RuntimeError, match="closed in the event loop"):
        await asyncio.to_thread(asyncio.run, guard.aclose())


def test_known_reasons_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reasons that never repeat do not fill the memory."""
    monkeypatch.setattr(wire, "_MAX_KNOWN_REASONS", 3)
    for number in range(10):
        wire._reason(types_pb2.Reason(code="X", text=str(number)))
    wire._reason(types_pb2.Reason(code="X", text="long" * 500))

    assert len(wire._known_reasons) <= 3
