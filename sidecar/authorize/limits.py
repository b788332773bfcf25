# SPDX-License-Identifier: Apache-2.0
"""Rates and budgets: how often, and how much in all, an agent may do something.

Laws:

1. ``check`` consumes nothing; ``charge`` consumes all of what one call costs, or nothing, and
   checks again, so calls that were checked together cannot overspend together.
2. A *rate* is a bucket of ``rate_burst`` calls that refills with ``rate_calls`` per ``rate_per_s``.
   A *budget* is a window that opens with its first charge and lasts ``budget_per_s``; what was used
   comes back only when the window is over, all at once.
3. The boot clock alone moves both. A wall clock that is set forward or back refills nothing. Wall
   time only carries a window over a restart, and one that would open in the future opens now.
4. An amount is a finite number of at least zero. Anything else is refused: a negative amount would
   refill a budget, and a NaN compares with nothing. Sums are exact, or rounded against the caller.
5. Each limit counts per agent. What several limits say, all must allow.
6. Replacing the limits (a policy activation) keeps what was used under a limit of the same name and
   measure; only a new limit starts fresh.

Compatibility: the entries that ``Charge.as_entry`` writes are in audit logs and are read back after
a restart. Keys may be added; ``limit``, ``rate`` and ``amount`` never change their meaning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, DecimalException
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from sidecar.clock import NS_PER_SECOND
from sidecar.errors import UntrustedInputError
from sidecar.model import ReasonCode

__all__ = [
    "NO_CHARGE",
    "BudgetState",
    "Charge",
    "ChargeItem",
    "LimitRefusal",
    "LimitSpec",
    "Limiter",
    "RecordedCharge",
    "Throttle",
]

Amount: TypeAlias = int | Decimal

_EXACT: Final = Context(prec=60, rounding=ROUND_CEILING)
_MAX_INDEX: Final = 65_536
_MAX_BUCKETS: Final = 4096
_MAX_AMOUNT_CHARS: Final = 400
_MAX_AMOUNT_DIGITS: Final = 400
_LONG_AGO: Final = -(2**128)
_NS_PER_MINUTE: Final = 60 * NS_PER_SECOND
_Id = TypeVar("_Id")


class LimitSpec(Protocol):
    """One limit as the bundle states it. What it does not state is None."""

    @property
    def name(self) -> str: ...
    @property
    def agents(self) -> frozenset[str] | None: ...
    @property
    def tools(self) -> frozenset[str] | None: ...
    @property
    def rate_calls(self) -> int | None: ...
    @property
    def rate_per_s(self) -> int | None: ...
    @property
    def rate_burst(self) -> int | None: ...
    @property
    def budget_calls(self) -> int | None: ...
    @property
    def budget_argument(self) -> str | None: ...
    @property
    def budget_maximum(self) -> int | Decimal | None: ...
    @property
    def budget_per_s(self) -> int | None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRefusal:
    """Why a call exceeds a limit. A no is a value."""

    code: ReasonCode
    limit: str
    text: str
    retry_after_ns: int = 0
    """How long until it can fit; 0 if waiting does not help."""


@dataclass(frozen=True, slots=True)
class ChargeItem:
    """What one call costs under one limit."""

    limit: str
    is_rated: bool
    amount: Amount | None
    """What it takes from the budget; None without a budget."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What one call costs under all limits; passed to ``Limiter.charge`` if the call is allowed."""

    agent: str
    boot_ns: int
    wall_ns: int
    items: tuple[ChargeItem, ...]

    def as_entry(self) -> list[dict[str, Any]]:
        """Return the charge as the audit log keeps it: I-JSON, amounts as decimal text."""
        entries: list[dict[str, Any]] = []
        for item in self.items:
            entry: dict[str, Any] = {"limit": item.limit}
            if item.is_rated:
                entry["rate"] = True
            if item.amount is not None:
                entry["amount"] = str(item.amount)
            entries.append(entry)
        return entries


NO_CHARGE: Final = Charge("", 0, 0, ())


@dataclass(frozen=True, slots=True)
class RecordedCharge:
    """A charge that was recorded before a restart."""

    agent: str
    wall_ns: int
    items: tuple[ChargeItem, ...]

    @classmethod
    def from_entry(cls, agent: str, wall_ns: int, entry: object) -> RecordedCharge:
        """Read back what ``Charge.as_entry`` wrote.

        Raises:
            UntrustedInputError: It is not such an entry.
        """
        if not isinstance(entry, list):
            raise UntrustedInputError("recorded charges are not a list")
        return cls(agent, wall_ns, tuple(_read_item(item) for item in entry))


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetState:
    """What one agent used of one budget, and since when by the wall clock."""

    limit: str
    agent: str
    window_start_wall_ns: int
    used: Amount


class _Bucket:
    """A token bucket in whole numbers (generic cell rate algorithm).

    ``full_at`` is the boot time, times ``calls``, at which the bucket is full again. It may lie
    before the boot: a restart replays charges that are older than that.
    """

    __slots__ = ("_burst", "_calls", "_per_ns", "full_at")

    def __init__(self, *, calls: int, per_ns: int, burst: int) -> None:
        self._calls = calls
        self._per_ns = per_ns
        self._burst = burst
        self.full_at = _LONG_AGO

    def wait_ns(self, boot_ns: int) -> int:
        """Return how long until the bucket holds a whole call; 0 if it does now."""
        missing = self.full_at - boot_ns * self._calls - (self._burst - 1) * self._per_ns
        return -(-missing // self._calls) if missing > 0 else 0

    def take(self, boot_ns: int) -> None:
        self.full_at = max(self.full_at, boot_ns * self._calls) + self._per_ns

    def is_full(self, boot_ns: int) -> bool:
        """Return whether the bucket is as good as a fresh one."""
        return self.full_at <= boot_ns * self._calls

    def inherit(self, other: _Bucket) -> None:
        """Keep the emptiness of *other*, whose rate may be another; rounds against the caller."""
        self.full_at = -(-other.full_at * self._calls // other._calls)


class _Window:
    """A budget's open window."""

    __slots__ = ("end_boot_ns", "start_wall_ns", "used")

    def __init__(self, *, end_boot_ns: int, start_wall_ns: int, used: Amount) -> None:
        self.end_boot_ns = end_boot_ns
        self.start_wall_ns = start_wall_ns
        self.used = used


class _Limit:
    """One limit with the state of every agent under it."""

    def __init__(self, spec: LimitSpec) -> None:
        self.name = spec.name
        self.agents = spec.agents
        self.tools = spec.tools
        self.calls, self.per_ns, self.burst = _rate_of(spec)
        self.argument, self.maximum, self.window_ns = _budget_of(spec)
        self.buckets: dict[str, _Bucket] = {}
        self.windows: dict[str, _Window] = {}

    @property
    def is_rated(self) -> bool:
        return self.per_ns > 0

    @property
    def is_budgeted(self) -> bool:
        return self.window_ns > 0

    def applies(self, agent: str, tool: str) -> bool:
        return (self.agents is None or agent in self.agents) and (
            self.tools is None or tool in self.tools
        )

    def cost(self, arguments: Mapping[str, Any]) -> ChargeItem | LimitRefusal:
        """Return what a call with *arguments* costs, or why that cannot be told (law 4)."""
        if not self.is_budgeted:
            return ChargeItem(self.name, self.is_rated, None)
        if self.argument is None:
            return ChargeItem(self.name, self.is_rated, 1)
        if self.argument not in arguments:
            return LimitRefusal(
                code=ReasonCode.MISSING_ARGUMENT,
                limit=self.name,
                text=f"limit {self.name} needs the argument {self.argument}",
            )
        amount = _amount_of(arguments[self.argument])
        if amount is None:
            return LimitRefusal(
                code=ReasonCode.SCHEMA,
                limit=self.name,
                text=f"limit {self.name} needs {self.argument} to be a number of at least 0",
            )
        return ChargeItem(self.name, self.is_rated, amount)

    def refusal(self, agent: str, item: ChargeItem, boot_ns: int) -> LimitRefusal | None:
        """Return why *item* does not fit now, or None if it does."""
        if self.is_rated and item.is_rated:
            bucket = self.buckets.get(agent)
            wait_ns = bucket.wait_ns(boot_ns) if bucket is not None else 0
            if wait_ns > 0:
                return LimitRefusal(
                    code=ReasonCode.RATE_LIMITED,
                    limit=self.name,
                    text=f"limit {self.name} allows no more calls for {_seconds(wait_ns)} s",
                    retry_after_ns=wait_ns,
                )
        if self.is_budgeted and item.amount is not None:
            window = self._open_window(agent, boot_ns)
            used: Amount = window.used if window is not None else 0
            if _sum(used, item.amount) > self.maximum:
                return LimitRefusal(
                    code=ReasonCode.BUDGET_EXHAUSTED,
                    limit=self.name,
                    text=f"budget {self.name} of {self.maximum} does not cover this call",
                    retry_after_ns=window.end_boot_ns - boot_ns
                    if window is not None and item.amount <= self.maximum
                    else 0,
                )
        return None

    def consume(self, agent: str, item: ChargeItem, boot_ns: int, wall_ns: int) -> None:
        if self.is_rated and item.is_rated:
            self.bucket(agent, boot_ns).take(boot_ns)
        if self.is_budgeted and item.amount is not None:
            window = self._open_window(agent, boot_ns)
            if window is None:
                self.windows[agent] = _Window(
                    end_boot_ns=boot_ns + self.window_ns, start_wall_ns=wall_ns, used=item.amount
                )
            else:
                window.used = _sum(window.used, item.amount)

    def restore_window(self, state: BudgetState, *, boot_ns: int, wall_ns: int) -> None:
        """Continue a window that was open before a restart (law 3)."""
        if not self.is_budgeted:
            return
        elapsed_ns = max(0, wall_ns - state.window_start_wall_ns)
        if elapsed_ns >= self.window_ns:
            return
        self.windows[state.agent] = _Window(
            end_boot_ns=boot_ns + self.window_ns - elapsed_ns,
            start_wall_ns=min(state.window_start_wall_ns, wall_ns),
            used=state.used,
        )

    def inherit(self, other: _Limit, *, boot_ns: int) -> None:
        """Take over what was used under *other*, the earlier limit of this name (law 6)."""
        if self.is_rated and other.is_rated:
            for agent, earlier in other.buckets.items():
                self.bucket(agent, boot_ns).inherit(earlier)
        is_same_measure = self.is_budgeted and other.is_budgeted and self.argument == other.argument
        if is_same_measure:
            for agent, window in other.windows.items():
                opened_boot_ns = window.end_boot_ns - other.window_ns
                self.windows[agent] = _Window(
                    end_boot_ns=opened_boot_ns + self.window_ns,
                    start_wall_ns=window.start_wall_ns,
                    used=window.used,
                )

    def _open_window(self, agent: str, boot_ns: int) -> _Window | None:
        window = self.windows.get(agent)
        if window is not None and boot_ns >= window.end_boot_ns:
            del self.windows[agent]
            return None
        return window

    def bucket(self, agent: str, boot_ns: int) -> _Bucket:
        bucket = self.buckets.get(agent)
        if bucket is None:
            _forget_full(self.buckets, boot_ns)
            bucket = _Bucket(calls=self.calls, per_ns=self.per_ns, burst=self.burst)
            self.buckets[agent] = bucket
        return bucket


class Limiter:
    """All limits of one bundle.

    Raises:
        ValueError: A limit states nothing, half of a rate or budget, or a number below one.
    """

    def __init__(self, limits: Sequence[LimitSpec] = ()) -> None:
        self._limits = tuple(_Limit(spec) for spec in limits)
        self._by_name = {limit.name: limit for limit in self._limits}
        if len(self._by_name) != len(self._limits):
            raise ValueError("two limits have the same name")
        self._index: dict[tuple[str, str], tuple[_Limit, ...]] = {}

    def applies(self, agent: str, tool: str) -> bool:
        """Return whether any limit counts calls of *tool* by *agent*."""
        return bool(self._of(agent, tool))

    def check(
        self, agent: str, tool: str, arguments: Mapping[str, Any], *, boot_ns: int, wall_ns: int
    ) -> LimitRefusal | Charge:
        """Return what the call would cost, or the first limit that it exceeds."""
        limits = self._of(agent, tool)
        if not limits:
            return NO_CHARGE
        items = []
        for limit in limits:
            item = limit.cost(arguments)
            if isinstance(item, LimitRefusal):
                return item
            refusal = limit.refusal(agent, item, boot_ns)
            if refusal is not None:
                return refusal
            items.append(item)
        return Charge(agent, boot_ns, wall_ns, tuple(items))

    def charge(self, charge: Charge) -> LimitRefusal | None:
        """Consume *charge* and return None, or consume nothing and say what no longer fits.

        Between ``check`` and ``charge`` of one call without an ``await`` it always fits.
        """
        # Another limiter may have made the charge: what is not limited here costs nothing.
        known = [(limit, i) for i in charge.items if (limit := self._by_name.get(i.limit))]
        for limit, item in known:
            refusal = limit.refusal(charge.agent, item, charge.boot_ns)
            if refusal is not None:
                return refusal
        for limit, item in known:
            limit.consume(charge.agent, item, charge.boot_ns, charge.wall_ns)
        return None

    def inherit(self, previous: Limiter, *, boot_ns: int) -> None:
        """Take over what was used under the limits of *previous* (law 6)."""
        for limit in self._limits:
            earlier = previous._by_name.get(limit.name)
            if earlier is not None:
                limit.inherit(earlier, boot_ns=boot_ns)

    def export_budgets(self, *, boot_ns: int) -> tuple[BudgetState, ...]:
        """Return every open window, for ``import_budgets`` of another process."""
        return tuple(
            BudgetState(
                limit=limit.name,
                agent=agent,
                window_start_wall_ns=window.start_wall_ns,
                used=window.used,
            )
            for limit in self._limits
            for agent, window in limit.windows.items()
            if boot_ns < window.end_boot_ns
        )

    def import_budgets(self, states: Iterable[BudgetState], *, boot_ns: int, wall_ns: int) -> None:
        """Continue the windows of *states*; those of limits that are gone are left out."""
        for state in states:
            limit = self._by_name.get(state.limit)
            if limit is not None:
                limit.restore_window(state, boot_ns=boot_ns, wall_ns=wall_ns)

    def restore(self, events: Iterable[RecordedCharge], *, boot_ns: int, wall_ns: int) -> None:
        """Replay the charges that were recorded before a restart, oldest first."""
        windows: dict[tuple[str, str], BudgetState] = {}
        then_ns = 0
        for event in events:
            # Law 3: a clock that was wrong for a while, ahead or behind, must not end a window.
            then_ns = max(then_ns, min(event.wall_ns, wall_ns))
            for item in event.items:
                limit = self._by_name.get(item.limit)
                if limit is None:
                    continue
                if limit.is_budgeted and item.amount is not None:
                    at = (item.limit, event.agent)
                    windows[at] = _replayed(
                        windows.get(at), limit, event.agent, then_ns, item.amount
                    )
                if limit.is_rated and item.is_rated:
                    limit.bucket(event.agent, boot_ns).take(boot_ns - (wall_ns - then_ns))
        self.import_budgets(windows.values(), boot_ns=boot_ns, wall_ns=wall_ns)

    def _of(self, agent: str, tool: str) -> tuple[_Limit, ...]:
        if not self._limits:
            return ()
        at = (agent, tool)
        limits = self._index.get(at)
        if limits is None:
            limits = tuple(limit for limit in self._limits if limit.applies(agent, tool))
            if len(self._index) >= _MAX_INDEX:
                self._index.clear()
            self._index[at] = limits
        return limits


class Throttle:
    """Token buckets per (directive's epoch, agent), for directives of level THROTTLE.

    Args:
        burst: Calls that may come at once; by default as many as pass in a minute.
    """

    def __init__(self, *, burst: int | None = None) -> None:
        if burst is not None and burst < 1:
            raise ValueError("burst is at least 1")
        self._burst = burst
        self._buckets: dict[tuple[int, str, int], _Bucket] = {}

    def take(self, epoch: int, agent: str, calls_per_minute: int, *, boot_ns: int) -> bool:
        """Return whether the call may pass, and if so count it. A rate below one passes none."""
        if calls_per_minute < 1:
            return False
        at = (epoch, agent, calls_per_minute)
        bucket = self._buckets.get(at)
        if bucket is None:
            _forget_full(self._buckets, boot_ns)
            bucket = self._buckets[at] = _Bucket(
                calls=calls_per_minute,
                per_ns=_NS_PER_MINUTE,
                burst=self._burst if self._burst is not None else calls_per_minute,
            )
        if bucket.wait_ns(boot_ns) > 0:
            return False
        bucket.take(boot_ns)
        return True


def _forget_full(buckets: dict[_Id, _Bucket], boot_ns: int) -> None:
    """Forget full buckets once there are many: a fresh one is the same."""
    if len(buckets) >= _MAX_BUCKETS:
        for at in [at for at, bucket in buckets.items() if bucket.is_full(boot_ns)]:
            del buckets[at]


def _replayed(
    state: BudgetState | None, limit: _Limit, agent: str, wall_ns: int, amount: Amount
) -> BudgetState:
    """Return the window of *limit* after *agent* was charged *amount* at *wall_ns*."""
    if state is None or wall_ns >= state.window_start_wall_ns + limit.window_ns:
        start_ns, used = wall_ns, amount
    else:
        start_ns, used = state.window_start_wall_ns, _sum(state.used, amount)
    return BudgetState(limit=limit.name, agent=agent, window_start_wall_ns=start_ns, used=used)


def _rate_of(spec: LimitSpec) -> tuple[int, int, int]:
    if spec.rate_calls is None and spec.rate_per_s is None and spec.rate_burst is None:
        return (0, 0, 0)
    calls, per_s = spec.rate_calls or 0, spec.rate_per_s or 0
    burst = calls if spec.rate_burst is None else spec.rate_burst
    if calls < 1 or per_s < 1 or burst < 1:
        raise ValueError(f"limit {spec.name}: a rate needs calls, a period and a burst of >= 1")
    return (calls, per_s * NS_PER_SECOND, burst)


def _budget_of(spec: LimitSpec) -> tuple[str | None, Amount, int]:
    parts = (spec.budget_calls, spec.budget_argument, spec.budget_maximum, spec.budget_per_s)
    if all(part is None for part in parts):
        if spec.rate_calls is None:
            raise ValueError(f"limit {spec.name} limits nothing")
        return (None, 0, 0)
    if spec.budget_per_s is None or spec.budget_per_s < 1:
        raise ValueError(f"limit {spec.name}: a budget needs a period of at least 1 s")
    window_ns = spec.budget_per_s * NS_PER_SECOND
    if spec.budget_argument is None:
        if spec.budget_calls is None or spec.budget_maximum is not None or spec.budget_calls < 0:
            raise ValueError(f"limit {spec.name}: a budget counts calls, or sums an argument")
        return (None, spec.budget_calls, window_ns)
    maximum = _amount_of(spec.budget_maximum)
    if maximum is None or spec.budget_calls is not None:
        raise ValueError(f"limit {spec.name}: a sum needs a maximum of at least 0, and no calls")
    return (spec.budget_argument, maximum, window_ns)


def _amount_of(value: object) -> Amount | None:
    """Return *value* as an exact amount, or None if it is none (law 4)."""
    if type(value) is int:
        return value if value >= 0 else None
    if isinstance(value, float):
        # repr is the shortest text that means this very double: 0.1 counts as 0.1.
        return Decimal(repr(value)) if math.isfinite(value) and value >= 0 else None
    if isinstance(value, Decimal):
        return value if value.is_finite() and value >= 0 else None
    return None


def _sum(one: Amount, other: Amount) -> Amount:
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return _EXACT.add(Decimal(one), Decimal(other))


def _read_item(item: object) -> ChargeItem:
    if not isinstance(item, dict) or not isinstance(item.get("limit"), str):
        raise UntrustedInputError("a recorded charge names no limit")
    return ChargeItem(item["limit"], item.get("rate") is True, _read_amount(item.get("amount")))


def _read_amount(text: object) -> Amount | None:
    if text is None:
        return None
    if not isinstance(text, str) or len(text) > _MAX_AMOUNT_CHARS:
        raise UntrustedInputError("a recorded charge has an amount that is no text")
    try:
        amount = _amount_of(Decimal(text))
    except DecimalException as exc:
        raise UntrustedInputError("a recorded charge has an amount that is no number") from exc
    if amount is None or abs(Decimal(amount).adjusted()) > _MAX_AMOUNT_DIGITS:
        raise UntrustedInputError("a recorded charge has a negative or endless amount")
    return amount


def _seconds(wait_ns: int) -> int:
    return -(-wait_ns // NS_PER_SECOND)
