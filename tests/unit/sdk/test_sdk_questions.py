# SPDX-License-Identifier: Apache-2.0
"""The books of questions and outcomes, without a connection."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.sdk import _outcomes, _questions
from sidecar.sdk._outcomes import MAX_SENDS, Outcomes
from sidecar.sdk._questions import MAX_BATCH, Questions
from sidecar.sdk._streams import Backoff
from sidecar.sdk._wire import question_of
from sidecar.sdk.values import Decision

Answer = guard_pb2.AuthorizeStreamResponse.Item
Confirmation = guard_pb2.LogStreamResponse.Item


def question(arguments: bytes = b"{}") -> Any:
    return question_of("t", arguments, "", None, None, None, "")


def allow(id_: int) -> Any:
    decision = types_pb2.Decision(effect=types_pb2.EFFECT_ALLOW, decision_id=f"dec_{id_}")
    return Answer(id=id_, decision=decision)


def answer(book: Questions, *ids: int) -> None:
    book.answered(guard_pb2.AuthorizeStreamResponse(items=[allow(id_) for id_ in ids]))


def made(unused: list[str] | None = None, deadline_s: float = 60.0) -> Questions:
    sink: list[str] = [] if unused is None else unused
    return Questions(loop=asyncio.get_running_loop(), deadline_s=deadline_s, on_unused=sink.append)


async def test_batch_is_bounded_by_count() -> None:
    """A message holds at most what the contract allows; the rest leaves in the next."""
    book = made()
    for _ in range(MAX_BATCH + 1):
        book.ask(question())

    sizes = [len(batch.items) for batch in (book.take_batch(), book.take_batch()) if batch]

    assert sizes == [MAX_BATCH, 1]
    assert book.take_batch() is None
    book.close()


async def test_batch_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large questions are spread, but even one that is larger than the bound leaves."""
    monkeypatch.setattr(_questions, "MAX_BATCH_BYTES", 1000)
    book = made()
    for size in (10, 2000, 10, 900, 900):
        book.ask(question(b"x" * size))
    sizes = []
    while (batch := book.take_batch()) is not None:
        sizes.append(len(batch.items))

    assert sizes == [1, 1, 2, 1]
    book.close()


async def test_cancelled_question_does_not_leave() -> None:
    """Nobody asks the gate for a caller that is gone."""
    book = made()
    futures = [book.ask(question()) for _ in range(3)]
    futures[1].cancel()

    batch = book.take_batch()

    assert batch is not None
    assert [item.id for item in batch.items] == [1, 3]
    book.close()


async def test_disconnect_settles_only_what_had_left() -> None:
    """What has not left yet waits for the next connection."""
    book = made()
    left = book.ask(question())
    book.take_batch()
    waits = book.ask(question())

    book.disconnected("UNAVAILABLE")

    settled = left.result()
    assert isinstance(settled, Decision)
    assert settled.reason.metadata["status"] == "UNAVAILABLE"
    assert not waits.done()
    book.close()


async def test_what_expires_unsent_is_forgotten() -> None:
    """While the gate is away expired questions do not pile up, and nothing wants to connect."""
    book = made(deadline_s=0.01)

    decisions = await asyncio.gather(*(book.ask(question()) for _ in range(10)))

    assert {d.reason.metadata["cause"] for d in decisions if isinstance(d, Decision)} == {
        "NOT_CONNECTED"
    }
    assert len(book._unsent) == 0
    assert not book._wanted.is_set()
    book.close()


async def test_given_up_ids_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that never answers does not fill the memory with ids."""
    monkeypatch.setattr(_questions, "_MAX_REMEMBERED", 4)
    unused: list[str] = []
    book = made(unused, deadline_s=0.01)
    futures = [book.ask(question()) for _ in range(10)]
    book.take_batch()
    await asyncio.gather(*futures)

    answer(book, *range(1, 11))

    assert unused == ["dec_7", "dec_8", "dec_9", "dec_10"]
    assert book.stray_answers == 6
    book.close()


EVENTS = st.lists(
    st.one_of(
        st.just(("ask", 0)),
        st.just(("send", 0)),
        st.tuples(st.just("answer"), st.integers(0, 12)),
        st.tuples(st.just("cancel"), st.integers(0, 12)),
        st.just(("disconnect", 0)),
        st.just(("expire", 0)),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(events=EVENTS)
def test_every_question_is_settled_once_and_by_its_own_answer(
    events: list[tuple[str, int]],
) -> None:
    """In any order of events: an ALLOW reaches its own asker or is reported, never both or twice."""

    async def story() -> None:
        unused: list[str] = []
        book = made(unused)
        futures: dict[int, Any] = {}
        left: set[int] = set()
        for kind, number in events:
            if kind == "ask":
                future = book.ask(question())
                futures[len(futures) + 1] = future
            elif kind == "send":
                batch = book.take_batch()
                left |= {item.id for item in batch.items} if batch else set()
            elif kind == "answer":
                answer(book, number)
            elif kind == "cancel" and number in futures:
                futures[number].cancel()
            elif kind == "disconnect":
                book.disconnected("UNAVAILABLE")
                left.clear()
            elif kind == "expire":
                book._pending = {id_: (0.0, future) for id_, (_, future) in book._pending.items()}
                book._sweep()
        book.close()
        used = []
        for id_, future in futures.items():
            assert future.done()
            if not future.cancelled() and not isinstance(future.result(), Decision):
                assert future.result().decision_id == f"dec_{id_}"
                used.append(future.result().decision_id)
        assert len(unused) == len(set(unused))
        assert not set(unused) & set(used)

    asyncio.run(story())


# -- outcomes -----------------------------------------------------------------------------------


def outcome(number: int) -> Any:
    return guard_pb2.Outcome(decision_id=f"dec_{number}")


def confirm(book: Outcomes, *ids: int) -> None:
    book.answered(guard_pb2.LogStreamResponse(items=[Confirmation(id=id_) for id_ in ids]))


async def test_outcomes_are_sent_again_in_order() -> None:
    """What left on a lost connection leaves first on the next."""
    book = Outcomes(loop=asyncio.get_running_loop())
    for number in range(3):
        book.report(outcome(number))
    book.take_batch()
    book.report(outcome(3))
    confirm(book, 2)
    book.disconnected("UNAVAILABLE")

    batch = book.take_batch()

    assert batch is not None
    assert [item.outcome.decision_id for item in batch.items] == ["dec_0", "dec_2", "dec_3"]
    confirm(book, 1, 3, 4, 4, 77)
    await asyncio.wait_for(book.settled(), 1)


async def test_outcome_that_kills_every_stream_is_dropped() -> None:
    """A report the gate can't take does not block the others for ever."""
    book = Outcomes(loop=asyncio.get_running_loop())
    future = book.report_and_wait(outcome(1))
    assert future is not None
    for _ in range(MAX_SENDS):
        assert book.take_batch() is not None
        book.disconnected("INVALID_ARGUMENT")

    assert book.take_batch() is None
    assert book.dropped == 1
    assert future.result() is None
    await asyncio.wait_for(book.settled(), 1)


async def test_outcomes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a gate reports do not fill the memory; what is dropped is counted."""
    monkeypatch.setattr(_outcomes, "MAX_KEPT", 2)
    book = Outcomes(loop=asyncio.get_running_loop())

    kept = [book.report(outcome(number)) for number in range(4)]

    assert kept == [True, True, False, False]
    assert book.report_and_wait(outcome(5)) is None
    assert book.dropped == 3
    book.close()
    assert book.dropped == 5


def test_backoff_is_bounded_jittered_and_reset() -> None:
    """Pauses double up to the bound, differ, and start anew after a success."""
    backoff = Backoff(first_s=0.1, most_s=1.0)

    pauses = [backoff.next_pause_s() for _ in range(50)]
    backoff.reset()
    again = backoff.next_pause_s()

    assert 0.05 <= pauses[0] <= 0.1
    assert all(0.5 <= pause <= 1.0 for pause in pauses[5:])
    assert len(set(pauses[5:])) > 10
    assert 0.05 <= again <= 0.1
