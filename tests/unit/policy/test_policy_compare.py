# SPDX-License-Identifier: Apache-2.0
"""Whether a bundle may permit more: "no" must be true for every call, "maybe" needs a reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.model import Destination, Effect
from sidecar.policy import compare
from sidecar.policy.bundle import Bundle, load_bundle_from_files
from sidecar.policy.compare import may_permit_more
from sidecar.policy.engine import PolicyEngine, PolicyVerdict
from sidecar.policy.policies import TIERS

SEND = 'action == Action::"send_money", resource'
POOL: Mapping[str, str] = {
    "p-all": f"permit(principal, {SEND});",
    "p-acme": f'permit(principal, {SEND}) when {{ context.args.recipient == "acme" }};',
    "p-small": f'permit(principal, {SEND}) when {{ context.args.amount.lessThan(decimal("10.0")) }};',
    "p-count": f"permit(principal, {SEND}) when "
    "{ context.args has count && context.args.count * 4611686018427387904 > 0 };",
    "p-session": f'permit(principal, {SEND}) when {{ context.session == "s1" }};',
    "p-bank": f'permit(principal == Agent::"banking", {SEND});',
    "p-ping": 'permit(principal, action == Action::"ping", resource);',
    "p-fetch": 'permit(principal, action == Action::"fetch", resource);',
    "p-fetch-x": 'permit(principal, action == Action::"fetch", resource) '
    'when { context.destination.host == "x.com" };',
    "h-all": f'@hold("look") @tier("MEDIUM") permit(principal, {SEND});',
    "h-acme": f'@hold("look") @tier("HIGH") @quorum("2") permit(principal, {SEND}) '
    'when { context.args.recipient == "acme" };',
    "h-role": f'@hold("look") @tier("HIGH") @approver_role("release") permit(principal, {SEND});',
    "f-intern": f'forbid(principal == Agent::"intern", {SEND});',
    "f-big": f'forbid(principal, {SEND}) when {{ context.args.amount.greaterThan(decimal("50.0")) }};',
    "f-any": 'forbid(principal, action, resource) when { context.session == "s2" };',
    "s-all": f"@shadow permit(principal, {SEND});",
    "s-none": "@shadow forbid(principal, action, resource);",
}
ORDER = {Effect.DENY: 0, Effect.HOLD: 1, Effect.ALLOW: 2}
Placed = tuple[tuple[str, str], ...]


def text_of(name: str, variant: str = "") -> str:
    """Return the policy *name*, or one of the same id that says something else."""
    text = POOL[name]
    if variant == "open":  # the same head without conditions: permits more, or forbids more
        text = text.split(" when ")[0].rstrip(";") + ";"
    if variant == "closed":
        text = text.rstrip(";") + ' when { context.session == "nobody" };'
    return f'@id("{name}") {text}'


def _calls() -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []
    for agent, session in itertools.product(("banking", "intern"), ("s1", "s2", "")):
        base = {"agent": agent, "session": session, "destination": None}
        for recipient, amount, count in itertools.product(
            ("acme", "eve"), (5, 70, 0.123456, 1e300), (None, 0, 1, 3)
        ):
            arguments = {"recipient": recipient, "amount": amount}
            if count is not None:
                arguments["count"] = count
            calls.append({**base, "tool": "send_money", "arguments": arguments})
        calls.append({**base, "tool": "ping", "arguments": {}})
        for destination in (Destination(scheme="https", host="x.com", port=443), None):
            calls.append(
                {**base, "tool": "fetch", "arguments": {"url": "x"}, "destination": destination}
            )
    return calls


CALLS = _calls()


@pytest.fixture(scope="module")
def loaded(files: Any) -> Callable[[Placed, Placed], tuple[Bundle, list[PolicyVerdict]]]:
    """Make a bundle of the policies in two files, and judge every call by it."""

    @lru_cache(maxsize=512)
    def load(first: Placed, second: Placed) -> tuple[Bundle, list[PolicyVerdict]]:
        made = files("\n".join(text_of(*item) for item in first))
        made["policies/second.cedar"] = "\n".join(text_of(*item) for item in second).encode()
        bundle = load_bundle_from_files(made)
        engine = PolicyEngine(bundle)
        return bundle, [engine.decide(**one) for one in CALLS]

    return load


def permits_more(old: PolicyVerdict, new: PolicyVerdict) -> bool:
    """Return whether *new* lets through what *old* did not, or asks less of humans for it."""
    if ORDER[new.effect] != ORDER[old.effect] or new.hold is None or old.hold is None:
        return ORDER[new.effect] > ORDER[old.effect]
    return (
        TIERS.index(new.hold.tier) < TIERS.index(old.hold.tier)
        or new.hold.quorum < old.hold.quorum
        or new.hold.expiry_s > old.hold.expiry_s
        or new.hold.approver_role != old.hold.approver_role
    )


PLACED = st.lists(
    st.tuples(st.sampled_from(sorted(POOL)), st.sampled_from(["", "", "", "open", "closed"])),
    max_size=7,
    unique_by=lambda item: item[0],
)


@st.composite
def changes(draw: Any) -> tuple[tuple[Placed, Placed], tuple[Placed, Placed]]:
    """Draw policies, and a change: some go, some come, some differ, some stand elsewhere."""
    old = draw(PLACED)
    kept = [item for item in old if draw(st.integers(0, 3))]
    if draw(st.booleans()):  # few of wholly random changes are tightenings, so help
        kept = [item for item in old if item in kept or item[0][0] in "fh"]
    come = [item for item in draw(PLACED) if item[0] not in dict(old)]
    if draw(st.booleans()):
        come = [item for item in come if item[0][0] in "fs"]
    new = draw(st.permutations([*kept, *come])) if draw(st.booleans()) else [*kept, *come]
    cut_old, cut_new = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    return (
        (tuple(old[:cut_old]), tuple(old[cut_old:])),
        (tuple(new[:cut_new]), tuple(new[cut_new:])),
    )


@given(change=changes())
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_no_means_that_no_call_gets_further(loaded: Any, change: Any) -> None:
    """Whenever it says that nothing more is permitted, no verdict is laxer than it was."""
    (old, before), (new, after) = (loaded(*placed) for placed in change)

    is_more, reasons = may_permit_more(old, new)

    assert is_more is bool(reasons)
    if not is_more:
        laxer = [
            call for call, a, b in zip(CALLS, before, after, strict=True) if permits_more(a, b)
        ]
        assert not laxer


def of(*names: str) -> tuple[Placed, Placed]:
    """Return the arrangement of whole policies in one file; ``name~open`` is a variant."""
    parts = tuple(tuple((*name.split("~"), "")[:2]) for name in names)
    return parts, ()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (("p-all",), ("p-all",), None),
        (("p-all", "p-acme"), ("p-acme",), None),
        (("p-all",), ("p-all", "f-intern"), None),
        (("p-all",), (), None),
        (("p-all", "f-intern"), ("f-intern", "f-big", "p-all"), None),
        (("p-all", "s-all", "s-none"), ("p-all",), None),
        (("p-all",), ("p-all", "s-all"), None),
        (("p-small", "p-all", "f-big"), ("p-all", "f-big"), None),
        ((), ("p-ping",), "permit p-ping is new"),
        (("p-acme",), ("p-acme~open",), "permit p-acme has changed"),
        (("p-acme",), ("p-acme~closed",), "permit p-acme has changed"),
        (("p-all", "f-intern"), ("p-all",), "forbid f-intern is gone"),
        (("p-all", "f-big"), ("p-all", "f-big~closed"), "forbid f-big has changed"),
        # a permit beside a hold alone would allow what was held
        (("p-all", "h-all"), ("p-all",), "hold h-all is gone"),
        (("h-all", "h-acme"), ("h-all",), "hold h-acme is gone"),
        # the first hold of the highest tier says who decides
        (("h-acme", "h-role"), ("h-role", "h-acme"), "the holds stand in another order"),
        # what cannot be evaluated denies: arithmetic overflows, a number has too many digits
        (("p-all", "p-count"), ("p-all",), "permit p-count is gone, and denied what it could not"),
        (("p-all", "p-small"), ("p-all",), "no policy reads amount of send_money any more"),
        (("p-fetch", "p-fetch-x"), ("p-fetch",), "no policy reads the destination of fetch"),
    ],
)
def test_what_may_permit_more(
    loaded: Any, old: tuple[str, ...], new: tuple[str, ...], reason: str | None
) -> None:
    """The table of changes; None is a proof that nothing more is permitted."""
    is_more, reasons = may_permit_more(loaded(*of(*old))[0], loaded(*of(*new))[0])

    assert is_more is (reason is not None)
    if reason is not None:
        assert len(reasons) == 1
        assert reasons[0].startswith(reason)


@pytest.mark.parametrize(
    "path",
    [
        "tools.yaml",
        "agents.yaml",
        "operators.yaml",
        "limits.yaml",
        "approvals.yaml",
    ],
)
def test_another_byte_of_any_registry_file_may_permit_more(files: Any, path: str) -> None:
    """Not even a comment: what the file says is not understood here, only compared."""
    old = files('@id("p") permit(principal, action == Action::"ping", resource);')
    empty = {"limits.yaml": b"version: 1\nlimits: []\n", "approvals.yaml": b"version: 1\n"}
    new = {**old, path: old.get(path, empty.get(path, b"")) + b"# hello\n"}

    is_more, reasons = may_permit_more(load_bundle_from_files(old), load_bundle_from_files(new))

    assert (is_more, reasons) == (True, (f"{path} differs",))
    assert may_permit_more(load_bundle_from_files(new), load_bundle_from_files(old))[0]


def test_tests_of_the_bundle_and_places_of_policies_do_not_count(files: Any) -> None:
    """A test decides nothing, and a policy decides the same in another file."""
    text = '@id("p") permit(principal, action == Action::"ping", resource);'
    old = files(text)
    new = {
        **files(""),
        "policies/other.cedar": f"// moved\n{text}\n".encode(),
        "tests/one.yaml": b"version: 1\ntests:\n"
        b"  - {name: one, agent: banking, tool: ping, expect: ALLOW}\n",
    }

    assert may_permit_more(load_bundle_from_files(old), load_bundle_from_files(new)) == (False, ())


@pytest.mark.parametrize(
    ("guard", "old", "new"),
    [
        ("_new_permits", (), ("p-ping",)),
        ("_lost_guards", ("p-all", "f-intern"), ("p-all",)),
        ("_lost_guards", ("p-all", "h-all"), ("p-all",)),
        ("_lost_failures", ("p-all", "p-count"), ("p-all",)),
        ("_lost_failures", ("p-all", "p-small"), ("p-all",)),
    ],
)
def test_no_means_no_negative_control(
    loaded: Any, monkeypatch: pytest.MonkeyPatch, guard: str, old: Any, new: Any
) -> None:
    """Without any one of its parts it would say "no", and some call would get further."""
    (first, before), (second, after) = loaded(*of(*old)), loaded(*of(*new))
    monkeypatch.setattr(compare, guard, lambda *_: [])

    assert may_permit_more(first, second) == (False, ())
    assert any(permits_more(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize(
    ("condition", "is_total"),
    [
        ("true", True),
        ("!(context.args has urgent)", True),
        ("context.args has urgent && context.args.urgent", True),
        ("if context.args has memo then true else false", True),
        ('context.args.recipient like "a*"', True),
        ('["a", "b"].contains(context.args.recipient)', True),
        ('context.args has tags && context.args.tags.containsAny(["x"])', True),
        ("context.args has tags && context.args.tags.isEmpty()", True),
        ('principal in Group::"staff" || context.args has count && context.args.count > 1', True),
        ('principal is Agent in Group::"staff"', True),
        ('context.args has place && {city: context.args.place.city} == {city: "x"}', True),
        ("principal.facts.limit > 5", True),
        ("principal.facts.limit + 1 > 5", False),
        ("context.args has count && context.args.count - 1 > 0", False),
        ("if principal.facts.limit * 2 > 5 then true else false", False),
        ("[principal.facts.limit + 1].contains(3)", False),
        ("{a: principal.facts.limit + 1} == {a: 3}", False),
        ("-(principal.facts.limit) > 5", False),
    ],
)
def test_permit_that_cannot_fail_can_go_at_once(
    bundle: Any, condition: str, is_total: bool
) -> None:
    """Arithmetic overflows; everything else in Cedar has a value once its types are checked."""
    kept = '@id("all") permit(principal, action == Action::"send_money", resource);\n'
    gone = kept.replace("all", "x").replace(";", f" when {{ {condition} }};")

    is_more, reasons = may_permit_more(bundle(kept + gone), bundle(kept))

    assert is_more is not is_total
    assert all(reason.startswith("permit x is gone") for reason in reasons)


@pytest.mark.parametrize(
    ("schema", "condition", "is_safe"),
    [
        ("{type: array, items: {type: number}}", "context.args.a.isEmpty()", False),
        ("{type: array, items: {type: integer}}", "context.args.a.isEmpty()", True),
        (
            "{type: object, properties: {num: {type: number}, s: {type: string}}, required: [num, s]}",
            'context.args.a.s == "x"',
            False,
        ),
        (
            "{type: object, properties: {num: {type: integer}}, required: [num]}",
            "context.args.a.num == 1",
            True,
        ),
    ],
)
def test_argument_that_may_be_no_cedar_value_counts(
    files: Any, schema: str, condition: str, is_safe: bool
) -> None:
    """A number with too many digits denies a call whose policies read it, however deep it lies."""
    tools = (
        "version: 1\ntools:\n  t:\n    class: read\n    arguments:\n      type: object\n"
        f"      properties: {{a: {schema}}}\n      required: [a]\n"
    )
    kept = '@id("all") permit(principal, action == Action::"t", resource);\n'
    gone = f'@id("x") permit(principal, action == Action::"t", resource) when {{ {condition} }};'
    old = load_bundle_from_files(files(kept + gone, tools_yaml=tools))
    new = load_bundle_from_files(files(kept, tools_yaml=tools))

    assert may_permit_more(old, new)[0] is not is_safe
