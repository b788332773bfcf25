# SPDX-License-Identifier: Apache-2.0
"""``limits.yaml``: how often an agent may call, and how much it may spend.

Laws:

1. A limit is counted per agent; agents or tools left out mean all of them.
2. A limit is a rate (token bucket) or a budget (sum or count over a span), never both.
3. A budget that sums an argument names its tools, and each of them requires that number.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Final

from pydantic import Field

from sidecar.documents import Document, did_you_mean, short, validate_document
from sidecar.errors import DocumentError
from sidecar.policy.fields import FileModel, LimitName, Version, duration
from sidecar.policy.tools import ToolSpec

__all__ = ["BudgetSpec", "LimitSpec", "RateSpec", "parse_limits"]

_DAY: Final = 86_400
_MAX_CALLS: Final = 1_000_000_000
_Report = Callable[[tuple[str | int, ...], str, str], None]
_Calls = Annotated[int, Field(ge=1, le=_MAX_CALLS)]
_Span = Annotated[int, duration(least_s=1, most_s=31 * _DAY)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RateSpec:
    """At most ``calls`` per ``per_s`` seconds over time, and ``burst`` at once."""

    calls: int
    per_s: int
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSpec:
    """At most ``maximum`` per ``per_s`` seconds, of calls or of the argument ``argument``."""

    maximum: Decimal
    per_s: int
    argument: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSpec:
    """One limit. ``agents`` or ``tools`` being None means all. Exactly one of the two is set."""

    name: str
    agents: frozenset[str] | None
    tools: frozenset[str] | None
    rate: RateSpec | None
    budget: BudgetSpec | None

    def applies_to(self, *, agent: str, tool: str) -> bool:
        """Return whether a call of *tool* by *agent* counts."""
        return (self.agents is None or agent in self.agents) and (
            self.tools is None or tool in self.tools
        )


class _Rate(FileModel):
    calls: _Calls
    per: _Span
    burst: _Calls | None = None


class _Budget(FileModel):
    calls: _Calls | None = None
    sum: str | None = None
    max: Annotated[int | float, Field(gt=0, le=10**14)] | None = None
    per: _Span


class _Limit(FileModel):
    name: LimitName
    agents: Annotated[list[str], Field(min_length=1)] | None = None
    tools: Annotated[list[str], Field(min_length=1)] | None = None
    rate: _Rate | None = None
    budget: _Budget | None = None


class _LimitsFile(FileModel):
    version: Version
    limits: list[_Limit]


def parse_limits(
    document: Document,
    problems: list[DocumentError],
    *,
    agents: Collection[str],
    tools: Mapping[str, ToolSpec],
    known_tools: Collection[str],
) -> tuple[LimitSpec, ...]:
    """Return the limits of *document*; what is wrong with one goes to *problems*.

    *known_tools* also holds the names of tools that have problems of their own.

    Raises:
        DocumentErrors: the file does not have the form of a limits file.
    """
    parsed = validate_document(document, _LimitsFile)
    lines: dict[str, int] = {}
    limits = []
    for position, limit in enumerate(parsed.limits):
        place = ("limits", position)

        def report(
            key: tuple[str | int, ...], message: str, hint: str, _at: int = position
        ) -> None:
            problems.append(document.error(("limits", _at, *key), message, hint=hint))

        first = lines.setdefault(limit.name, document.line_of(place))
        if first != document.line_of(place):
            report(("name",), f"is used on line {first} too", "give each limit its own name")
        for key, names, known in (
            ("agents", limit.agents, agents),
            ("tools", limit.tools, known_tools),
        ):
            for index, name in enumerate(names or ()):
                if name not in known:
                    report(
                        (key, index),
                        f"there is no {key[:-1]} {short(name)}",
                        did_you_mean(name, known),
                    )
        if (limit.rate is None) == (limit.budget is None):
            report((), "needs either `rate` or `budget`", "keep exactly one of them")
            continue
        budget = None if limit.budget is None else _budget(limit, tools, report)
        if limit.budget is not None and budget is None:
            continue
        limits.append(
            LimitSpec(
                name=limit.name,
                agents=None if limit.agents is None else frozenset(limit.agents),
                tools=None if limit.tools is None else frozenset(limit.tools),
                rate=None if limit.rate is None else _rate(limit.rate),
                budget=budget,
            )
        )
    return tuple(limits)


def _rate(rate: _Rate) -> RateSpec:
    return RateSpec(calls=rate.calls, per_s=rate.per, burst=rate.burst or rate.calls)


def _budget(limit: _Limit, tools: Mapping[str, ToolSpec], report: _Report) -> BudgetSpec | None:
    budget = limit.budget
    if budget is None:
        return None
    if budget.calls is not None:
        if budget.sum is not None or budget.max is not None:
            report(
                ("budget",), "counts calls and sums an argument", "keep one: calls, or sum + max"
            )
            return None
        return BudgetSpec(maximum=Decimal(budget.calls), per_s=budget.per, argument=None)
    if budget.sum is None or budget.max is None:
        report(("budget",), "needs `calls`, or `sum` and `max`", "")
        return None
    if limit.tools is None:
        report(("tools",), "a budget that sums an argument names its tools", "add `tools: [...]`")
        return None
    for name in limit.tools:
        if name in tools:
            _check_summed(name, tools[name], budget.sum, report)
    return BudgetSpec(maximum=Decimal(str(budget.max)), per_s=budget.per, argument=budget.sum)


def _check_summed(name: str, tool: ToolSpec, argument: str, report: _Report) -> None:
    schema = tool.arguments_schema
    found = schema["properties"].get(argument)
    if found is None:
        hint = did_you_mean(argument, schema["properties"])
        report(("budget", "sum"), f"{name} has no argument {short(argument)}", hint)
    elif found.get("type") not in {"integer", "number"}:
        report(("budget", "sum"), f"{short(argument)} of {name} is not a number", "")
    elif argument not in schema.get("required", ()):
        report(
            ("budget", "sum"),
            f"{short(argument)} of {name} is optional",
            "a budget can only sum what every call must say: make it required",
        )
