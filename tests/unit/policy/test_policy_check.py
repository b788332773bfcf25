# SPDX-License-Identifier: Apache-2.0
"""What authors are told: problems, lint (K03), tests of the bundle (K10), explanations."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.model import Destination, Effect, ReasonCode
from sidecar.policy import lint as lint_module
from sidecar.policy.check import CheckReport, check_bundle, explain, run_tests
from sidecar.policy.judge import plain_destination

PING = 'permit(principal, action == Action::"ping", resource);'
OK = f'@id("a") {PING}'


def codes(report: CheckReport, severity: str = "warning") -> list[str]:
    return [problem.code for problem in report.problems if problem.severity == severity]


@pytest.fixture
def check(files: Any, directory: Any) -> Any:
    """Check a bundle with these policies."""
    return lambda *args, **kwargs: check_bundle(directory(files(*args, **kwargs)))


def test_errors_come_with_place_and_remedy(check: Any) -> None:
    """A bundle that does not load is reported problem by problem."""
    report = check(f'\n@id("a") {PING.replace("ping", "pnig")}')

    assert not report.ok
    assert report.bundle is None
    (problem,) = report.errors
    assert (problem.path, problem.line) == ("policies/main.cedar", 2)
    assert str(problem) == (
        'policies/main.cedar:2: error: policy a: Action::"pnig" is not in tools.yaml '
        '(did you mean "ping"?)'
    )


def test_a_good_bundle_has_no_warnings(check: Any) -> None:
    """Notes are only worth knowing; a good bundle is ok and quiet."""
    report = check(OK)

    assert report.ok
    assert codes(report) == []
    assert set(codes(report, "note")) == {"no-tests", "tool-without-permit"}
    assert "the tool fetch: every call of it will be denied" in str(report.problems)


@pytest.mark.parametrize("policies", ["", f"@shadow {OK}", OK.replace("permit", "forbid")])
def test_k03_a_policy_set_that_denies_everything_is_pointed_out(policies: str, check: Any) -> None:
    """Empty, only shadow or only forbid: legal, and it denies every call."""
    report = check(policies)

    assert report.ok
    assert "denies-everything" in codes(report)


@pytest.mark.parametrize(
    ("policy", "is_shadowed"),
    [
        ('permit(principal, action == Action::"ping", resource);', True),
        ('@hold("x") permit(principal == Agent::"banking", action == Action::"ping", resource);',
         True),
        ('permit(principal in Group::"finance", action == Action::"ping", resource) '
         "when { context.session == \"s\" };", True),
        ('permit(principal, action in [Action::"ping", Action::"fetch"], resource);', False),
        ('permit(principal == Agent::"intern", action == Action::"ping", resource);', False),
        ('@shadow permit(principal, action == Action::"ping", resource);', False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("condition", ["", "when { true }", "unless { false }"])
def test_k03_permits_behind_an_unconditional_forbid_are_pointed_out(
    policy: str, is_shadowed: bool, condition: str, check: Any
) -> None:
    """A permit all of whose calls are forbidden anyway can never allow anything."""
    wall = (
        "principal" if policy.startswith("permit(principal,") else 'principal in Group::"finance"'
    )

    report = check(
        f'@id("w") forbid({wall}, action == Action::"ping", resource) {condition};'
        f'@id("b") {policy} @id("c") permit(principal, action == Action::"fetch", resource);'
    )

    assert ("never-applies" in codes(report)) == is_shadowed
    if is_shadowed:
        (problem,) = (p for p in report.warnings if p.code == "never-applies")
        assert "policy b never allows anything: policy w" in problem.message


@pytest.mark.parametrize(
    "wall",
    [
        'forbid(principal, action == Action::"ping", resource) when { context.session == "s" };',
        'forbid(principal, action == Action::"ping", resource) when { 1 == 2 };',
        '@shadow forbid(principal, action == Action::"ping", resource);',
        'forbid(principal == Agent::"intern", action == Action::"ping", resource);',
        'forbid(principal, action == Action::"fetch", resource);',
    ],
)
def test_a_forbid_that_leaves_room_is_not_pointed_out(wall: str, check: Any) -> None:
    """A conditional, shadow or narrower forbid does not kill the permit."""
    assert "never-applies" not in codes(check(f'{OK} @id("w") {wall}'))


def test_k03_rules_that_can_never_apply_are_pointed_out(check: Any) -> None:
    """A group nobody is in, and a head that fits no tool."""
    report = check(
        f'{OK} @id("b") permit(principal in Group::"finanze", action == Action::"ping", resource);'
        '@id("c") forbid(principal, action == Action::"ping", resource == Tool::"fetch");'
    )

    assert codes(report) == ["unknown-group", "unreachable"]
    assert report.warnings[0].hint == 'did you mean "finance"?'


def test_dangerous_permits_stay_visible(check: Any) -> None:
    """A permit of everything loads with its reason, and every check repeats it."""
    report = check('@id("a") @dangerous("lab only") permit(principal, action, resource);')

    assert codes(report) == ["dangerous"]
    assert '"lab only"' in report.warnings[0].message


def test_holds_that_nobody_can_grant_are_pointed_out(check: Any) -> None:
    """Fewer humans with the role than votes asked for: no such call would ever be granted."""
    report = check(
        f'@id("a") @hold("x") {PING} @id("b") @hold("x") @quorum("2") {PING}'
        f'@id("c") @hold("x") @approver_role("policy-approve") {PING}'
    )

    assert codes(report) == ["no-approver", "no-approver"]
    assert {problem.key for problem in report.warnings} == {"b", "c"}


def test_an_alias_is_not_a_second_approver(check: Any) -> None:
    """Two operators with one human_id count once; automation does not count at all."""
    operators = (
        "version: 1\noperators:\n"
        "  a: {kind: human, identity: spiffe://d/a, roles: [approve]}\n"
        "  b: {kind: human, identity: spiffe://d/b, roles: [approve], human_id: a}\n"
        "  c: {kind: automation, identity: spiffe://d/c, roles: [approve]}\n"
    )

    report = check(f'@id("a") @hold("x") @quorum("2") {PING}', operators_yaml=operators)

    assert sorted(codes(report)) == ["automation-role", "no-approver"]
    assert "operators.yaml has 1" in str(report.problems)


def test_budgets_that_could_be_refilled_are_pointed_out(check: Any) -> None:
    """A summed argument that may be negative would let an agent earn budget back."""
    limits = (
        "version: 1\nlimits:\n"
        "  - {name: spend, tools: [send_money], budget: {sum: amount, max: 50, per: 1h}}\n"
    )
    report = check(OK, limits_yaml=limits)

    assert codes(report) == ["negative-amount"]
    assert report.warnings[0].key == "tools.send_money.arguments.properties.amount"


def test_warnings_come_before_notes(check: Any) -> None:
    """What needs doing stands first."""
    report = check("")

    severities = [problem.severity for problem in report.problems]
    assert severities == sorted(severities, key=lambda severity: severity != "warning")
    assert lint_module.lint(report.bundle) == report.problems


CASES = """\
version: 1
tests:
  - {name: allowed, agent: banking, tool: ping, expect: ALLOW, policy: a}
  - {name: missing, agent: banking, tool: files.read, expect: DENY}
  - {name: stranger, agent: nobody, tool: ping, expect: DENY}
  - {name: no tool, agent: banking, tool: pong, expect: DENY}
  - {name: away, agent: banking, tool: fetch, arguments: {url: "https://a.example/x"}, expect: HOLD}
  - {name: odd url, agent: banking, tool: fetch, arguments: {url: "https://u@a.example/"},
     expect: DENY}
"""
FETCH = (
    '@id("f") @hold("x") permit(principal, action == Action::"fetch", resource) '
    'when { context.destination.host == "a.example" };'
)


def test_k10_a_bundle_that_agrees_with_its_tests_passes(bundle: Any) -> None:
    """Tests see schema problems, unknown names, destinations and policies alike."""
    report = run_tests(bundle(OK + FETCH, tests_t_yaml=CASES))

    assert report.ok
    assert (report.failed, len(report.results)) == (0, 6)
    assert [result.verdict.reason for result in report.results] == [
        ReasonCode.POLICY_ALLOW, ReasonCode.MISSING_ARGUMENT, ReasonCode.UNKNOWN_AGENT,
        ReasonCode.UNKNOWN_TOOL, ReasonCode.POLICY_HOLD, ReasonCode.URL,
    ]  # fmt: skip


def test_k10_a_bundle_that_disagrees_with_its_tests_fails(bundle: Any) -> None:
    """A wrong effect and a wrong deciding policy both fail, and say what happened instead."""
    intern = PING.replace("principal", 'principal == Agent::"intern"')
    other = f'@id("b") {PING} @id("a") {intern}'

    report = run_tests(bundle(other + FETCH.replace('@hold("x")', ""), tests_t_yaml=CASES))

    assert not report.ok
    assert report.failed == 2
    assert [(result.name, result.ok) for result in report.failures] == [
        ("allowed", False), ("away", False),
    ]  # fmt: skip
    assert report.failures[0].failure == "expected policy a to decide, but it was b"
    assert report.failures[1].failure == "expected HOLD, got ALLOW: policy f permits it"


def test_a_bundle_without_tests_agrees_with_all_of_them(bundle: Any) -> None:
    """No tests, no failures; the lint says that there are none."""
    assert run_tests(bundle(OK)).ok


def test_the_gates_own_url_rules_can_be_used(bundle: Any) -> None:
    """Whoever runs the tests may bring the parser that the gate uses."""
    where = Destination(scheme="https", host="a.example", port=443)

    report = run_tests(bundle(OK + FETCH, tests_t_yaml=CASES), parse_destination=lambda *_: where)

    assert [result.name for result in report.failures] == ["odd url"]


EXPLAINED = (
    '@id("p") permit(principal == Agent::"banking", action == Action::"send_money", resource) '
    'when { context.args.recipient == "acme" };\n'
    '@id("q") permit(principal in Group::"staff", action, resource) '
    'when { context.session == "s9" };\n'
    '@id("r") forbid(principal, action == Action::"send_money", resource) '
    "when { context.args has count && context.args.count * 9223372036854775807 > 0 };\n"
    '@id("s") @shadow forbid(principal, action == Action::"send_money", resource);\n'
    '@id("t") permit(principal, action == Action::"ping", resource);\n'
    '@id("u") forbid(principal, action == Action::"send_money", resource) '
    'when { context.args.amount.lessThan(decimal("0.0")) };\n'
)


def test_an_explanation_shows_each_policy_and_what_became_of_it(bundle: Any) -> None:
    """Matched, head does not fit, condition is false, failed: for every policy of the tool."""
    loaded = bundle(EXPLAINED)
    arguments = {"recipient": "acme", "amount": 5, "count": 9}

    found = explain(loaded, agent="intern", tool="send_money", arguments=arguments)

    assert [(outcome.policy.id, outcome.outcome) for outcome in found.policies] == [
        ("p", "head does not fit"), ("q", "condition is false"), ("r", "failed"), ("s", "matched"),
        ("u", "condition is false"),
    ]  # fmt: skip
    assert "overflow" in found.policies[2].error
    assert found.policies[3].is_match
    assert found.verdict.reason is ReasonCode.POLICY_ERROR
    assert found.verdict.shadow_ids == ("s",)
    assert set(found.reads) == {
        "tool", "agent", "session", "args.recipient", "args.count", "args.amount",
    }  # fmt: skip
    odd = explain(
        loaded, agent="banking", tool="send_money", arguments={**arguments, "amount": 0.00001}
    )
    assert odd.policies[-1].outcome == "failed"
    assert "more than 4 digits" in odd.policies[-1].error


def test_an_explanation_agrees_with_the_verdict(bundle: Any) -> None:
    """The deciding policies are among those that matched."""
    loaded = bundle(EXPLAINED)

    found = explain(
        loaded,
        agent="banking",
        tool="send_money",
        arguments={"recipient": "acme", "amount": 5},
        session="s9",
    )

    assert found.verdict.effect is Effect.ALLOW
    assert found.verdict.policy_ids == ("p", "q")
    assert {o.policy.id for o in found.policies if o.is_match} == {"p", "q", "s"}


def test_calls_that_never_reach_policy_are_explained_too(bundle: Any) -> None:
    """Unknown names, wrong arguments and bad destinations have their own reasons."""
    loaded = bundle(OK + FETCH)

    unknown = explain(loaded, agent="banking", tool="pong", arguments={})
    stranger = explain(loaded, agent="nobody", tool="ping", arguments={})
    wrong = explain(loaded, agent="banking", tool="ping", arguments={"x": 1})
    away = explain(
        loaded, agent="banking", tool="fetch", arguments={"url": "?"}, url="https://a.example/"
    )

    assert unknown.verdict.reason is ReasonCode.UNKNOWN_TOOL
    assert (unknown.policies, unknown.reads) == ((), ())
    assert stranger.verdict.reason is ReasonCode.UNKNOWN_AGENT
    assert stranger.policies == ()
    assert wrong.verdict.reason is ReasonCode.SCHEMA
    assert away.verdict.effect is Effect.HOLD
    assert away.destination == Destination(scheme="https", host="a.example", port=443)


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("https://a.example", "url", ("https", "a.example", 443, False)),
        ("http://a.example:8080/x?y#z", "url", ("http", "a.example", 8080, False)),
        ("https://10.0.0.1/", "url", ("https", "10.0.0.1", 443, True)),
        ("https://[2001:db8:0::1]/", "url", ("https", "2001:db8::1", 443, True)),
        ("a.example", "host", ("https", "a.example", 443, False)),
        ("a.example/x", "bare", ("https", "a.example", 443, False)),
        ("a.example:8443", "bare", ("https", "a.example", 8443, False)),
        ("http://a.example/x", "bare", ("http", "a.example", 80, False)),
    ],
)
def test_plain_destinations_are_read(
    text: str, kind: Any, expected: tuple[str, str, int, bool]
) -> None:
    """URLs, hosts and bare destinations, as tests and explanations read them."""
    found = plain_destination(text, kind)

    assert found is not None
    assert (found.scheme, found.host, found.port, found.is_ip) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        *[(text, kind) for kind in ("url", "host", "bare") for text in (
            "", "ftp://a.example/", "//a.example", "https:a.example", "https:///a", "HTTPS://a/",
            "https://A.example/", "https://u@a.example/", "https://a.example\\@b/", "https://a b/",
            "https://a.example:0/", "https://a.example:65536/", "https://a.example:/", " a.example",
            "https://a.example./", "https://-a/", "https://2130706433/", "https://0x7f.1/",
            "https://127.1/", "https://0177.0.0.1/", "https://[::1%25eth0]/", "https://[x]/",
            "https://é.example/", "https://a.example/\n", "https://a..b/", "https://" + "a" * 64,
        )],
        ("a.example", "url"),
        ("a.example:443", "host"),
        ("a.example/x", "host"),
        ("https://a.example", "host"),
    ],
)  # fmt: skip
def test_destinations_written_in_odd_ways_are_refused(text: str, kind: Any) -> None:
    """What two programs could read differently is no destination."""
    assert plain_destination(text, kind) is None
