# SPDX-License-Identifier: Apache-2.0
"""Cache keys: C06, C07, and the law that equal keys mean equal verdicts."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.model import Destination
from sidecar.policy import slices
from sidecar.policy.engine import PolicyEngine
from sidecar.policy.projection import Projection, merge

Call = dict[str, Any]


def call(tool: str = "send_money", /, **changes: Any) -> Call:
    arguments = {"recipient": "acme", "amount": 5} if tool == "send_money" else {}
    return {
        "agent": "banking", "session": "s1", "tool": tool, "arguments": arguments,
        "destination": None, **changes,
    }  # fmt: skip


def violations(engine: PolicyEngine, calls: Iterable[Call]) -> list[tuple[Any, Any]]:
    """Return the verdicts that differ although their calls have one key."""
    seen: dict[Any, Any] = {}
    found = []
    for one in calls:
        key = engine.cache_key(**one)
        verdict = engine.decide(**one)
        outcome = (
            verdict.effect, verdict.reason, verdict.policy_ids, verdict.hold, verdict.shadow_ids,
        )  # fmt: skip
        if seen.setdefault(key, outcome) != outcome:
            found.append((seen[key], outcome))
    return found


def test_a_key_holds_what_policies_read_and_nothing_else(engine: Any) -> None:
    """Arguments that no policy reads do not change the key; those that are read do."""
    found = engine(
        '@id("p") permit(principal, action == Action::"send_money", resource) '
        'when { context.args.recipient == "acme" && context.args has memo };'
    )
    base = call()

    def key(**arguments: Any) -> Any:
        return found.cache_key(**{**base, "arguments": {**base["arguments"], **arguments}})

    assert key() == ("send_money", "banking", False, "acme")
    assert key(amount=7, tags=["x"]) == key()
    assert key(recipient="bob") != key()
    assert key(memo="a") == key(memo="b") != key(memo=None) == key()
    assert found.cache_key(**{**base, "session": "s2"}) == key()
    assert found.slice_of("send_money").describe_key() == (
        "tool", "agent", "args.memo (whether present)", "args.recipient",
    )  # fmt: skip


def test_a_tool_whose_policies_read_nothing_has_one_key_per_agent(engine: Any) -> None:
    """Such a tool hits on every call."""
    found = engine(
        '@id("p") permit(principal, action == Action::"send_money", resource) '
        "when { principal.facts.limit > 5 };"
    )

    keys = {
        found.cache_key(**call(arguments={"recipient": name, "amount": amount}, session=session))
        for name in "abc" for amount in range(3) for session in "xy"
    }  # fmt: skip

    assert keys == {("send_money", "banking")}


def test_c06_keys_name_agent_and_tool_and_the_session_where_it_matters(engine: Any) -> None:
    """One agent's key is never another's; sessions and destinations count if they are read."""
    found = engine(
        '@id("p") permit(principal, action == Action::"ping", resource) '
        'when { context.session == "s1" };'
        '@id("q") permit(principal, action == Action::"fetch", resource) '
        'when { context.destination.host == "a" };'
    )
    a = Destination(scheme="https", host="a", port=443)
    b = Destination(scheme="https", host="b", port=443)

    calls = [
        call("ping"), call("ping", agent="intern"), call("ping", session="s2"),
        call("files.read"), call("fetch", destination=a), call("fetch", destination=b),
        call("fetch"), call("nothing"), call("ping", agent="nobody"),
    ]  # fmt: skip

    assert len({found.cache_key(**one) for one in calls}) == len(calls)
    assert found.cache_key(**call("fetch", destination=a, session="s2")) == found.cache_key(
        **call("fetch", destination=a)
    )


WHOLE = (
    '@id("p") permit(principal, action == Action::"send_money", resource) '
    "when { context.args == context.args };"
)


def _tricky() -> list[dict[str, Any]]:
    parts = ["", "a", "b", "ab", "a,b", "a|b", '"', "\\", "[a]", "a\x00b", "a\x1fb", ":", "{", "é", "1",
             "x" * 256, "x" * 257, "x" * 257 + "y"]  # fmt: skip
    found: list[dict[str, Any]] = []
    for first, second in itertools.product(parts, repeat=2):
        found += [
            {"recipient": first, "memo": second},
            {"recipient": first, "tags": [second]},
            {"recipient": first, "place": {"city": second}},
            {"recipient": "r", "tags": [first, second]},
            {"recipient": first + second, "tags": []},
        ]
    found += [{"recipient": "r", "count": n} for n in range(-20, 20)]
    found += [{"recipient": "r", "place": {"city": "c", "zip": n}} for n in range(20)]
    found += [{"recipient": "r", "amount": n / 4} for n in range(40)]
    found += [{"recipient": "r", "urgent": flag} for flag in (True, False)]
    unique = {json.dumps(one, sort_keys=True): one for one in found}
    return [{"amount": 5, **one} for one in unique.values()]


def test_c07_a_million_pairs_of_arguments_do_not_collide(engine: Any) -> None:
    """Delimiters, lists and strings, nesting, long text: different arguments, different keys."""
    found = engine(WHOLE)
    tricky = _tricky()

    keys = {found.cache_key(**call(arguments=arguments)) for arguments in tricky}

    assert len(tricky) * (len(tricky) - 1) // 2 >= 1_000_000
    # 1 and 1.0, 0 and 0.0 are one number; nothing else may be equal.
    assert len(keys) == len({json.dumps(one, sort_keys=True).replace(".0", "") for one in tricky})


def test_c07_collisions_negative_control(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that joins text with a delimiter collides, and so allows what it should not."""
    policies = (
        '@id("p") permit(principal, action == Action::"send_money", resource) '
        'when { context.args has tags && context.args.tags == ["a", "b,c"] };'
    )
    calls = [
        call(arguments={"recipient": "r", "amount": 1, "tags": tags})
        for tags in (["a,b", "c"], ["a", "b,c"])
    ]
    assert not violations(engine(policies), calls)
    monkeypatch.setattr(slices, "key_part", lambda of: ",".join)

    assert violations(engine(policies), calls)


_value = st.one_of(
    st.none(), st.booleans(), st.sampled_from([0, 1, -1, 2**53, 0.0, 1.0, 0.5, 0.00001]),
    st.sampled_from(["", "1", "a", "acme", "True", "x" * 300]),
    st.lists(st.sampled_from(["a", "b", 1, None]), max_size=2),
    st.dictionaries(st.sampled_from(["city", "zip", "q"]), st.sampled_from(["a", 1, None, 1.5])),
)  # fmt: skip
_arguments = st.dictionaries(
    st.sampled_from(
        ["recipient", "amount", "count", "urgent", "tags", "memo", "place", "url", "depth", "odd"]
    ),
    _value,
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_arguments, min_size=2, max_size=30))
def test_c07_equal_keys_mean_equal_verdicts_for_any_arguments(
    engine: Any, everything: list[dict[str, Any]]
) -> None:
    """Also for arguments that no schema would let through."""
    for policies in (WHOLE, MIXED):
        found = engine(policies)

        assert not violations(found, [call(arguments=one) for one in everything])


MIXED = (
    '@id("p") permit(principal, action == Action::"send_money", resource) when { '
    'context.args has place.zip && context.args.place.zip == 1 || context.args.recipient == "acme" };'
    '@id("h") @hold("x") permit(principal, action == Action::"send_money", resource) when { '
    'context.args has tags && context.args.tags.contains("a") };'
    '@id("f") forbid(principal, action == Action::"send_money", resource) when { '
    'context.args has memo && context.args.amount.lessThan(decimal("1.0")) };'
    '@id("s") @shadow forbid(principal, action == Action::"send_money", resource) when { '
    "context.args has count && context.args.count * 4611686018427387904 > 0 };"
)


# -- random bundles ---------------------------------------------------------------------------

_SEND_ATOMS = [
    'context.args.recipient == "acme"', 'context.args.recipient like "a*"',
    "principal.facts.payees.contains(context.args.recipient)",
    'context.args.amount.lessThan(decimal("1.5"))', 'context.args.amount == decimal("1.0")',
    "context.args has count", "context.args has count && context.args.count > 1",
    "context.args has count && context.args.count * 4611686018427387904 > 0",
    "context.args has urgent && context.args.urgent", "!(context.args has urgent)",
    'context.args has tags && context.args.tags.contains("a")',
    'context.args has tags && context.args.tags == ["a", "b"]',
    "context.args has tags && context.args.tags.isEmpty()",
    'context.args has memo && context.args.memo == "x"', "context.args has memo",
    'context.args has place && context.args.place.city == "a"',
    "context.args has place.zip", "context.args has place && context.args.place has zip",
    "context.args has place.zip && context.args.place.zip == 1",
    "context.args has place && context.args.place == context.args.place",
    "context.args has place && [context.args.place].contains(context.args.place)",
    "context.args == context.args",
    "{x: context.args.recipient}.x == context.session",
]  # fmt: skip
_COMMON_ATOMS = [
    'context.session == "s1"', "principal.facts.limit > 5", "principal has labels.env",
    'principal in Group::"finance"', "principal.facts has trial && principal.facts.trial",
    'resource.class == "write"', 'principal == Agent::"intern"', "true",
]  # fmt: skip
_FETCH_ATOMS = [
    'context.destination.host == "a"', "context.destination.port == 443",
    "[context.destination].isEmpty()", "context.args has depth && context.args.depth > 1",
    'context.args.url like "https*"', "context has destination",
]  # fmt: skip


def _conditions(atoms: list[str]) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(atoms),
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda two: f"({two[0]}) && ({two[1]})"),
            st.tuples(inner, inner).map(lambda two: f"({two[0]}) || ({two[1]})"),
            inner.map(lambda one: f"!({one})"),
            st.tuples(inner, inner, inner).map(
                lambda three: "(if {} then {} else {})".format(*three)
            ),
        ),
        max_leaves=4,
    )


@st.composite
def _policies(draw: st.DrawFn) -> str:
    text = ""
    for number in range(draw(st.integers(1, 5))):
        tool = draw(st.sampled_from(["send_money", "send_money", "fetch", ""]))
        atoms = {"send_money": _SEND_ATOMS, "fetch": _FETCH_ATOMS, "": []}[tool] + _COMMON_ATOMS
        kind = draw(st.sampled_from(["permit", "permit", "hold", "forbid", "shadow"]))
        head = draw(st.sampled_from(["principal", 'principal == Agent::"banking"']))
        action = f'action == Action::"{tool}"' if tool else "action"
        text += f'@id("p{number}") '
        text += {"hold": '@hold("x") ', "shadow": "@shadow "}.get(kind, "")
        if not tool and kind != "forbid":
            text += '@dangerous("test") '
        effect = "permit" if kind in {"permit", "hold"} else "forbid"
        text += f"{effect}({head}, {action}, resource)"
        for word in draw(st.lists(st.sampled_from(["when", "unless"]), max_size=2)):
            text += f" {word} {{ {draw(_conditions(atoms))} }}"
        text += ";\n"
    return text


_send_arguments = st.fixed_dictionaries(
    {
        "recipient": st.sampled_from(["acme", "bob", "s1"]),
        "amount": st.sampled_from([1, 1.0, 0.5, 5, 0.00001]),
    },
    optional={
        "count": st.sampled_from([1, 2, 2.0, 0]),
        "urgent": st.booleans(),
        "tags": st.lists(st.sampled_from(["a", "b"]), max_size=2),
        "memo": st.sampled_from([None, "x", "y"]),
        "place": st.fixed_dictionaries(
            {"city": st.sampled_from("ab")}, optional={"zip": st.integers(0, 1)}
        ),
    },
)
_destinations = st.sampled_from(
    [None, *(Destination(scheme=s, host=h, port=p) for s, h, p in
             [("https", "a", 443), ("https", "b", 443), ("http", "a", 80)])]
)  # fmt: skip
_calls = st.one_of(
    st.builds(
        lambda agent, session, arguments: call(
            agent=agent, session=session, arguments=arguments
        ),
        st.sampled_from(["banking", "intern"]), st.sampled_from(["s1", "s2"]), _send_arguments,
    ),
    st.builds(
        lambda agent, url, depth, where: call(
            "fetch", agent=agent, arguments={"url": url, **depth}, destination=where
        ),
        st.sampled_from(["banking", "intern"]), st.sampled_from(["https://a/", "http://a/"]),
        st.fixed_dictionaries({}, optional={"depth": st.integers(0, 2)}), _destinations,
    ),
)  # fmt: skip


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_policies(), st.lists(_calls, min_size=10, max_size=25))
def test_c07_equal_keys_mean_equal_verdicts_over_random_bundles(
    engine: Any, policies: str, calls: list[Call]
) -> None:
    """Any policies, any calls: what the cache would answer is what a fresh decision says."""
    found = engine(policies)
    # Neighbours of each call, differing in one thing, make equal keys likely.
    near = [
        {**one, "arguments": {**one["arguments"], **other["arguments"]}}
        for one, other in itertools.pairwise(calls)
        if one["tool"] == other["tool"]
    ]

    assert not violations(found, [*calls, *near])


READS_ALL = (
    '@id("p") permit(principal, action == Action::"send_money", resource) when { '
    'context.args.recipient == "acme" && context.session == "s1" && context.args has memo && '
    "context.args has place.zip && context.args.place.zip == 1 && "
    'context.args.amount.lessThan(decimal("3.0")) };'
)
_MATCHING = {"recipient": "acme", "amount": 1, "memo": "x", "place": {"city": "a", "zip": 1}}
_NEIGHBOURS = [
    call(arguments=_MATCHING),
    call(arguments=_MATCHING, session="s2"),
    call(arguments={**_MATCHING, "recipient": "bob"}),
    call(arguments={**_MATCHING, "amount": 9}),
    call(arguments={**_MATCHING, "memo": None}),
    call(arguments={**_MATCHING, "place": {"city": "a", "zip": 2}}),
]


@pytest.mark.parametrize(
    "dropped", ["args.recipient", "session", "args.memo", "args.place.zip", "args.amount"]
)
def test_a_projection_that_forgets_one_attribute_negative_control(
    dropped: str, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drop any one read from the projection, and equal keys get different verdicts."""

    def forgetful(projections: Iterable[Projection]) -> Projection:
        whole = merge(projections)
        kept = tuple(read for read in whole.reads if ".".join(read.path) != dropped)
        return Projection(kept, whole.names)

    assert not violations(engine(READS_ALL), _NEIGHBOURS)
    monkeypatch.setattr(slices, "merge", forgetful)

    assert violations(engine(READS_ALL), _NEIGHBOURS)


def test_a_number_that_is_read_by_no_policy_but_mentioned_by_name(engine: Any) -> None:
    """What fails to convert denies the call, so it has a key of its own."""
    found = engine(
        '@id("p") permit(principal, action == Action::"send_money", resource) '
        "when { context.args has amount };"
    )
    good, bad = call(), call(arguments={"recipient": "acme", "amount": 0.00001})

    assert found.cache_key(**good) != found.cache_key(**bad)
    assert not violations(found, [good, bad])


def test_keys_are_small_and_hashable(engine: Any) -> None:
    """Large arguments do not end up in the cache."""
    found = engine(WHOLE)

    key = found.cache_key(
        **call(arguments={"recipient": "x" * 100_000, "amount": 1, "tags": ["y" * 100_000]})
    )

    assert hash(key)
    assert len(repr(key)) < 1000
