# SPDX-License-Identifier: Apache-2.0
"""Decisions: default deny, forbid wins, errors deny, holds are kept, nothing changes."""

from __future__ import annotations

import dataclasses
import threading
from typing import Any

import cedarpy
import pytest

from sidecar.model import Destination, Effect, ReasonCode
from sidecar.policy import engine as engine_module
from sidecar.policy.bundle import load_bundle_from_files
from sidecar.policy.engine import PolicyEngine, PolicyVerdict

SEND = 'action == Action::"send_money", resource'
OVERFLOW = "context.args has count && context.args.count * 9007199254740991 * 1024 > 0"


def ask(
    engine: PolicyEngine,
    tool: str = "send_money",
    /,
    *,
    agent: str = "banking",
    session: str = "s1",
    destination: Destination | None = None,
    **arguments: Any,
) -> PolicyVerdict:
    if tool == "send_money":
        arguments = {"recipient": "acme", "amount": 5, **arguments}
    return engine.decide(
        agent=agent, session=session, tool=tool, arguments=arguments, destination=destination
    )


def test_k03_an_empty_policy_set_denies_everything(engine: Any) -> None:
    """Without policies every call is denied, with a reason that says so."""
    found = engine("")

    for tool in found.bundle.tools:
        verdict = ask(found, tool)
        assert (verdict.effect, verdict.reason) == (Effect.DENY, ReasonCode.NO_POLICY_ALLOWS)
        assert verdict.text == f"no policy permits {tool}"
        assert verdict.is_cacheable


def test_a_permit_allows_and_names_itself(engine: Any) -> None:
    """A matching permit allows; another agent or another tool is not meant by it."""
    found = engine(f'@id("p") permit(principal == Agent::"banking", {SEND});')

    verdict = ask(found)

    assert verdict == PolicyVerdict(
        effect=Effect.ALLOW,
        reason=ReasonCode.POLICY_ALLOW,
        text="policy p permits it",
        policy_ids=("p",),
        is_cacheable=True,
    )
    assert ask(found, agent="intern").effect is Effect.DENY
    assert ask(found, "ping").effect is Effect.DENY


def test_a_default_deny_says_what_there_is(engine: Any) -> None:
    """When no permit matches, the reason counts and names the permits for the tool."""
    found = engine(
        "".join(f'@id("p{i}") permit(principal == Agent::"intern", {SEND});' for i in range(5))
    )

    verdict = ask(found)

    assert verdict.text == (
        "no policy permits this send_money call of agent banking; "
        "5 permits for the tool (p0, p1, p2, …) did not match"
    )


def test_a_forbid_wins_and_explains_itself(engine: Any) -> None:
    """A matching forbid beats every permit; its description is the reason."""
    found = engine(
        f'@id("p") permit(principal, {SEND}); @id("h") @hold("ask") permit(principal, {SEND});'
        f'@id("f") @description("acme is closed") forbid(principal, {SEND}) '
        'when { context.args.recipient == "acme" };'
        f'@id("g") forbid(principal, {SEND}) when {{ context.args.amount.lessThan(decimal("6.0")) }};'
    )

    verdict = ask(found)

    assert (verdict.effect, verdict.reason) == (Effect.DENY, ReasonCode.POLICY_DENY)
    assert verdict.policy_ids == ("f", "g")
    assert verdict.text == "policy f (and 1 more) forbids it: acme is closed"
    assert ask(found, recipient="bob", amount=7).effect is Effect.HOLD


def test_a_forbid_alone_still_explains_itself(engine: Any) -> None:
    """Where nothing is permitted anyway, a matching forbid is still the better reason."""
    found = engine(f'@id("f") @description("never") forbid(principal, {SEND});')

    assert ask(found).text == "policy f forbids it: never"
    assert ask(found, "ping").text == "no policy permits ping"


def test_the_strictest_hold_wins(engine: Any) -> None:
    """One holding permit among plain ones holds the call; several give the strictest."""
    found = engine(
        f'@id("p") permit(principal, {SEND});'
        f'@id("low") @hold("low") @tier("LOW") @quorum("2") permit(principal, {SEND});'
        f'@id("high") @hold("big") @tier("HIGH") @expiry("5m") permit(principal, {SEND}) '
        'when { context.args.amount.greaterThan(decimal("100.0")) };'
    )

    small, big = ask(found), ask(found, amount=1000)

    assert (small.effect, small.reason, small.policy_ids) == (
        Effect.HOLD, ReasonCode.POLICY_HOLD, ("low",),
    )  # fmt: skip
    assert small.hold is not None
    assert (small.hold.tier, small.hold.quorum, small.hold.expiry_s) == ("LOW", 2, 1800)
    assert big.policy_ids == ("low", "high")
    assert big.hold is not None
    assert (big.hold.reason, big.hold.tier) == ("big", "HIGH")
    assert (big.hold.quorum, big.hold.expiry_s) == (2, 300)
    assert big.text == "policy low asks a human: big"


def test_c10_decisions_with_an_approval_are_uncacheable(engine: Any) -> None:
    """A held call, and one that failed, are asked afresh every time."""
    found = engine(
        f'@id("p") permit(principal, {SEND}) when {{ !({OVERFLOW}) }};'
        f'@id("h") @hold("ask") permit(principal, {SEND}) '
        'when { context.args.recipient == "bob" };'
    )

    assert ask(found).is_cacheable
    assert not ask(found, recipient="bob").is_cacheable
    assert not ask(found, count=2**50).is_cacheable
    assert ask(found, "ping").is_cacheable


@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_an_evaluation_error_denies(effect: str, engine: Any) -> None:
    """Cedar skips a policy that fails; here the call is denied, whatever the policy was."""
    found = engine(
        f'@id("p") permit(principal, {SEND});@id("broken") {effect}(principal, {SEND}) '
        f"when {{ {OVERFLOW} }};"
    )

    verdict = ask(found, count=2**50)

    assert (verdict.effect, verdict.reason) == (Effect.DENY, ReasonCode.POLICY_ERROR)
    assert verdict.policy_ids == ("broken",)
    assert verdict.errors == ("policy broken could not be evaluated",)
    assert ask(found).effect is Effect.ALLOW


def test_an_evaluation_error_negative_control(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule, a forbid that fails would not forbid."""
    found = engine(
        f'@id("p") permit(principal, {SEND});@id("broken") forbid(principal, {SEND}) '
        f"when {{ {OVERFLOW} }};"
    )
    monkeypatch.setattr(cedarpy.Diagnostics, "errors", property(lambda self: []), raising=False)

    assert ask(found, count=2**50).effect is Effect.ALLOW


def test_errors_hold_no_argument_values(engine: Any) -> None:
    """Cedar's message repeats the operands; the verdict does not."""
    found = engine(f'@id("p") permit(principal, {SEND}) when {{ {OVERFLOW} }};')
    canary = 777_777_777_777

    verdict = ask(found, count=canary, amount=5)
    unconvertible = ask(found, count="canary-7c1d")

    assert verdict.reason is ReasonCode.POLICY_ERROR
    assert str(canary) not in repr(verdict)
    assert unconvertible.reason is ReasonCode.POLICY_ERROR
    assert "canary" not in repr(unconvertible)


@pytest.mark.parametrize(
    "arguments",
    [
        {"amount": 0.00001}, {"amount": 10**30}, {"amount": float("nan")}, {"amount": "5"},
        {"recipient": 5}, {"recipient": ["acme"]}, {"recipient": "\ud800"}, {"tags": "x"},
        {"tags": [1]}, {"place": []}, {"place": {"city": 1}}, {"memo": {}}, {"count": 2**70},
        {"urgent": 1},
    ],
)  # fmt: skip
def test_what_cannot_be_converted_is_denied(arguments: dict[str, Any], engine: Any) -> None:
    """A value of another type, or a number that is no decimal, denies if a policy could read it."""
    found = engine(f'@id("p") permit(principal, {SEND}) when {{ context.args == context.args }};')

    verdict = ask(found, **arguments)

    assert (verdict.effect, verdict.reason) == (Effect.DENY, ReasonCode.POLICY_ERROR)
    assert verdict.errors
    assert ask(found).effect is Effect.ALLOW


def test_what_no_policy_mentions_is_not_looked_at(engine: Any) -> None:
    """An odd number in an argument that no policy mentions does no harm."""
    found = engine(
        f'@id("p") permit(principal, {SEND}) when {{ context.args.recipient == "acme" }};'
    )

    assert ask(found, amount=0.123456789).effect is Effect.ALLOW


@pytest.mark.parametrize("arguments", [None, [], "x", 5])
def test_arguments_that_are_no_object_are_denied(arguments: Any, engine: Any) -> None:
    """Anything but a JSON object is denied and has a key of its own."""
    found = engine('@id("p") permit(principal, action == Action::"ping", resource);')
    call = {"agent": "banking", "session": "s", "tool": "ping", "destination": None}

    verdict = found.decide(arguments=arguments, **call)

    assert verdict.reason is ReasonCode.POLICY_ERROR
    assert found.cache_key(arguments=arguments, **call) != found.cache_key(arguments={}, **call)


def test_unknown_agents_and_tools_are_denied(engine: Any) -> None:
    """Neither is in the bundle, so neither can be permitted, whatever the policies say."""
    found = engine('@id("p") @dangerous("test") permit(principal, action, resource);')

    assert ask(found, "nothing").reason is ReasonCode.UNKNOWN_TOOL
    assert ask(found, agent="nobody").reason is ReasonCode.UNKNOWN_AGENT
    assert ask(found, agent='banking" || true || "').effect is Effect.DENY


def test_the_context_is_what_the_model_says(engine: Any) -> None:
    """Session, destination, labels, facts, groups, owner, class and data class can be read."""
    found = engine(
        '@id("p") permit(principal, action == Action::"fetch", resource) when { '
        'context.session == "s1" && context.destination.scheme == "https" && '
        'context.destination.host == "example.com" && context.destination.port == 443 && '
        'principal.owner == "emma@example.com" && principal in Group::"finance" && '
        'principal.labels has env && principal.labels.env == "demo" && '
        'principal.facts.limit == 100 && principal.facts.payees.contains("bob") && '
        'resource.class == "external" && resource.data_class == "general" && '
        'context.args.url like "https://*" && !(context.args has depth) };'
    )
    where = Destination(scheme="https", host="example.com", port=443)
    url = "https://example.com/"

    assert ask(found, "fetch", url=url, destination=where).effect is Effect.ALLOW
    assert ask(found, "fetch", url=url, destination=where, session="s2").effect is Effect.DENY
    assert ask(found, "fetch", url=url, destination=where, depth=1).effect is Effect.DENY
    assert ask(found, "fetch", url=url, destination=where, agent="intern").effect is Effect.DENY
    other = dataclasses.replace(where, port=8443)
    assert ask(found, "fetch", url=url, destination=other).effect is Effect.DENY
    unknown = ask(found, "fetch", url=url)
    assert (unknown.effect, unknown.reason) == (Effect.DENY, ReasonCode.POLICY_ERROR)


def test_null_is_absent(engine: Any) -> None:
    """A nullable argument that is null is not there."""
    found = engine(f'@id("p") permit(principal, {SEND}) when {{ !(context.args has memo) }};')

    assert ask(found, memo=None).effect is Effect.ALLOW
    assert ask(found, memo="").effect is Effect.DENY


def test_shadow_policies_are_reported_and_decide_nothing(engine: Any) -> None:
    """A shadow forbid does not forbid, a shadow permit does not permit; both are named."""
    found = engine(
        f'@id("p") permit(principal, {SEND});'
        f'@id("sf") @shadow forbid(principal, {SEND}) when {{ context.args.recipient == "acme" }};'
        f'@id("sp") @shadow permit(principal, {SEND});'
        '@id("sq") @shadow @hold("x") permit(principal, action == Action::"ping", resource);'
    )

    assert ask(found).effect is Effect.ALLOW
    assert ask(found).shadow_ids == ("sp", "sf")
    assert ask(found, recipient="bob").shadow_ids == ("sp",)
    assert ask(found, "ping").effect is Effect.DENY
    assert ask(found, "ping").shadow_ids == ("sq",)


def test_a_shadow_policy_that_fails_decides_nothing(engine: Any) -> None:
    """Neither an evaluation error nor a value that only a shadow policy reads denies."""
    found = engine(
        f'@id("p") permit(principal, {SEND});'
        f'@id("s") @shadow forbid(principal, {SEND}) when {{ {OVERFLOW} }};'
        f'@id("t") @shadow forbid(principal, {SEND}) '
        'when { context.args.amount.lessThan(decimal("1.0")) };'
    )

    assert ask(found, count=2**50).effect is Effect.ALLOW
    assert ask(found, amount=0.00001).effect is Effect.ALLOW
    assert ask(found, amount=0.5).shadow_ids == ("t",)


def test_policies_of_one_tool_do_not_reach_another(engine: Any) -> None:
    """A slice holds the policies of its tool and those that name none."""
    found = engine(
        f'@id("a") permit(principal, {SEND}); @id("b") forbid(principal, action, resource) '
        'when { resource.class == "destructive" };'
        '@id("c") permit(principal, action, resource == Tool::"ping");'
    )

    assert [p.id for p in found.slice_of("send_money").deciding.policies] == ["a", "b"]
    assert [p.id for p in found.slice_of("ping").deciding.policies] == ["b", "c"]
    assert found.slice_of("nothing") is None


def test_tools_with_the_same_policies_share_them(engine: Any) -> None:
    """Policies that name no tool are parsed once, not once per tool."""
    found = engine(
        '@id("b") forbid(principal, action, resource) when { principal.facts.limit < 0 };'
    )

    handles = {id(found.slice_of(tool).deciding.handle) for tool in found.bundle.tools}

    assert len(handles) == 1


def test_what_can_never_be_there_is_not_in_the_key(engine: Any) -> None:
    """Asking for an attribute that no call can have reads nothing."""
    found = engine(
        '@id("p") permit(principal, action == Action::"ping", resource) '
        "unless { context.args has nothing };"
    )

    assert ask(found, "ping").effect is Effect.ALLOW
    assert found.cache_key(
        agent="banking", session="s", tool="ping", arguments={"nothing": 1}, destination=None
    ) == ("ping", "banking")


def test_c13_an_engine_is_one_snapshot(files: Any) -> None:
    """A new bundle is a new engine; the old one goes on deciding as before."""
    contents = files('@id("p") permit(principal, action == Action::"ping", resource);')
    old = PolicyEngine(load_bundle_from_files(contents))
    contents["policies/main.cedar"] = b""

    new = PolicyEngine(load_bundle_from_files(contents))

    assert ask(old, "ping").effect is Effect.ALLOW
    assert ask(new, "ping").effect is Effect.DENY
    assert old.digest != new.digest
    assert old.digest == old.bundle.digest
    with pytest.raises(AttributeError):
        old.digest = new.digest
    with pytest.raises(AttributeError):
        old.extra = 1
    with pytest.raises(TypeError):
        old._slices["ping"] = new._slices["ping"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        ask(old, "ping").effect = Effect.DENY


def test_one_engine_serves_many_threads(engine: Any) -> None:
    """Threads that share an engine get the same verdicts as one alone."""
    found = engine(
        f'@id("p") permit(principal, {SEND}) when {{ context.args.recipient == "acme" }};'
    )
    wrong: list[str] = []

    def work(recipient: str, expected: Effect) -> None:
        for _ in range(200):
            if ask(found, recipient=recipient).effect is not expected:
                wrong.append(recipient)

    threads = [
        threading.Thread(target=work, args=(name, effect))
        for name, effect in [("acme", Effect.ALLOW), ("bob", Effect.DENY)] * 4
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not wrong


def test_no_answer_of_cedar_is_a_deny(engine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Cedar raises or answers nothing, the call is denied."""
    found = engine('@id("p") permit(principal, action == Action::"ping", resource);')

    def fails(*_: Any) -> Any:
        raise ValueError("canary-7c1d")

    monkeypatch.setattr(engine_module.cedarpy, "is_authorized", fails)
    raised = ask(found, "ping")
    monkeypatch.setattr(
        engine_module.cedarpy,
        "is_authorized",
        lambda *_: cedarpy.AuthzResult({"decision": "NoDecision", "diagnostics": {}}),
    )
    silent = ask(found, "ping")

    for verdict in (raised, silent):
        assert (verdict.effect, verdict.reason) == (Effect.DENY, ReasonCode.POLICY_ERROR)
        assert verdict.errors == ("the request could not be evaluated",)
    assert "canary" not in repr(raised)
