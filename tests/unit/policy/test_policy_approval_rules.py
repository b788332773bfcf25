# SPDX-License-Identifier: Apache-2.0
"""``approvals.yaml``, and what ``operators.yaml`` and ``agents.yaml`` say for approvals."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.documents import DocumentErrors
from sidecar.policy.approval_rules import ACTIONS, DEFAULT_APPROVAL_RULES, TierSpec
from sidecar.policy.bundle import load_bundle_from_files

PERMIT = '@id("p") permit(principal, action == Action::"ping", resource);'
HUMAN = """\
  anna:
    kind: human
    identity: spiffe://holdfast.dev/operator/anna
"""
OTHER = HUMAN.replace("anna", "otto")
LOGIN = 'logins: [{issuer: "https://id.example.com", subject: "17"}]\n'


def problems(made: dict[str, bytes]) -> list[str]:
    """Return what is wrong with a bundle."""
    with pytest.raises(DocumentErrors) as caught:
        load_bundle_from_files(made)
    return [str(problem) for problem in caught.value.all]


def operators(*lines: str) -> str:
    """Return an operators file."""
    return "version: 1\noperators:\n" + "".join(lines)


# -- approvals.yaml -------------------------------------------------------------------------------


def test_missing_file_is_the_defaults(bundle: Any) -> None:
    """Without the file nothing is said, and every action is of tier MEDIUM."""
    found = bundle(PERMIT).approvals

    assert found == DEFAULT_APPROVAL_RULES
    assert {found.tier_of(action) for action in ACTIONS} == {"MEDIUM"}


def test_file_says_tiers_and_actions(files: Any, bundle: Any) -> None:
    """What is said is a frozen value; what is not is left to the defaults; the digest covers it."""
    text = (
        "version: 1\n"
        "tiers:\n"
        "  HIGH: {expiry: 60m, grant_life: 10m, quorum: 2, passkey: true, reason: false}\n"
        "  LOW: {expiry: 30s}\n"
        "actions:\n"
        "  release: {tier: HIGH}\n"
        "  contain_wide: {tier: LOW}\n"
    )
    loaded = bundle(PERMIT, approvals_yaml=text)

    assert loaded.approvals.tiers["HIGH"] == TierSpec(
        expiry_s=3600, grant_life_s=600, quorum=2, is_passkey_needed=True, is_reason_needed=False
    )
    assert loaded.approvals.tiers["LOW"] == TierSpec(expiry_s=30)
    assert [loaded.approvals.tier_of(action) for action in ACTIONS] == [
        "HIGH",
        "LOW",
        "MEDIUM",
        "MEDIUM",
        "MEDIUM",
    ]
    assert loaded.digest != bundle(PERMIT).digest
    assert loaded.files["approvals.yaml"] == text.encode()
    assert load_bundle_from_files(loaded.files).digest == loaded.digest
    with pytest.raises(TypeError):
        loaded.approvals.tiers["LOW"] = TierSpec()


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("tiers: {HIGH: {expiry: 29s}}", "approvals.yaml:2: tiers.HIGH.expiry", "30s to 1d"),
        ("tiers: {HIGH: {expiry: 25h}}", "approvals.yaml:2: tiers.HIGH.expiry", "30s to 1d"),
        ("tiers: {HIGH: {expiry: 60}}", "approvals.yaml:2: tiers.HIGH.expiry", "not a duration"),
        ("tiers: {LOW: {grant_life: 16m}}", "approvals.yaml:2: tiers.LOW.grant_life", "30s to 15m"),
        ("tiers: {LOW: {quorum: 0}}", "approvals.yaml:2: tiers.LOW.quorum", ""),
        ("tiers: {LOW: {quorum: 6}}", "approvals.yaml:2: tiers.LOW.quorum", ""),
        ("tiers: {LOW: {quorum: '2'}}", "approvals.yaml:2: tiers.LOW.quorum", ""),
        ("tiers: {LOW: {passkey: 1}}", "approvals.yaml:2: tiers.LOW.passkey", ""),
        ("tiers: {LOW: {passkeys: true}}", "approvals.yaml:2: tiers.LOW.passkeys", "passkey"),
        ("tiers: {SEVERE: {quorum: 1}}", "approvals.yaml:2: tiers", ""),
        ("actions: {release: {tier: high}}", "approvals.yaml:2: actions.release.tier", "HIGH"),
        ("actions: {release: {}}", "approvals.yaml:2: actions.release", ""),
        ("actions: {release: {tier: HIGH, quorum: 1}}", "actions.release.quorum", ""),
        ("actions: {contain: {tier: HIGH}}", "approvals.yaml:2: actions", ""),
        ("rules: {}", "approvals.yaml:2: rules", ""),
    ],
)
def test_bad_rules_are_refused_with_their_place(
    files: Any, text: str, place: str, words: str
) -> None:
    """Unknown keys, wrong types and values out of bounds name file, line and key."""
    found = problems(files(PERMIT, approvals_yaml=f"version: 1\n{text}\n"))

    assert len(found) == 1
    assert place in found[0]
    assert words in found[0]


def test_file_of_another_version_or_name_is_refused(files: Any) -> None:
    """A version this release does not read, and a misspelt name, are errors."""
    assert "write 1" in problems(files(PERMIT, approvals_yaml="version: 2\n"))[0]
    assert "approvals.yaml" in problems(files(PERMIT, approval_yaml="version: 1\n"))[0]


# -- operators.yaml -------------------------------------------------------------------------------


def test_humans_have_mail_addresses_and_logins(bundle: Any) -> None:
    """They are in the operator as they are written, each once."""
    text = operators(
        HUMAN,
        "    emails: [anna@example.com, a.n+x@mail.example.com, anna@example.com]\n",
        '    logins: [{issuer: "https://id.example.com/x", subject: "17"},'
        ' {issuer: "http://127.0.0.1:8080", subject: "Anna|1"}]\n',
        OTHER,
        '    logins: [{issuer: "https://id.example.com/y", subject: "17"}]\n',
    )
    anna = bundle(PERMIT, operators_yaml=text).operators["anna"]

    assert anna.emails == ("anna@example.com", "a.n+x@mail.example.com")
    assert anna.logins == (("https://id.example.com/x", "17"), ("http://127.0.0.1:8080", "Anna|1"))
    assert bundle(PERMIT).operators["alice"].logins == ()


@pytest.mark.parametrize("key", ["emails: [a@example.com]\n", LOGIN])
def test_automation_has_no_mail_address_and_no_login(files: Any, key: str) -> None:
    """What is no person signs in nowhere and owns nothing."""
    text = operators(HUMAN.replace("human", "automation"), f"    {key}")

    [problem] = problems(files(PERMIT, operators_yaml=text))

    assert "automation is not a human" in problem
    assert problem.startswith(f"operators.yaml:6: operators.anna.{key.split(':')[0]}")


def test_d02_login_belongs_to_one_operator(files: Any) -> None:
    """One login at two operators would make one person two, or two persons one."""
    text = operators(HUMAN, f"    {LOGIN}", OTHER, f"    {LOGIN}")
    twice = LOGIN.replace("}]", '}, {issuer: "https://id.example.com", subject: "17"}]')

    [problem] = problems(files(PERMIT, operators_yaml=text))
    [own] = problems(files(PERMIT, operators_yaml=operators(HUMAN, f"    {twice}")))

    assert "operators.otto.logins[0]: is a login of anna already" in problem
    assert "operators.anna.logins[1]: is a login of anna already" in own


@pytest.mark.parametrize(
    "login",
    [
        '{issuer: "http://id.example.com", subject: "17"}',
        '{issuer: "http://localhost.example.com", subject: "17"}',
        '{issuer: "https://id.example.com?x=1", subject: "17"}',
        '{issuer: "https://id.example.com/#x", subject: "17"}',
        '{issuer: "https://me@id.example.com", subject: "17"}',
        '{issuer: "https://id.example.com/@x", subject: "17"}',
        '{issuer: "id.example.com", subject: "17"}',
        '{issuer: "https://id.example.com", subject: ""}',
        '{issuer: "https://id.example.com", subject: "a b"}',
        '{issuer: "https://id.example.com", subject: 17}',
        '{issuer: "https://id.example.com"}',
        '{issuer: "https://id.example.com", subject: "17", email: x}',
    ],
)
def test_bad_logins_are_refused(files: Any, login: str) -> None:
    """An issuer is one exact https URL (http on this host only), a subject one exact word."""
    text = operators(HUMAN, f"    logins: [{login}]\n")

    found = problems(files(PERMIT, operators_yaml=text))

    assert all("operators.yaml:6: operators.anna.logins[0]" in problem for problem in found)


@pytest.mark.parametrize(
    "email", ["anna", "anna@", "@example.com", "a b@example.com", "a@b@c", "<a@example.com>", "ä@x"]
)
def test_bad_mail_addresses_are_refused(files: Any, email: str) -> None:
    """Nothing that could be read as more than one plain address."""
    text = operators(HUMAN, f'    emails: ["{email}"]\n')

    [problem] = problems(files(PERMIT, operators_yaml=text))

    assert "operators.anna.emails[0]" in problem
    assert "is not a mail address" in problem


def test_nobody_is_called_like_the_socket_of_the_host(files: Any) -> None:
    """``local`` asks for control actions under its own name; no operator may share it."""
    [problem] = problems(files(PERMIT, operators_yaml=operators(HUMAN.replace("anna:", "local:"))))

    assert "operators.local: is the name of the host's own socket" in problem


# -- tools.yaml -----------------------------------------------------------------------------------


def test_tool_says_how_it_is_undone(files: Any, bundle: Any) -> None:
    """A sentence for whoever decides about a call; one line, or it is refused."""
    text = "version: 1\ntools:\n  ping: {class: read, undo: Nothing to undo.}\n"

    assert bundle(PERMIT, tools_yaml=text).tools["ping"].undo == "Nothing to undo."
    bad = files(PERMIT, tools_yaml=text.replace("Nothing to undo.", '"a\\nb"'))
    assert "tools.yaml:3: tools.ping.undo" in problems(bad)[0]


# -- agents.yaml ----------------------------------------------------------------------------------


def test_agents_can_be_protected(files: Any, bundle: Any) -> None:
    """It is said explicitly; anything but true or false is refused."""
    text = "version: 1\nagents:\n  core: {owner: emma, protected: true}\n  mail: {owner: emma}\n"
    agents = bundle(PERMIT, agents_yaml=text).agents

    assert [agents[name].is_protected for name in ("core", "mail")] == [True, False]
    bad = files(PERMIT, agents_yaml=text.replace("true", '"true"'))
    assert "agents.yaml:3: agents.core.protected" in problems(bad)[0]
