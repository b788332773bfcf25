# SPDX-License-Identifier: Apache-2.0
"""The decision cache: it answers only what a fresh decision would answer."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sidecar.authorize import cache as cache_module
from sidecar.authorize.cache import DecisionCache, cache_key
from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.model import Effect

S = NS_PER_SECOND
FAR = 10**18


@dataclass(frozen=True)
class Verdict:
    effect: Effect
    text: str = ""


ALLOW = Verdict(Effect.ALLOW)
DENY = Verdict(Effect.DENY)
HOLD = Verdict(Effect.HOLD)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def cache(clock):
    return DecisionCache[Verdict](max_entries=100, clock=clock)


def key(**changes: Any):
    good: dict[str, Any] = {
        "agent": "banking",
        "token": ("https://idp.example", "t1"),
        "policy_digest": "d1",
        "epoch": 7,
        "projection": ("read_balance", ("eur",)),
    }
    return cache_key(**(good | changes))


def test_verdict_comes_back_under_its_key(cache, clock):
    """A hit is the very object that was put, and hits and misses are counted."""
    before = cache.get(key(), clock.boot_ns())
    cache.put(key(), ALLOW, FAR)
    after = cache.get(key(), clock.boot_ns())

    assert (before, after) == (None, ALLOW)
    assert (cache.hits, cache.misses, len(cache)) == (1, 1, 1)


# Each part of the key separates something that must not share a verdict.
SEPARATES = {
    "c01_kill_raises_the_epoch": {"epoch": 8},
    "c02_revocation_raises_the_epoch": {"epoch": 9},
    "c02_another_token": {"token": ("https://idp.example", "t2")},
    "c02_same_jti_of_another_issuer": {"token": ("https://other.example", "t1")},
    "c02_no_token": {"token": ""},
    "c03_another_policy": {"policy_digest": "d2"},
    "c06_another_agent": {"agent": "mailer"},
    "c07_another_projection": {"projection": ("read_balance", ("usd",))},
    "c07_list_is_not_text": {"projection": ("read_balance", "eur")},
}


@pytest.mark.parametrize("name", SEPARATES)
def test_c01_c02_c03_c06_c07_key_separates(cache, clock, name):
    """An allow that was cached is not found once any part of the key differs."""
    cache.put(key(), ALLOW, FAR)

    assert cache.get(key(**SEPARATES[name]), clock.boot_ns()) is None


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("c01_kill_raises_the_epoch", "epoch"),
        ("c02_another_token", "token"),
        ("c03_another_policy", "policy_digest"),
        ("c06_another_agent", "agent"),
        ("c07_another_projection", "projection"),
    ],
)
def test_c01_c02_c03_c06_c07_negative_control(cache, clock, name, part):
    """With that part dropped from the key, the stale allow answers."""
    cache.put(key(**{part: ""}), ALLOW, FAR)

    assert cache.get(key(**(SEPARATES[name] | {part: ""})), clock.boot_ns()) is ALLOW


TEXTS = st.text(alphabet="ab\x00/:|", max_size=3)
KEYS = st.tuples(
    TEXTS, st.tuples(TEXTS, TEXTS) | st.just(""), TEXTS, st.integers(0, 2), st.tuples(TEXTS, TEXTS)
)


@settings(max_examples=300, deadline=None)
@given(one=KEYS, other=KEYS)
def test_c07_only_equal_parts_make_an_equal_key(one, other):
    """No delimiter, no concatenation: keys are equal exactly if all their parts are."""
    names = ("agent", "token", "policy_digest", "epoch", "projection")
    first = cache_key(**dict(zip(names, one, strict=True)))
    second = cache_key(**dict(zip(names, other, strict=True)))
    cache = DecisionCache[Verdict](max_entries=2, clock=ManualClock())
    cache.put(first, ALLOW, FAR)

    assert (cache.get(second, 0) is ALLOW) is (one == other)


def test_c07_negative_control(clock):
    """Joined by a delimiter, two different questions share an answer."""
    joined = lambda *parts: ("|".join(parts),)  # noqa: E731
    cache = DecisionCache[Verdict](max_entries=2, clock=clock)
    cache.put(joined("a|b", "c"), ALLOW, FAR)

    assert cache.get(joined("a", "b|c"), clock.boot_ns()) is ALLOW


def test_c04_entry_expires_at_its_deadline_not_at_the_longest_life(cache, clock):
    """A token that expires in 2 s ends the entry after 2 s, to the nanosecond."""
    deadline = clock.boot_ns() + 2 * S
    cache.put(key(), ALLOW, deadline)

    assert cache.get(key(), deadline - 1) is ALLOW
    assert cache.get(key(), deadline) is None
    assert len(cache) == 0


def test_c04_longest_life_bounds_every_deadline(cache, clock):
    """However far the deadline, no entry lives beyond 30 s."""
    began = clock.boot_ns()
    cache.put(key(), ALLOW, FAR)

    assert cache.get(key(), began + 30 * S - 1) is ALLOW
    assert cache.get(key(), began + 30 * S) is None


def test_c04_negative_control(clock):
    """With a life of its own instead of the deadline, the allow outlives the token."""
    cache = DecisionCache[Verdict](max_entries=2, clock=clock)
    token_expires = clock.boot_ns() + 2 * S
    cache.put(key(), ALLOW, clock.boot_ns() + 30 * S)

    assert cache.get(key(), token_expires) is ALLOW


def test_c04_wall_clock_does_not_extend_an_entry(cache, clock):
    """Set back an hour, the wall clock changes nothing."""
    cache.put(key(), ALLOW, clock.boot_ns() + 2 * S)
    clock.advance(seconds=2)
    clock.step_wall(seconds=-3600)

    assert cache.get(key(), clock.boot_ns()) is None


def test_c04_entry_that_is_already_over_is_not_kept(cache, clock):
    """It even takes away what stood there before."""
    cache.put(key(), ALLOW, FAR)
    cache.put(key(), DENY, clock.boot_ns())

    assert len(cache) == 0
    assert cache.get(key(), clock.boot_ns()) is None


def test_c05_cache_is_empty_after_a_restart(cache, clock):
    """A new process has a new cache; nothing is kept outside of memory."""
    cache.put(key(), ALLOW, FAR)
    restarted = DecisionCache[Verdict](max_entries=100, clock=clock)

    assert restarted.get(key(), clock.boot_ns()) is None
    assert not {"open", "pickle", "sqlite3", "shelve", "mmap"} & set(vars(cache_module))


def test_c05_clear_forgets_everything(cache, clock):
    """After clear nothing answers; the counters go on."""
    cache.put(key(), ALLOW, FAR)
    cache.get(key(), clock.boot_ns())
    cache.clear()

    assert (cache.get(key(), clock.boot_ns()), len(cache)) == (None, 0)
    assert (cache.hits, cache.misses) == (1, 1)


@pytest.mark.parametrize(("verdict", "life_s"), [(DENY, 1), (HOLD, 30), (ALLOW, 30)])
def test_c09_denials_live_shortly(cache, clock, verdict, life_s):
    """An agent whose denial was mended waits a second at most."""
    began = clock.boot_ns()
    cache.put(key(), verdict, FAR)

    assert cache.get(key(), began + life_s * S - 1) is verdict
    assert cache.get(key(), began + life_s * S) is None


def test_c09_denial_never_outlives_the_longest_life(clock):
    """The shorter of the two lives counts."""
    cache = DecisionCache[Verdict](
        max_entries=2, clock=clock, max_life_ns=S // 2, max_denial_life_ns=S
    )
    cache.put(key(), DENY, FAR)

    assert cache.get(key(), clock.boot_ns() + S // 2) is None


def test_c12_flood_of_keys_stays_bounded_and_keeps_what_is_used(cache, clock):
    """100,000 other keys push out the idle ones and never the one in use."""
    cache.put(key(), ALLOW, FAR)
    cache.put(key(epoch=0), ALLOW, FAR)
    for number in range(100_000):
        cache.put(key(projection=number), ALLOW, FAR)
        if number % 50 == 0:
            assert cache.get(key(), clock.boot_ns()) is ALLOW

    assert len(cache) == 100
    assert cache.get(key(epoch=0), clock.boot_ns()) is None


@dataclass
class Mutable:
    effect: Effect = Effect.ALLOW
    notes: list[str] = field(default_factory=list)


class Plain:
    effect = Effect.ALLOW


@pytest.mark.parametrize("verdict", [Mutable(), Plain()])
def test_only_frozen_verdicts_are_kept(cache, verdict):
    """What could change after it was put is misuse."""
    with pytest.raises(ValueError):
        cache.put(key(), verdict, FAR)


def test_only_frozen_verdicts_negative_control(cache, clock, monkeypatch):
    """A verdict that can change turns one caller's DENY into another's ALLOW."""
    monkeypatch.setattr(cache_module, "_is_frozen", lambda verdict: True)
    verdict = Mutable(effect=Effect.DENY)
    cache.put(key(), verdict, FAR)
    verdict.effect = Effect.ALLOW

    assert cache.get(key(), clock.boot_ns()).effect is Effect.ALLOW


def test_cache_without_room_is_misuse(clock):
    """At least one entry fits."""
    with pytest.raises(ValueError):
        DecisionCache[Verdict](max_entries=0, clock=clock)


class CachedPipeline(RuleBasedStateMachine):
    """Cached decision == fresh decision, through kills, revocations, policies and time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.cache = DecisionCache[Verdict](max_entries=4, clock=self.clock)
        self.epoch = 0
        self.policy = 0
        self.killed: set[str] = set()
        self.revoked: set[str] = set()
        self.token_end = {f"t{n}": self.clock.boot_ns() + (n + 1) * 40 * S for n in range(2)}

    def fresh(self, agent: str, token: str, projection: int) -> Verdict:
        is_denied = (
            agent in self.killed
            or token in self.revoked
            or self.clock.boot_ns() >= self.token_end[token]
            or (projection + self.policy + len(agent)) % 3 == 0
        )
        return DENY if is_denied else ALLOW

    def decide(self, agent: str, token: str, projection: int) -> Verdict:
        at = cache_key(
            agent=agent,
            token=token,
            policy_digest=f"d{self.policy}",
            epoch=self.epoch,
            projection=projection,
        )
        verdict = self.cache.get(at, self.clock.boot_ns())
        if verdict is None:
            verdict = self.fresh(agent, token, projection)
            self.cache.put(at, verdict, self.token_end[token])
        return verdict

    @rule(agent=st.sampled_from(["a", "bb"]))
    def kill(self, agent: str) -> None:
        self.killed ^= {agent}
        self.epoch += 1

    @rule(token=st.sampled_from(["t0", "t1"]))
    def revoke(self, token: str) -> None:
        self.revoked |= {token}
        self.epoch += 1

    @rule(policy=st.integers(0, 2))
    def activate(self, policy: int) -> None:
        self.policy = policy
        self.epoch += 1

    @rule(seconds=st.integers(0, 30), back=st.integers(0, 3600))
    def wait(self, seconds: int, back: int) -> None:
        self.clock.advance(seconds=seconds)
        self.clock.step_wall(seconds=-back)

    @invariant()
    def cached_is_fresh(self) -> None:
        for question in itertools.product(["a", "bb"], ["t0", "t1"], [0, 1]):
            assert self.decide(*question) == self.fresh(*question)
        assert len(self.cache) <= 4


CachedPipeline.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestC01CachedDecisionIsFresh = CachedPipeline.TestCase
