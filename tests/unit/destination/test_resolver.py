# SPDX-License-Identifier: Apache-2.0
"""The resolver: deadlines, a short memory, and names that change their addresses."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from sidecar.clock import ManualClock
from sidecar.destination import (
    ResolutionError,
    Resolver,
    SystemResolver,
    check_destination,
    parse_url,
)
from sidecar.destination.resolver import system_lookup

Make = Callable[..., SystemResolver]


class FlippingServer:
    """A name server that answers each question differently, as an attacker's does."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    def __call__(self, host: str) -> Sequence[str]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return answer


class StuckServer:
    """A name server that answers nobody until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        self.go.wait(10)
        return ["8.8.8.8"]


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a maker of resolvers that are closed afterwards."""
    made: list[SystemResolver] = []

    def build(clock: ManualClock | None = None, **options: object) -> SystemResolver:
        made.append(SystemResolver(clock=clock or ManualClock(), **options))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for resolver in made:
        resolver.close()


async def test_b06_what_was_checked_is_what_is_dialled(make: Make) -> None:
    """The name flips to the metadata service; the obligation still names the checked address."""
    clock = ManualClock()
    server = FlippingServer(["8.8.8.8"], ["169.254.169.254"])
    resolver: Resolver = make(clock, lookup=server)
    destination = parse_url("https://rebind.example/")

    first = await resolver.resolve(destination.host)
    pinned = check_destination(destination, first, allow_private=False)
    clock.advance(seconds=60)
    second = await resolver.resolve(destination.host)

    assert pinned == ("8.8.8.8",)
    assert second == ("169.254.169.254",)
    assert not check_destination(destination, second, allow_private=False)


async def test_b06_negative_control(make: Make) -> None:
    """A client that resolves again instead of dialling the obligation arrives elsewhere."""
    clock = ManualClock()
    server = FlippingServer(["8.8.8.8"], ["169.254.169.254"])
    resolver = make(clock, lookup=server)
    pinned = await resolver.resolve("rebind.example")
    clock.advance(seconds=60)

    assert await resolver.resolve("rebind.example") != pinned


async def test_answers_are_kept_for_their_time_and_not_longer(make: Make) -> None:
    """Within the time to live nobody is asked again; at its end somebody is."""
    clock = ManualClock()
    server = FlippingServer(["8.8.8.8", "8.8.8.8"], ["1.1.1.1"])
    resolver = make(clock, ttl_s=5, lookup=server)

    assert await resolver.resolve("a.example") == ("8.8.8.8",)
    clock.advance(seconds=4.999)
    assert await resolver.resolve("a.example") == ("8.8.8.8",)
    clock.advance(seconds=0.001)
    assert await resolver.resolve("a.example") == ("1.1.1.1",)
    assert server.asked == 2


async def test_wall_clock_steps_keep_nothing_alive(make: Make) -> None:
    """Only time since boot ages an answer."""
    clock = ManualClock()
    server = FlippingServer(["8.8.8.8"], ["1.1.1.1"])
    resolver = make(clock, ttl_s=5, lookup=server)
    await resolver.resolve("a.example")

    clock.step_wall(seconds=-3600)
    clock.advance(seconds=5)

    assert await resolver.resolve("a.example") == ("1.1.1.1",)


async def test_memory_is_bounded(make: Make) -> None:
    """The oldest answers go first."""
    asked: list[str] = []

    def lookup(host: str) -> Sequence[str]:
        asked.append(host)
        return ["8.8.8.8"]

    resolver = make(max_entries=2, lookup=lookup)
    for host in ("a", "b", "a", "c", "a", "b"):
        await resolver.resolve(host)

    assert asked == ["a", "b", "c", "b"]


async def test_a_slow_server_is_given_up_at_the_deadline(make: Make) -> None:
    """No answer in time is no address; the late answer harms nobody."""
    server = StuckServer()
    resolver = make(timeout_s=0.02, lookup=server)

    with pytest.raises(ResolutionError):
        await resolver.resolve("slow.example")
    server.go.set()


async def test_k04_stuck_look_ups_refuse_instead_of_queueing(make: Make) -> None:
    """With every thread busy the next name is refused at once; a known one is still answered."""
    server = StuckServer()
    resolver = make(timeout_s=5, max_in_flight=2, lookup=server)
    waiting = [asyncio.create_task(resolver.resolve(host)) for host in ("a", "b")]
    await asyncio.sleep(0)

    with pytest.raises(ResolutionError, match="too many"):
        await resolver.resolve("c")
    server.go.set()

    assert await asyncio.gather(*waiting) == [("8.8.8.8",), ("8.8.8.8",)]
    assert await resolver.resolve("c") == ("8.8.8.8",)


async def test_askers_of_one_name_share_one_look_up(make: Make) -> None:
    """Fifty questions for one name are one look-up; one asker's cancellation hurts no other."""
    server = StuckServer()
    resolver = make(timeout_s=5, lookup=server)
    waiting = [asyncio.create_task(resolver.resolve("a.example")) for _ in range(50)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    server.go.set()

    answers = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(answers[0], asyncio.CancelledError)
    assert set(answers[1:]) == {("8.8.8.8",)}
    assert server.asked == ["a.example"]


@pytest.mark.parametrize(
    "failure", [socket.gaierror(-2, "x"), OSError("x"), UnicodeError("x")], ids=repr
)
async def test_failures_are_domain_errors_and_never_kept(make: Make, failure: Exception) -> None:
    """A name that fails once is asked for again the next time."""
    outcomes: list[Exception | None] = [failure, None]

    def lookup(host: str) -> Sequence[str]:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return ["8.8.8.8"]

    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    resolver = make(lookup=lookup)

    with pytest.raises(ResolutionError):
        await resolver.resolve("a.example")
    assert await resolver.resolve("a.example") == ("8.8.8.8",)
    assert not complaints


@pytest.mark.parametrize("count", [0, 17])
async def test_empty_and_endless_answers_are_refused(make: Make, count: int) -> None:
    """No address, or more than 16, is no answer."""
    resolver = make(lookup=lambda _: [f"8.8.8.{last}" for last in range(count)])
    largest = make(lookup=lambda _: [f"8.8.8.{last}" for last in range(16)])

    assert len(await largest.resolve("a.example")) == 16
    with pytest.raises(ResolutionError):
        await resolver.resolve("a.example")


async def test_a_closed_resolver_answers_nothing_new(make: Make) -> None:
    """After closing, new names are refused by the domain error."""
    resolver = make(lookup=lambda _: ["8.8.8.8"])
    resolver.close()

    with pytest.raises(ResolutionError):
        await resolver.resolve("a.example")


def test_system_lookup_reads_numeric_hosts_without_a_server() -> None:
    """The real adapter, on input that needs no network."""
    assert system_lookup("127.0.0.1") == ["127.0.0.1"]
    assert system_lookup("::1") == ["::1"]
