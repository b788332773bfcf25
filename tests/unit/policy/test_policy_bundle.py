# SPDX-License-Identifier: Apache-2.0
"""Bundles: loaded whole or refused whole, with every problem named."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sidecar.documents import DocumentErrors
from sidecar.errors import ErrorReason
from sidecar.model import OperatorKind, Role, ToolClass
from sidecar.policy import bundle as bundle_module
from sidecar.policy.bundle import (
    MAX_FILES,
    digest_of,
    load_bundle,
    load_bundle_from_files,
)
from sidecar.policy.limits import BudgetSpec, RateSpec

PERMIT = '@id("a") permit(principal, action == Action::"ping", resource);'
ISSUERS = """\
version: 1
issuers:
  corp:
    issuer: "https://idp.example"
    audience: holdfast
    algorithms: [EdDSA]
    jwks_file: jwks.json
"""
JWKS = json.dumps({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}]}).encode()


def refusal(contents: dict[str, bytes]) -> DocumentErrors:
    with pytest.raises(DocumentErrors) as caught:
        load_bundle_from_files(contents)
    assert caught.value.reason is ErrorReason.INVALID_BUNDLE
    return caught.value


def messages(contents: dict[str, bytes]) -> str:
    return "\n".join(str(problem) for problem in refusal(contents).all)


def test_a_bundle_becomes_specs(bundle: Any) -> None:
    """Tools, agents, operators and limits become frozen values with their defaults filled in."""
    loaded = bundle(
        PERMIT,
        limits_yaml="version: 1\nlimits:\n"
        "  - {name: rate, rate: {calls: 10, per: 1m}}\n"
        "  - {name: burst, agents: [banking], rate: {calls: 10, per: 1h, burst: 3}}\n"
        "  - {name: sum, tools: [send_money], budget: {sum: amount, max: 5000.5, per: 24h}}\n"
        "  - {name: calls, budget: {calls: 7, per: 2d}}\n",
    )

    money = loaded.tools["send_money"]
    assert money.tool_class is ToolClass.WRITE
    assert money.data_class == "financial"
    assert money.reveal == {"recipient"}
    assert money.undo == ""
    assert money.destination is None
    assert loaded.tools["ping"].data_class == "general"
    assert loaded.tools["fetch"].destination.argument == "url"
    assert loaded.tools["fetch"].destination.kind == "url"
    agent = loaded.agents["banking"]
    assert (agent.owner, agent.groups) == ("emma@example.com", ("finance", "staff"))
    assert agent.facts == {"payees": ("acme", "bob"), "limit": 100}
    alice, soar = loaded.operators["alice"], loaded.operators["soar"]
    assert alice.human_id == "alice"
    assert alice.roles == {Role.CONTAIN, Role.RELEASE, Role.APPROVE}
    assert (soar.kind, soar.human_id) == (OperatorKind.AUTOMATION, None)
    rate, burst, total, calls = loaded.limits
    assert rate.rate == RateSpec(calls=10, per_s=60, burst=10)
    assert burst.rate == RateSpec(calls=10, per_s=3600, burst=3)
    assert total.budget == BudgetSpec(maximum=Decimal("5000.5"), per_s=86400, argument="amount")
    assert calls.budget == BudgetSpec(maximum=Decimal(7), per_s=172800, argument=None)
    assert rate.applies_to(agent="x", tool="y")
    assert burst.applies_to(agent="banking", tool="y")
    assert not burst.applies_to(agent="intern", tool="y")
    assert not total.applies_to(agent="banking", tool="ping")
    assert loaded.policies[0].place == "policies/main.cedar:1"


def test_a_bundle_cannot_be_changed(bundle: Any) -> None:
    """Neither the values nor the mappings of a bundle take an assignment."""
    loaded = bundle(PERMIT)

    for mapping in (loaded.tools, loaded.agents, loaded.files, loaded.operators, loaded.issuers,
                    loaded.agents["banking"].facts, loaded.policies[0].annotations):  # fmt: skip
        with pytest.raises(TypeError):
            mapping["x"] = 1
    for value, name in (
        (loaded, "digest"),
        (loaded.tools["ping"], "tool_class"),
        (loaded.agents["banking"], "owner"),
        (loaded.policies[0], "effect"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, name, "other")


def test_the_digest_names_every_byte(files: Any) -> None:
    """The digest is SHA-256 over ``sha256sum`` lines, and changes with any byte or name."""
    contents = files(PERMIT)
    lines = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(contents.items())
    )

    loaded = load_bundle_from_files(contents)
    moved = dict(contents)
    moved["policies/other.cedar"] = moved.pop("policies/main.cedar")
    spaced = {**contents, "agents.yaml": contents["agents.yaml"] + b"\n"}

    assert loaded.digest == hashlib.sha256(lines.encode()).hexdigest() == digest_of(contents)
    assert len({loaded.digest, digest_of(moved), digest_of(spaced)}) == 3


def test_shipped_files_give_the_same_bundle(files: Any, directory: Any) -> None:
    """A directory, and the files control ships of it, are the same policy version."""
    contents = {**files(PERMIT), "issuers.yaml": ISSUERS.encode(), "jwks.json": JWKS,
                "other.json": b"{}"}  # fmt: skip
    root = directory({**contents, "README.md": b"hello", ".git/config.yaml": b"x"})

    first = load_bundle(root)
    second = load_bundle_from_files(first.files)

    assert first.digest == second.digest
    assert first == second
    assert set(first.files) == set(contents) - {"other.json"}
    assert first.issuers["corp"].jwks_file == "jwks.json"
    assert first.issuers["corp"].max_token_life_s == 3600


@pytest.mark.parametrize(
    ("path", "data", "words"),
    [
        ("policies/x.yaml", b"", "no place that a bundle reads"),
        ("policy/x.cedar", b"", "no place that a bundle reads"),
        ("policies/deep/x.cedar", b"", "no place that a bundle reads"),
        ("policies/.hidden.cedar", b"", "no place that a bundle reads"),
        ("tool.yaml", b"", 'did you mean "tools.yaml"'),
        ("limits.yml", b"", 'did you mean "limits.yaml"'),
    ],
)
def test_files_in_the_wrong_place_are_refused(
    path: str, data: bytes, words: str, files: Any, directory: Any
) -> None:
    """What looks like policy but would not be read is an error, in a directory and shipped."""
    contents = {**files(PERMIT), path: data}

    assert words in messages(contents)
    with pytest.raises(DocumentErrors, match="no place"):
        load_bundle(directory(contents))


def test_links_and_other_odd_files_are_refused(files: Any, directory: Any, tmp_path: Path) -> None:
    """Links to files or directories, pipes and missing directories do not become policy."""
    root = directory(files(PERMIT))
    (root / "policies" / "pipe.cedar").symlink_to(root / "policies" / "main.cedar")
    with pytest.raises(DocumentErrors, match=r"policies/pipe\.cedar: is a symbolic link"):
        load_bundle(root)
    (root / "policies" / "pipe.cedar").unlink()
    os.mkfifo(root / "policies" / "pipe.cedar")
    with pytest.raises(DocumentErrors, match="not a regular file"):
        load_bundle(root)
    (root / "policies" / "pipe.cedar").unlink()
    (root / "policies").rename(tmp_path / "elsewhere")
    (root / "policies").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DocumentErrors, match="policies: is not a directory"):
        load_bundle(root)
    (tmp_path / "link").symlink_to(root)
    for path in (tmp_path / "link", tmp_path / "none", root / "tools.yaml", Path("a\0b")):
        with pytest.raises(DocumentErrors, match=r"not a directory|cannot be read|not a path"):
            load_bundle(path)


def test_k04_sizes_are_limited(files: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files, bytes or policies are refused before they are looked at."""
    many = {f"policies/p{i}.cedar": b"" for i in range(MAX_FILES)}
    assert "more than 1000 files" in messages({**files(PERMIT), **many})
    big = files(PERMIT + "//" + "x" * (4 << 20))
    assert "policies/main.cedar: is larger than 4194304 bytes" in messages(big)
    monkeypatch.setattr(bundle_module, "MAX_POLICIES", 3)
    four = "".join(
        f'@id("p{i}") permit(principal, action == Action::"ping", resource);' for i in range(4)
    )
    assert "more than 3 policies" in messages(files(four))
    monkeypatch.setattr(bundle_module, "MAX_PAIRS", 3)
    everywhere = '@id("a") forbid(principal, action, resource);'
    assert "4 pairs of policy and tool are more than 3" in messages(files(everywhere))


def test_k02_every_problem_of_every_file_is_named_at_once(files: Any) -> None:
    """A bundle with faults everywhere is refused once, with all of them in order."""
    broken = files(
        '@id("a") permit(principal == Agent::"bankng", action == Action::"pong", resource);\n'
        "permit(principal, action, resource) when { 1 => 2 };\n",
        tools_yaml="version: 1\ntools:\n  ping: {clas: read}\n"
        "  fetch: {class: read, reveal: [url], arguments: {type: object, properties: "
        "{ur: {type: string}}}}\n",
        agents_yaml="version: 1\nagents:\n  banking: {owner: emma, groups: no}\n",
        operators_yaml="version: 2\noperators: {}\n",
        tests_t_yaml="version: 1\ntests:\n  - {name: x, agent: banking, tool: ping, expect: MAYBE}",
    )

    error = refusal(broken)

    assert {(problem.path, problem.line) for problem in error.all} == {
        ("agents.yaml", 3), ("operators.yaml", 1), ("policies/main.cedar", 1),
        ("policies/main.cedar", 2), ("tests/t.yaml", 3), ("tools.yaml", 3), ("tools.yaml", 4),
    }  # fmt: skip
    text = messages(broken)
    for words in (
        'unknown key "clas" (did you mean "class"?)',
        'tools.fetch.reveal[0]: the tool has no argument "url" (did you mean "ur"?)',
        '"no" without quotes',
        'Agent::"bankng" is not in agents.yaml (did you mean "banking"?)',
        'Action::"pong" is not in tools.yaml (did you mean "ping"?)',
        '"MAYBE" is not one of ALLOW, DENY, HOLD',
        "version: 2 is not a version this release reads: write 1",
    ):
        assert words in text
    assert [problem.path for problem in error.all] == sorted(p.path for p in error.all)


@pytest.mark.parametrize("name", ["tools.yaml", "agents.yaml", "operators.yaml"])
def test_required_files_are_required(name: str, files: Any) -> None:
    """A bundle without tools, agents or operators is refused."""
    contents = files(PERMIT)
    del contents[name]

    assert messages(contents) == f"{name}: is missing from the bundle (create it)"


def test_an_invisible_character_is_one_problem_among_others(files: Any) -> None:
    """A policy file that is no plain text does not hide what is wrong elsewhere."""
    contents = files("// \u202e", agents_yaml="version: 1\nagents: {}\nextra: 1\n")

    assert [problem.path for problem in refusal(contents).all] == [
        "agents.yaml", "policies/main.cedar",
    ]  # fmt: skip


def test_a_flood_of_bad_policies_ends_in_bounded_time(files: Any) -> None:
    """Beyond some hundred problems, looking for more only costs time."""
    flood = "".join(
        f'@id("p{i}") permit(principal == Agent::"bankng{i}", action, resource);'
        for i in range(5000)
    )

    assert 500 <= len(refusal(files(flood)).all) <= 510


def test_a_broken_file_does_not_drown_the_others_in_echoes(files: Any) -> None:
    """If the tools cannot be read at all, policies are not blamed for naming them."""
    text = messages(files(PERMIT, tools_yaml="version: 1\ntools: [\n"))

    assert "policies" not in text
    assert "tools.yaml:" in text


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ("x: {class: read, arguments: {type: array}}", "described by an object"),
        ("X: {class: read}", '"X" is not a tool name'),
        ("a b: {class: read}", "is not a tool name"),
        ("x: {}", "tools.x.class: is missing"),
        ("x: {class: readonly}", "is not one of read, write, destructive, external"),
        ("x: {class: read, data_class: A}", "is not a data class"),
        ("x: {class: read, destination: {argument: url}}", 'has no argument "url"'),
        (
            "x: {class: read, destination: {argument: u}, arguments: "
            "{type: object, properties: {u: {type: integer}}, required: [u]}}",
            "must be a required string",
        ),
        (
            "x: {class: read, destination: {argument: u}, arguments: "
            "{type: object, properties: {u: {type: string}}}}",
            "must be a required string",
        ),
        ("x: {class: read, destination: {argument: u, kind: uri}}", 'did you mean "url"'),
        ("x: {class: read, allow_private_addresses: true}", "without `destination`"),
        ("x: {class: read, token: {issuer: corp}}", 'no issuer "corp" in issuers.yaml'),
        ("x: {class: read, description: 5}", "should be a valid string"),
        ('x: {class: read, description: "a\\nb"}', "one line of at most"),
    ],
)
def test_bad_tools_are_refused(tools: str, words: str, files: Any) -> None:
    """Each fault of a tool is named."""
    text = f"version: 1\ntools:\n  ping: {{class: read}}\n  {tools}\n"

    assert words in messages(files(PERMIT, tools_yaml=text))


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("A: {owner: x}", '"A" is not an agent id'),
        ("a: {}", "owner: is missing"),
        ('a: {owner: ""}', "is not an owner"),
        ("a: {owner: x, facts: {n: 1.5}}", "cannot be a fact"),
        ("a: {owner: x, facts: {n: null}}", "cannot be a fact"),
        ("a: {owner: x, facts: {n: [1]}}", "cannot be a fact"),
        ("a: {owner: x, facts: {n: {a: b}}}", "cannot be a fact"),
        ("a: {owner: x, facts: {n: 99999999999999999}}", "cannot be a fact"),
        ("a: {owner: x, facts: {N: 1}}", "is not a key"),
        ("a: {owner: x, facts: {n: 1}}\n  b: {owner: x, facts: {n: '1'}}", "a integer for agent a"),
        ("a: {owner: x, groups: [A b]}", "is not a group name"),
        ("a: {owner: x, labels: {env: 1}}", "should be a valid string"),
    ],
)
def test_bad_agents_are_refused(agent: str, words: str, files: Any) -> None:
    """Each fault of an agent is named; one fact has one type everywhere."""
    text = f"version: 1\nagents:\n  {agent}\n"

    assert words in messages(files(PERMIT, agents_yaml=text))


@pytest.mark.parametrize(
    "identity",
    [
        "https://holdfast.dev/x", "spiffe://HOLDFAST.dev/x", "spiffe://holdfast.dev", "spiffe:///x",
        "spiffe://holdfast.dev/a/../b", "spiffe://holdfast.dev/%61", "spiffe://holdfast.dev/a b",
        "spiffe://holdfast.dev/", "spiffe://holdfast.dev:80/x", "spiffe://u@holdfast.dev/x",
        "spiffe://holdfast.dev//x", "spiffe://holdfast.dev/x?y", "spiffe://" + "a" * 300 + "/x",
    ],
)  # fmt: skip
def test_operator_identities_are_plain_spiffe_ids(identity: str, files: Any) -> None:
    """An identity that could be read in two ways is refused."""
    text = f'version: 1\noperators:\n  eve: {{kind: human, identity: "{identity}"}}\n'

    assert "is not a SPIFFE id" in messages(files(PERMIT, operators_yaml=text))


def test_operators_are_distinct_and_automation_is_no_human(files: Any, bundle: Any) -> None:
    """One identity is one operator; an alias shares its human; automation has no human."""
    head = "version: 1\noperators:\n"
    a = "  a: {kind: human, identity: spiffe://d/a, roles: [contain]}\n"
    alias = "  b: {kind: human, identity: spiffe://d/b, human_id: a}\n"
    same = "  b: {kind: human, identity: spiffe://d/a}\n"
    bot = "  b: {kind: automation, identity: spiffe://d/b, human_id: b}\n"

    loaded = bundle(PERMIT, operators_yaml=head + a + alias)

    assert loaded.operators["a"].human_id == loaded.operators["b"].human_id == "a"
    assert "is the identity of a too" in messages(files(PERMIT, operators_yaml=head + a + same))
    assert "automation is not a human" in messages(files(PERMIT, operators_yaml=head + a + bot))
    assert "roles[0]" in messages(files(PERMIT, operators_yaml=head + a.replace("contain", "kill")))


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("{name: a}", "needs either `rate` or `budget`"),
        ("{name: a, rate: {calls: 1, per: 1m}, budget: {calls: 1, per: 1m}}", "needs either"),
        ("{name: a, rate: {calls: 0, per: 1m}}", "greater than or equal to 1"),
        ("{name: a, rate: {calls: 1, per: 60}}", "60 is not a duration"),
        ("{name: a, rate: {calls: 1, per: 1 m}}", "is not a duration"),
        ("{name: a, rate: {calls: 1, per: 0s}}", "is not a duration"),
        ("{name: a, rate: {calls: 1, per: 40d}}", "outside 1s to 31d"),
        ("{name: a, agents: [nobody], rate: {calls: 1, per: 1m}}", 'no agent "nobody"'),
        ("{name: a, tools: [send_mony], rate: {calls: 1, per: 1m}}", 'mean "send_money"'),
        ("{name: a, tools: [], rate: {calls: 1, per: 1m}}", "at least 1 item"),
        ("{name: a, budget: {per: 1m}}", "needs `calls`, or `sum` and `max`"),
        ("{name: a, budget: {sum: amount, per: 1m}}", "needs `calls`, or `sum` and `max`"),
        ("{name: a, budget: {calls: 1, sum: amount, max: 5, per: 1m}}", "counts calls and sums"),
        ("{name: a, budget: {sum: amount, max: 5, per: 1m}}", "names its tools"),
        ("{name: a, tools: [send_money], budget: {sum: amont, max: 5, per: 1m}}", '"amount"?'),
        ("{name: a, tools: [send_money], budget: {sum: recipient, max: 5, per: 1m}}", "no number|"),
        ("{name: a, tools: [send_money], budget: {sum: count, max: 5, per: 1m}}", "is optional"),
        ("{name: a, tools: [send_money], budget: {sum: amount, max: 0, per: 1m}}", "greater than"),
        ("{name: a, rate: {calls: 1, per: 1m}}\n  - {name: a, rate: {calls: 1, per: 1m}}", "used"),
    ],
)
def test_bad_limits_are_refused(limit: str, words: str, files: Any) -> None:
    """Each fault of a limit is named."""
    found = messages(files(PERMIT, limits_yaml=f"version: 1\nlimits:\n  - {limit}\n"))

    assert any(word in found for word in words.split("|"))


@pytest.mark.parametrize(
    ("change", "jwks", "words"),
    [
        (("[EdDSA]", "[HS256]"), JWKS, "is not one of EdDSA"),
        (("[EdDSA]", "[none]"), JWKS, "is not one of EdDSA"),
        (("[EdDSA]", "[]"), JWKS, "at least 1 item"),
        (("jwks_file: jwks.json", ""), JWKS, "needs either"),
        (("jwks.json", "../jwks.json"), JWKS, "is not the name of a .json file"),
        (("jwks_file: jwks.json", "jwks_url: http://idp.example/k"), JWKS, "is not an https URL"),
        (("jwks_file: jwks.json", "jwks_url: https://u:p@idp.example/k"), JWKS, "not an https URL"),
        (("audience: holdfast", ""), JWKS, "audience: is missing"),
        (("audience: holdfast", "audience: x\n    leeway: 1h"), JWKS, "outside 1s to "),
        (("", ""), None, "no such file in the bundle"),
        (("", ""), b"{", "not JSON"),
        (("", ""), b"[" * 100_000, "not JSON"),
        (("", ""), b'{"keys": []}', "at least one key"),
        (("", ""), b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "private or symmetric key"),
        (("", ""), b'{"keys": [{"kty": "OKP", "d": "c2VjcmV0"}]}', "private or symmetric key"),
    ],
)
def test_bad_issuers_are_refused(
    change: tuple[str, str], jwks: bytes | None, words: str, files: Any
) -> None:
    """Symmetric algorithms, odd key sources and private keys are refused, and never shown."""
    contents = {**files(PERMIT), "issuers.yaml": ISSUERS.replace(*change).encode()}
    if jwks is not None:
        contents["jwks.json"] = jwks

    assert words in messages(contents)
    assert "c2VjcmV0" not in messages(contents)


def test_a_tool_may_ask_for_a_token_of_a_known_issuer(files: Any) -> None:
    """The issuer that a tool names is looked up in issuers.yaml."""
    tools = "version: 1\ntools:\n  ping: {class: read, token: {issuer: corp}}\n"
    contents = {**files(PERMIT, tools_yaml=tools), "issuers.yaml": ISSUERS.encode(),
                "jwks.json": JWKS}  # fmt: skip

    assert load_bundle_from_files(contents).tools["ping"].token_issuer == "corp"
    contents["issuers.yaml"] = ISSUERS.replace("corp:", "corpo:").encode()
    assert 'did you mean "corpo"?' in messages(contents)


def test_test_files_name_policies_that_exist(files: Any) -> None:
    """A test that expects an unknown policy, or repeats a name, is refused."""
    case = "{name: x, agent: banking, tool: ping, expect: ALLOW, policy: aa}"
    unknown = f"version: 1\ntests:\n  - {case}\n"
    twice = unknown.replace("aa", "a") + f"  - {case.replace('aa', 'a')}\n"

    assert 'no policy "aa" (did you mean "a"?)' in messages(files(PERMIT, tests_t_yaml=unknown))
    assert "line 3 too" in messages(files(PERMIT, tests_t_yaml=twice))
