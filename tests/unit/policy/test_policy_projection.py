# SPDX-License-Identifier: Apache-2.0
"""What a policy can read, from its syntax tree."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.policy.cedar_text import parse_statements
from sidecar.policy.projection import NOTHING, Projection, Read, merge, projection_of


def project(*conditions: str) -> Projection:
    text = "".join(
        f"permit(principal, action, resource) when {{ {condition} }};" for condition in conditions
    )
    problems: list[Any] = []
    statements = parse_statements(text.encode(), path="p", problems=problems)
    assert not problems
    return projection_of(statement.tree for statement in statements)


@pytest.mark.parametrize(
    ("condition", "reads"),
    [
        ("true", []),
        ("principal.facts.limit > 3", []),
        ('principal in Group::"x" && resource.class == "read"', []),
        ('context.args.a == "x"', ["args.a"]),
        ('context.args["odd name"] == "x"', ["args.odd name"]),
        ("context.args.a.b.c > 3", ["args.a.b.c"]),
        ('context.session like "a*"', ["session"]),
        ('context.destination.host == "x"', ["destination.host"]),
        ("context.args has a", ["args.a?"]),
        ("context.args has a.b", ["args.a.b?", "args.a?"]),
        ("context has destination", ["destination?"]),
        ("context.args has a && context.args.a > 3", ["args.a"]),
        ("context.args has a.b && context.args.a.b > 3", ["args.a.b", "args.a?"]),
        ('context.args.a == "x" || context.args.a.b == 3', ["args.a"]),
        ('context.args.l.contains("x")', ["args.l"]),
        ("context.args.l.containsAll([context.args.a])", ["args.a", "args.l"]),
        ("context.args.l.isEmpty()", ["args.l"]),
        ("!context.args.b", ["args.b"]),
        ("-context.args.i < 3", ["args.i"]),
        ("context.args.i + context.args.j * 2 < 3", ["args.i", "args.j"]),
        ('context.args.n.lessThan(decimal("1.0"))', ["args.n"]),
        ("ip(context.args.s).isLoopback()", ["args.s"]),
        ("datetime(context.args.s).offset(duration(context.args.t)) < datetime(\"2024-01-01\")",
         ["args.s", "args.t"]),
        ("if context.args.b then context.args.i > 1 else context.args.j > 1",
         ["args.b", "args.i", "args.j"]),
        ("principal.facts.payees.contains(context.args.a)", ["args.a"]),
        ("[context.args.a, context.args.b].contains(3)", ["args.a", "args.b"]),
        ("{x: context.args.a} == {x: 3}", ["args.a"]),
        ("{x: context.args}.x.a == 3", ["args"]),
        ("(if true then context.args else context.args).a == 3", ["args"]),
        ("(if true then context else context).args.a == 3", [""]),
        ("context.args == context.args", ["args"]),
        ("context == context", [""]),
        ("[context.args].isEmpty()", ["args"]),
        ("[context].isEmpty()", [""]),
        ("context.args is Agent", ["args"]),
        ('principal is Agent in context.args.g', ["args.g"]),
        ("principal.hasTag(context.args.a)", ["args.a"]),
        ("principal.getTag(context.args.a) == context.args.b", ["args.a", "args.b"]),
    ],
)  # fmt: skip
def test_reads_are_found(condition: str, reads: list[str]) -> None:
    """Static paths are read precisely, records used as values whole, `has` by presence."""
    found = project(condition)

    assert sorted(
        ".".join(read.path) + ("?" if read.is_presence else "") for read in found.reads
    ) == sorted(reads)


def test_wider_reads_cover_narrower_ones() -> None:
    """Reading a record whole covers its attributes and their presence, over all policies."""
    found = project(
        "context.args has a", "context.args.a.b == 1", "context.args.a == context.args.c"
    )

    assert found.reads == (Read(("args", "a")), Read(("args", "c")))
    assert found.is_read(("args", "a", "b"))
    assert not found.is_read(("args",))
    assert found.below("args") == (Read(("a",)), Read(("c",)))
    assert project("context == context").below("args") == (Read(()),)
    assert merge([found, project("context.args == context.args")]).reads == (Read(("args",)),)
    assert merge([]) == NOTHING


def test_names_hold_every_attribute_that_is_mentioned() -> None:
    """The context is cut by names, wherever they occur."""
    assert project("context.args has a && {b: principal.facts.c}.b == 1").names == {
        "args", "a", "b", "facts", "c",
    }  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        {"somethingNew": {"left": {"Var": "context"}, "right": {"Value": 1}}},
        {"Unknown": {"name": "x"}},
        {"Slot": "?principal"},
        {},
        "odd",
        {"a": 1, "b": 2},
        {"!": {"arg": {"futureOperator": {}}}},
    ],
)
def test_unknown_operators_read_everything(body: Any) -> None:
    """An operator that we do not know may read anything, so everything is in the key."""
    found = projection_of([{"conditions": [{"kind": "when", "body": body}]}])

    assert found.reads == (Read(()),)
    assert str(found.reads[0]) == "context"
    assert str(Read(("args", "a"), is_presence=True)) == "context.args.a (whether present)"
