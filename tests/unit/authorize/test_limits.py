# SPDX-License-Identifier: Apache-2.0
"""Rates, budgets and throttles: what they refuse, and that nothing refills them early."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.authorize import limits as limits_module
from sidecar.authorize.limits import (
    NO_CHARGE,
    BudgetState,
    Charge,
    ChargeItem,
    Limiter,
    LimitRefusal,
    RecordedCharge,
    Throttle,
)
from sidecar.errors import UntrustedInputError
from sidecar.model import ReasonCode

S = 10**9
WALL = 1_760_000_000 * S
DAY = 86_400


@dataclass(frozen=True)
class Spec:
    name: str = "limit"
    agents: frozenset[str] | None = None
    tools: frozenset[str] | None = None
    rate_calls: int | None = None
    rate_per_s: int | None = None
    rate_burst: int | None = None
    budget_calls: int | None = None
    budget_argument: str | None = None
    budget_maximum: Any = None
    budget_per_s: int | None = None


def rate(calls: int = 10, per_s: int = 60, burst: int | None = 10, **changes: Any) -> Spec:
    return Spec(rate_calls=calls, rate_per_s=per_s, rate_burst=burst, **changes)


def spend(maximum: Any = 100, per_s: int = DAY, **changes: Any) -> Spec:
    return Spec(budget_argument="amount", budget_maximum=maximum, budget_per_s=per_s, **changes)


def count(calls: int = 3, per_s: int = DAY, **changes: Any) -> Spec:
    return Spec(budget_calls=calls, budget_per_s=per_s, **changes)


class Till:
    """A limiter with a pair of clocks."""

    def __init__(self, *specs: Spec, limiter: Limiter | None = None, boot_s: float = 100) -> None:
        self.limiter = limiter or Limiter(specs)
        self.boot_ns = round(boot_s * S)
        self.wall_ns = WALL
        self.log: list[tuple[str, int, str]] = []

    def advance(self, seconds: float) -> None:
        self.boot_ns += round(seconds * S)
        self.wall_ns += round(seconds * S)

    def step_wall(self, seconds: float) -> None:
        self.wall_ns += round(seconds * S)

    def check(self, agent: str = "banking", tool: str = "send", **arguments: Any):
        return self.limiter.check(
            agent, tool, arguments, boot_ns=self.boot_ns, wall_ns=self.wall_ns
        )

    def call(self, agent: str = "banking", tool: str = "send", **arguments: Any) -> bool:
        """Check, charge and record one call; return whether it passed."""
        verdict = self.check(agent, tool, **arguments)
        if isinstance(verdict, LimitRefusal):
            return False
        refusal = self.limiter.charge(verdict)
        assert refusal is None
        self.log.append((agent, self.wall_ns, json.dumps(verdict.as_entry())))
        return True

    def code(self, **arguments: Any) -> ReasonCode | None:
        verdict = self.check(**arguments)
        return verdict.code if isinstance(verdict, LimitRefusal) else None

    def restarted(self, *specs: Spec, down_s: float = 0, boot_s: float = 5) -> Till:
        """Return a till after a restart (of the host, too), with limits rebuilt from the log."""
        after = Till(*specs, boot_s=boot_s)
        after.wall_ns = self.wall_ns + round(down_s * S)
        after.log = list(self.log)
        after.limiter.restore(
            [
                RecordedCharge.from_entry(agent, wall_ns, json.loads(entry))
                for agent, wall_ns, entry in self.log
            ],
            boot_ns=after.boot_ns,
            wall_ns=after.wall_ns,
        )
        return after


# -- rates --------------------------------------------------------------------------------------


def test_rate_lets_a_burst_pass_and_then_its_pace():
    """10 at once, then one every 6 s, and the refusal says how long to wait."""
    till = Till(rate())
    burst = [till.call() for _ in range(11)]
    refusal = till.check()
    till.advance(5.999999999)
    early = till.call()
    till.advance(0.000000001)
    later = [till.call(), till.call()]

    assert burst == [True] * 10 + [False]
    assert isinstance(refusal, LimitRefusal)
    assert (refusal.code, refusal.limit) == (ReasonCode.RATE_LIMITED, "limit")
    assert (refusal.retry_after_ns, early, later) == (6 * S, False, [True, False])
    assert "6 s" in refusal.text


def test_rate_without_burst_holds_as_many_as_its_calls():
    """A burst that is not stated is the number of calls."""
    till = Till(rate(calls=4, burst=None))

    assert [till.call() for _ in range(5)] == [True] * 4 + [False]


@settings(max_examples=150, deadline=None)
@given(
    calls=st.integers(1, 50),
    per_s=st.integers(1, 120),
    burst=st.integers(1, 60),
    steps=st.lists(st.integers(0, 20_000), min_size=1, max_size=120),
)
def test_rate_never_lets_more_pass_than_its_definition(calls, per_s, burst, steps):
    """In any span t, at most burst + t * calls / per calls pass; and the pace is reached."""
    till = Till(rate(calls=calls, per_s=per_s, burst=burst))
    passed = []
    for milliseconds in steps:
        till.advance(milliseconds / 1000)
        if till.call():
            passed.append(till.boot_ns)
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            span_ns = passed[last] - passed[first]
            assert (last - first + 1 - burst) * per_s * S <= span_ns * calls
    till.advance(burst * per_s / calls + 1)

    assert till.call()


def test_rates_are_per_agent_and_per_limit():
    """One agent's calls do not count for another; two limits both have to allow."""
    till = Till(
        rate(calls=2, burst=2, name="all"),
        rate(calls=1, burst=1, name="mailer", agents=frozenset({"mailer"})),
    )

    assert [till.call(agent="banking") for _ in range(3)] == [True, True, False]
    assert [till.call(agent="mailer") for _ in range(2)] == [True, False]


def test_call_that_one_limit_refuses_costs_nothing_under_the_other():
    """All or nothing: what was refused can be made up for elsewhere."""
    till = Till(rate(calls=5, burst=5, name="rate"), spend(10, name="spend"))
    for _ in range(20):
        till.call(amount=11)

    assert [till.call(amount=1) for _ in range(6)] == [True] * 5 + [False]


# -- budgets ------------------------------------------------------------------------------------


def test_budget_of_calls_and_its_window():
    """3 calls in 24 h from the first on; then 3 more."""
    till = Till(count(3))
    first = till.call()
    till.advance(DAY - 1)
    rest = [till.call() for _ in range(3)]
    refusal = till.check()
    till.advance(1)

    assert (first, rest) == (True, [True, True, False])
    assert isinstance(refusal, LimitRefusal)
    assert (refusal.code, refusal.retry_after_ns) == (ReasonCode.BUDGET_EXHAUSTED, S)
    assert [till.call() for _ in range(4)] == [True] * 3 + [False]


def test_budget_of_a_sum_counts_what_was_spent():
    """Sums are exact: ten times 0.1 is 1, and the last cent counts."""
    till = Till(spend(Decimal("1.00")))
    tenths = [till.call(amount=0.1) for _ in range(10)]

    assert tenths == [True] * 10
    assert till.call(amount=0.01) is False
    assert till.call(amount=0) is True


def test_budget_float_negative_control():
    """Added as doubles, ten times 0.1 would leave room for an eleventh payment."""
    assert sum([0.1] * 10) + 1e-16 <= 1.0


def test_one_payment_beyond_the_budget_is_told_that_waiting_does_not_help():
    """An amount that never fits has no retry time."""
    till = Till(spend(100))
    till.call(amount=1)
    refusal = till.check(amount=101)

    assert isinstance(refusal, LimitRefusal)
    assert refusal.retry_after_ns == 0


BAD_AMOUNTS = [-1, -0.01, math.nan, math.inf, -math.inf, True, False, "5", None, [5], {"a": 5}]


@pytest.mark.parametrize("amount", [*BAD_AMOUNTS, Decimal("NaN"), Decimal("-1")], ids=repr)
def test_amount_that_is_no_number_of_at_least_zero_is_refused(amount):
    """A negative amount would refill the budget, a NaN compares with nothing."""
    till = Till(spend(100))

    assert till.code(amount=amount) is ReasonCode.SCHEMA


def test_amount_that_is_missing_is_refused():
    """A call that does not say its amount cannot be counted."""
    assert Till(spend(100)).code() is ReasonCode.MISSING_ARGUMENT


@pytest.mark.parametrize("amount", [-1000, math.nan])
def test_amount_negative_control(monkeypatch, amount):
    """Without the check, a negative amount refills the budget and a NaN breaks it open."""
    till = Till(spend(100))
    till.call(amount=100)
    monkeypatch.setattr(limits_module, "_amount_of", lambda value: value)
    monkeypatch.setattr(limits_module, "_sum", lambda one, other: one + other)

    assert till.call(amount=amount) is True
    assert till.call(amount=500) is True


@settings(max_examples=200, deadline=None)
@given(
    amounts=st.lists(
        st.integers(0, 10**6)
        | st.floats(0, 1e6, allow_nan=False)
        | st.floats(0, 1e-300)
        | st.sampled_from([1e308, 5e-324, -0.0, 2**60, -1, math.nan]),
        max_size=30,
    )
)
def test_sum_of_what_passed_never_exceeds_the_budget(amounts):
    """Whatever amounts come in whatever order."""
    till = Till(spend(10**6))
    passed = [Decimal(repr(amount)) for amount in amounts if till.call(amount=amount)]

    assert sum(passed, Decimal(0)) <= 10**6
    assert all(amount >= 0 for amount in passed)


@pytest.mark.parametrize("step_s", [-10 * 365 * DAY, -DAY, -60, 60, DAY, 10 * 365 * DAY])
def test_step_of_the_wall_clock_refills_nothing(step_s):
    """Budget and rate go by the boot clock; set the wall clock as you like."""
    till = Till(rate(calls=1, burst=1, per_s=60, name="rate"), spend(100, name="spend"))
    till.call(amount=100)
    till.step_wall(step_s)
    codes = {till.code(amount=1)}
    till.advance(60)
    codes.add(till.code(amount=1))
    till.advance(DAY - 60)

    assert codes == {ReasonCode.RATE_LIMITED, ReasonCode.BUDGET_EXHAUSTED}
    assert till.call(amount=100) is True


def test_step_of_the_wall_clock_negative_control():
    """Counted by the wall clock, a step of a day refills rate and budget."""
    till = Till(rate(calls=1, burst=1, per_s=60, name="rate"), spend(100, name="spend"))
    till.boot_ns = till.wall_ns
    till.call(amount=100)
    till.step_wall(DAY)
    till.boot_ns = till.wall_ns

    assert till.call(amount=100) is True


def test_calls_checked_together_cannot_overspend_together():
    """charge checks again: of two calls that each fitted alone, the second is refused."""
    till = Till(spend(100, name="spend"), rate(calls=5, burst=5, name="rate"))
    first, second = till.check(amount=60), till.check(amount=60)
    assert isinstance(first, Charge)
    assert isinstance(second, Charge)

    outcomes = (till.limiter.charge(first), till.limiter.charge(second))

    assert outcomes[0] is None
    assert outcomes[1] is not None
    assert outcomes[1].code is ReasonCode.BUDGET_EXHAUSTED
    assert till.limiter.export_budgets(boot_ns=till.boot_ns)[0].used == 60


def test_calls_checked_together_negative_control(monkeypatch):
    """If charge only consumed, both would pass."""
    till = Till(spend(100))
    charges = [till.check(amount=60), till.check(amount=60)]
    monkeypatch.setattr(limits_module._Limit, "refusal", lambda *args: None)
    for charge in charges:
        assert isinstance(charge, Charge)
        assert till.limiter.charge(charge) is None

    assert till.limiter.export_budgets(boot_ns=till.boot_ns)[0].used == 120


def test_check_consumes_nothing():
    """Asking a thousand times leaves the budget as it was."""
    till = Till(count(1), rate(calls=1, burst=1, name="rate"))
    for _ in range(1000):
        assert till.code() is None

    assert till.call() is True


# -- which limits apply -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agents", "tools", "is_limited"),
    [
        (None, None, True),
        ({"banking"}, None, True),
        (None, {"send"}, True),
        ({"banking", "x"}, {"send", "y"}, True),
        ({"mailer"}, None, False),
        (None, {"read"}, False),
        ({"banking"}, {"read"}, False),
        (set(), None, False),
    ],
)
def test_limit_applies_to_its_agents_and_tools(agents, tools, is_limited):
    """Left out means all; named means these."""
    spec = count(
        0,
        agents=None if agents is None else frozenset(agents),
        tools=None if tools is None else frozenset(tools),
    )
    till = Till(spec)

    assert till.limiter.applies("banking", "send") is is_limited
    assert till.call() is not is_limited


def test_call_without_limits_costs_nothing():
    """The common case is one look and a shared, empty charge."""
    till = Till(count(0, tools=frozenset({"send"})))
    charge = till.check(tool="read")

    assert charge is NO_CHARGE
    assert till.limiter.charge(NO_CHARGE) is None
    assert NO_CHARGE.as_entry() == []
    assert Limiter().applies("a", "b") is False


def test_index_is_bounded(monkeypatch):
    """Agents and tools that do not exist fill no memory."""
    monkeypatch.setattr(limits_module, "_MAX_INDEX", 100)
    till = Till(count(1))
    for number in range(1000):
        till.check(agent=f"a{number}")

    assert len(till.limiter._index) <= 100


def test_full_buckets_are_forgotten(monkeypatch):
    """A bucket that refilled is like a new one and is dropped when there are many."""
    monkeypatch.setattr(limits_module, "_MAX_BUCKETS", 50)
    till = Till(rate(calls=1, burst=1, per_s=1))
    for number in range(500):
        till.call(agent=f"a{number}")
        till.advance(2)

    assert len(till.limiter._limits[0].buckets) <= 50


@pytest.mark.parametrize(
    "specs",
    [
        [Spec()],
        [count(), count()],
        [rate(calls=0)],
        [rate(per_s=0)],
        [rate(burst=0)],
        [Spec(rate_calls=1)],
        [Spec(rate_per_s=1)],
        [Spec(budget_calls=1)],
        [Spec(budget_per_s=60)],
        [Spec(budget_calls=-1, budget_per_s=60)],
        [Spec(budget_argument="amount", budget_per_s=60)],
        [Spec(budget_maximum=5, budget_per_s=60)],
        [spend(-1)],
        [spend(Decimal("NaN"))],
        [spend(math.inf)],
        [spend(5, budget_calls=5)],
        [spend(per_s=0)],
    ],
    ids=str,
)
def test_limit_that_states_nothing_or_half_is_misuse(specs):
    """No limit silently limits nothing."""
    with pytest.raises(ValueError):
        Limiter(specs)


# -- restart and reload -------------------------------------------------------------------------


def test_p11_budget_survives_a_restart():
    """What the log says was spent is spent, and the window ends when it would have."""
    till = Till(spend(100))
    till.call(amount=60)
    till.advance(3600)
    till.call(amount=30.5)
    after = till.restarted(spend(100), down_s=600)
    too_much = after.call(amount=10)
    rest = after.call(amount=9.5)
    after.advance(DAY - 4200 - 1)
    still = after.call(amount=1)
    after.advance(1)

    assert (too_much, rest, still) == (False, True, False)
    assert after.call(amount=100) is True


def test_p11_restart_negative_control():
    """A limiter that is not restored has a full budget again."""
    till = Till(spend(100))
    till.call(amount=100)

    assert Till(spend(100)).call(amount=100) is True


def test_p11_rate_survives_a_restart():
    """A crash loop does not refill a bucket, even where the boot clock starts anew."""
    till = Till(rate(calls=10, per_s=600, burst=10), boot_s=10**6)
    for _ in range(10):
        till.call()
    till.advance(120)
    after = till.restarted(rate(calls=10, per_s=600, burst=10), boot_s=1)

    assert [after.call() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("step_s", [-10 * DAY, -3600, -1])
def test_p11_wall_clock_set_back_before_a_restart_refills_nothing(step_s):
    """A window that seems to open in the future opens now, and keeps what was used."""
    till = Till(spend(100))
    till.call(amount=100)
    till.step_wall(step_s)
    after = till.restarted(spend(100))
    refused = after.call(amount=1)
    after.advance(DAY)

    assert refused is False
    assert after.call(amount=1) is True


@pytest.mark.parametrize("step_s", [10 * DAY, -10 * DAY])
def test_p11_clock_that_was_wrong_for_a_while_refills_nothing(step_s):
    """Charges recorded under a wrong clock, ahead or behind, count in the window all the same."""
    till = Till(spend(100))
    till.call(amount=60)
    till.step_wall(step_s)
    till.call(amount=40)
    till.step_wall(-step_s)
    till.advance(10)
    after = till.restarted(spend(100))

    assert after.call(amount=1) is False


def test_p11_exported_budgets_can_be_imported():
    """The state is (limit, agent, start of the window by the wall clock, used)."""
    till = Till(spend(100), count(5, name="gone"))
    till.call(amount=70)
    till.advance(100)
    states = till.limiter.export_budgets(boot_ns=till.boot_ns)
    after = Till(spend(100))
    after.wall_ns = till.wall_ns
    after.limiter.import_budgets(states, boot_ns=after.boot_ns, wall_ns=after.wall_ns)
    exported_again = after.limiter.export_budgets(boot_ns=after.boot_ns)

    assert states[0] == BudgetState(
        limit="limit", agent="banking", window_start_wall_ns=WALL, used=70
    )
    assert exported_again == states[:1]
    assert (after.call(amount=31), after.call(amount=30)) == (False, True)


def test_p11_windows_that_are_over_are_neither_exported_nor_imported():
    """An old window does not come back."""
    till = Till(spend(100, per_s=60))
    till.call(amount=100)
    states = till.limiter.export_budgets(boot_ns=till.boot_ns)
    till.advance(60)
    over = till.limiter.export_budgets(boot_ns=till.boot_ns)
    after = Till(spend(100, per_s=60))
    after.limiter.import_budgets(states, boot_ns=after.boot_ns, wall_ns=till.wall_ns)

    assert over == ()
    assert after.call(amount=100) is True


def test_p11_what_is_no_budget_any_more_is_left_out():
    """Recorded charges and budgets of limits that are gone, or are rates now, restore nothing."""
    till = Till(spend(100, name="gone"), spend(100))
    till.call(amount=100)
    states = till.limiter.export_budgets(boot_ns=till.boot_ns)
    after = till.restarted(rate())
    after.limiter.import_budgets(states, boot_ns=after.boot_ns, wall_ns=after.wall_ns)

    assert after.limiter.export_budgets(boot_ns=after.boot_ns) == ()
    assert after.call() is True


@settings(max_examples=100, deadline=None)
@given(
    calls=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 60)), max_size=25),
    cut=st.integers(0, 25),
)
def test_p11_restart_at_any_point_decides_as_if_there_was_none(calls, cut):
    """With clocks that agree, a restart between any two calls changes no decision."""
    specs = (spend(100, per_s=300, name="spend"), rate(calls=6, per_s=60, burst=3, name="rate"))
    steady, restarted = Till(*specs), Till(*specs)
    for number, (amount, pause_s) in enumerate(calls):
        if number == cut:
            restarted = restarted.restarted(*specs)
        for till in (steady, restarted):
            till.advance(pause_s)

        assert steady.call(amount=amount) is restarted.call(amount=amount)


@pytest.mark.parametrize(
    "entry",
    [
        None,
        {},
        "x",
        [1],
        [{}],
        [{"limit": 1}],
        [{"limit": "a", "amount": 5}],
        [{"limit": "a", "amount": "x"}],
        [{"limit": "a", "amount": "-5"}],
        [{"limit": "a", "amount": "NaN"}],
        [{"limit": "a", "amount": "Infinity"}],
        [{"limit": "a", "amount": "1E+999999999"}],
        [{"limit": "a", "amount": "9" * 401}],
    ],
    ids=lambda entry: str(entry)[:40],
)
def test_recorded_charge_that_is_none_is_refused(entry):
    """What the log should not hold is a domain error, not a number."""
    with pytest.raises(UntrustedInputError):
        RecordedCharge.from_entry("banking", WALL, entry)


def test_recorded_charge_reads_back_what_was_written():
    """as_entry and from_entry are inverse, through JSON."""
    items = (
        ChargeItem("a", True, None),
        ChargeItem("b", False, Decimal("0.30")),
        ChargeItem("c", True, Decimal(7)),
    )
    entry = json.loads(json.dumps(Charge("banking", 1, WALL, items).as_entry()))

    assert RecordedCharge.from_entry("banking", WALL, entry).items == items


def test_c13_reloading_the_policy_refills_nothing():
    """A new limiter takes over what was used under limits of the same name and measure."""
    till = Till(spend(100, name="spend"), rate(calls=2, per_s=600, burst=2, name="rate"))
    till.call(amount=50)
    till.call(amount=50)
    fresh = Limiter([spend(150, name="spend"), rate(calls=2, per_s=600, burst=2, name="rate")])
    fresh.inherit(till.limiter, boot_ns=till.boot_ns)
    after = Till(limiter=fresh)

    assert after.code(amount=1) is ReasonCode.RATE_LIMITED
    after.advance(300)
    assert after.code(amount=51) is ReasonCode.BUDGET_EXHAUSTED
    assert after.call(amount=50) is True


def test_c13_reloading_negative_control():
    """Without inheriting, an activation refills every budget."""
    till = Till(spend(100))
    till.call(amount=100)

    assert Till(limiter=Limiter([spend(100)])).call(amount=100) is True


def test_c13_limit_with_another_measure_starts_fresh():
    """Calls are not euros: a limit of the old name that counts something else is new."""
    till = Till(spend(100), rate(name="was a rate"))
    till.call(amount=100)
    fresh = Limiter([count(2), count(1, name="was a rate"), rate(name="new")])
    fresh.inherit(till.limiter, boot_ns=till.boot_ns)

    assert Till(limiter=fresh).call(amount=1) is True


def test_c13_window_that_was_made_longer_or_shorter_keeps_its_start():
    """The open window ends by the new definition, counted from when it opened."""
    till = Till(spend(100, per_s=60))
    till.call(amount=100)
    till.advance(30)
    longer, shorter = Limiter([spend(100, per_s=120)]), Limiter([spend(100, per_s=20)])
    for limiter in (longer, shorter):
        limiter.inherit(till.limiter, boot_ns=till.boot_ns)
    slow = Till(limiter=longer, boot_s=100 + 119)

    assert slow.call(amount=1) is False
    slow.advance(1)
    assert slow.call(amount=1) is True
    assert Till(limiter=shorter, boot_s=100 + 30).call(amount=1) is True


def test_charge_of_limits_that_are_gone_costs_nothing():
    """A charge made just before an activation does not break the new limiter."""
    till = Till(count(1, name="old"))
    charge = till.check()
    assert isinstance(charge, Charge)

    assert Limiter([count(0, name="new")]).charge(charge) is None


# -- throttle -----------------------------------------------------------------------------------


def test_throttle_paces_an_agent_under_a_directive():
    """6 a minute: a minute's worth at once, then one every 10 s."""
    throttle = Throttle()
    burst = [throttle.take(7, "banking", 6, boot_ns=S) for _ in range(7)]
    later = [throttle.take(7, "banking", 6, boot_ns=at * S) for at in (10, 11, 12)]

    assert burst == [True] * 6 + [False]
    assert later == [False, True, False]


def test_throttle_with_a_burst_of_one_spaces_calls():
    """Strict pacing, if asked for."""
    throttle = Throttle(burst=1)
    taken = [throttle.take(7, "banking", 6, boot_ns=at * S) for at in (1, 2, 10, 11, 21)]

    assert taken == [True, False, False, True, True]


def test_throttle_counts_per_directive_and_agent():
    """Another agent and a new directive have buckets of their own."""
    throttle = Throttle(burst=1)
    first = [throttle.take(epoch, agent, 6, boot_ns=S) for epoch in (1, 2) for agent in "ab"]
    again = [throttle.take(epoch, agent, 6, boot_ns=S) for epoch in (1, 2) for agent in "ab"]

    assert (first, again) == ([True] * 4, [False] * 4)


@pytest.mark.parametrize("calls", [0, -1])
def test_throttle_to_nothing_passes_nothing(calls):
    """A rate below one call is none."""
    assert Throttle().take(1, "banking", calls, boot_ns=S) is False


def test_throttle_memory_is_bounded(monkeypatch):
    """Buckets that refilled are forgotten when there are many."""
    monkeypatch.setattr(limits_module, "_MAX_BUCKETS", 50)
    throttle = Throttle(burst=1)
    for epoch in range(500):
        throttle.take(epoch, "banking", 60, boot_ns=epoch * 2 * S)

    assert len(throttle._buckets) <= 50


def test_throttle_burst_is_at_least_one():
    """A bucket without room is misuse."""
    with pytest.raises(ValueError):
        Throttle(burst=0)
