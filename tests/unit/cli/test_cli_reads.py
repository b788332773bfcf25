# SPDX-License-Identifier: Apache-2.0
"""The commands that ask control: lists, receipts, tokens, inventory, policy, health, version."""

from __future__ import annotations

import json

import pytest

from sidecar.api.v1 import containment_pb2, policy_pb2, token_pb2
from sidecar.cli.exits import Exit
from tests.unit.cli import cli_server

KILL = ("--level", "kill", "--reason", "drill \x1b]0;owned\x07", "--yes")


@pytest.fixture
def killed(host, holdfast):
    """A host on which banking is killed, for a reason that attacks terminals."""
    holdfast("contain", "agent", "banking", *KILL)
    return host


# -- directives, receipts -------------------------------------------------------------------------


def test_directives_are_listed_newest_first(killed, holdfast):
    """What holds, by whom, why; escaped."""
    holdfast("contain", "agent", "travel", "--level", "hold", "--reason", "x", "--yes")

    text = holdfast("directives", "list")
    document = holdfast("directives", "list", "-o", "json").json()

    assert text.code == Exit.OK
    assert "\x1b" not in text.out
    assert "drill \\u{1b}]0;owned\\u{7}" in text.out
    assert [item["epoch"] for item in document["directives"]] == [3, 2]
    assert document["kind"] == "DirectiveList"
    assert document["directives"][1]["reason"] == "drill \x1b]0;owned\x07"


def test_directives_of_an_agent_that_nothing_holds(killed, holdfast):
    """A selector that matches nothing exits non-zero; an empty list of all is fine."""
    assert holdfast("directives", "list", "--agent", "banking").code == Exit.OK
    assert holdfast("directives", "list", "--agent", "travel").code == Exit.FAILURE


def test_pages_can_be_followed(killed, holdfast):
    """A cut list says how to go on."""
    holdfast("contain", "agent", "travel", "--level", "hold", "--reason", "x", "--yes")

    text = holdfast("directives", "list", "--limit", "1")

    assert "--page-token 2" in text.out
    assert killed.control.last(containment_pb2.ListDirectivesRequest).page_size == 1


def test_a_receipt_is_shown_as_it_stands_now(killed, holdfast):
    """Exit 1 while somebody lags, 0 once everybody obeys."""
    killed.control.laggards = {"travel"}
    late = holdfast("receipt", "show", "2")
    killed.control.laggards = set()
    done = holdfast("receipt", "show", "2", "--json")

    assert late.code == Exit.FAILURE
    assert done.code == Exit.OK
    assert done.json()["receipt"]["laggards"] == []
    assert holdfast("receipt", "show", "99").code == Exit.FAILURE


def test_containment_is_verified_by_trying(killed, holdfast):
    """Exit 0 only if nothing is allowed."""
    good = holdfast("verify-containment", "banking")
    killed.control.is_contained = False
    bad = holdfast("verify-containment", "banking", "--json")

    assert good.code == Exit.OK
    assert "✓ 3 calls of banking" in good.out
    assert bad.code == Exit.FAILURE
    assert bad.json()["items"][0]["effect"] == "ALLOW"


# -- tokens ---------------------------------------------------------------------------------------


def test_tokens_are_revoked_by_what_is_named(host, holdfast):
    """The selectors travel as they are; the answer names the epoch."""
    result = holdfast(
        "tokens", "revoke", "--agent", "banking", "--issued-before", "2026-11-22T14:00:00+01:00",
        "--reason", "leak", "--yes", "--json",
    )  # fmt: skip

    assert result.code == Exit.OK
    assert result.json()["revocation"]["issued_before"] == "2026-11-22T13:00:00.000Z"
    assert host.control.last(token_pb2.RevokeTokensRequest).agent == "banking"
    listed = holdfast("tokens", "list", "--json").json()
    assert [item["agent"] for item in listed["revocations"]] == ["banking"]
    assert "banking" in holdfast("tokens", "list").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--reason", "x", "--yes"), "name what to revoke"),
        (("--agent", "banking", "--reason", "x"), "add --yes"),
        (("--agent", "b", "--issued-before", "noon", "--reason", "x", "--yes"), "no time like"),
        (("--agent", "b", "--issued-before", "2026-01-01", "--reason", "x", "--yes"), "zone"),
        (("--jti", "j", "--reason", "x", "--yes"), "needs its issuer"),
        (("--agent", "b", "--yes"), "--reason"),
    ],
)
def test_a_revocation_that_is_not_meant_is_refused(host, holdfast, arguments, told):
    """Nothing is revoked by accident: it could not be taken back."""
    result = holdfast("tokens", "revoke", *arguments)

    assert result.code == Exit.USAGE
    assert told in result.err
    assert not host.control.revocations


def test_a_revocation_that_a_gate_does_not_know_yet(host, holdfast):
    """Exit 1, and which gate."""
    host.control.laggards = {"travel"}

    result = holdfast("tokens", "revoke", "--agent", "banking", "--reason", "x", "--yes")

    assert result.code == Exit.FAILURE
    assert "✗ gate travel" in result.out


# -- inventory ------------------------------------------------------------------------------------


def test_agents_and_tools_are_listed_without_steering_the_terminal(killed, holdfast):
    """Agent-chosen names, labels and destinations are shown, harmless."""
    agents = holdfast("agents", "list")
    tools = holdfast("tools", "list")

    assert (agents.code, tools.code) == (Exit.OK, Exit.OK)
    for out in (agents.out, tools.out):
        assert not set(out) & {"\x1b", "\x07", "\u202e"}
    assert "evil\\u{1b}]52;c;cm0=\\u{7}\\u{202e}gnp (undeclared)" in agents.out
    assert "evil\\u{1b}[1A.example" in tools.out
    assert "KILL" in agents.out
    assert holdfast("tools", "list", "--json").json()["tools"][0]["class"] == "write"


def test_one_agent_is_shown_with_what_holds_it(killed, holdfast):
    """And one that is not there is an error, not an empty page."""
    shown = holdfast("agents", "show", "banking")
    missing = holdfast("agents", "show", "bankin", "--json")

    assert shown.code == Exit.OK
    assert "emma@example.com" in shown.out
    assert "drill" in shown.out
    assert missing.code == Exit.FAILURE
    assert missing.json()["error"]["hint"] == "list the agents; names are exact"


# -- policy at control ----------------------------------------------------------------------------


def test_the_bundle_in_force_is_shown(host, holdfast):
    """Digest and files; a file's text is escaped."""
    shown = holdfast("policy", "show", "--json")
    one = holdfast("policy", "show", "--file", "policies/a.cedar")
    none = holdfast("policy", "show", "--file", "policies/b.cedar")

    assert shown.json()["digest"] == "d" * 64
    assert shown.json()["files"] == {"policies/a.cedar": 8, "tools.yaml": 21}
    assert one.out == "// \\u{1b}[2J\n\n"
    assert none.code == Exit.FAILURE
    assert "tools.yaml" in none.err


def test_a_reload_says_whether_anything_changed(host, holdfast):
    """A dry run only checks."""
    changed = holdfast("policy", "reload", "--json")
    host.control.is_bundle_changed = False
    same = holdfast("policy", "reload", "--dry-run")

    assert changed.json()["changed"] is True
    assert "nothing had changed" in same.out
    assert host.control.last(policy_pb2.ReloadPolicySetRequest).validate_only


# -- health, version, completion ------------------------------------------------------------------


def test_health_of_control_and_of_a_gate(host, holdfast, short_dir, monkeypatch):
    """SERVING is 0, NOT_SERVING is 1, nobody is 5."""
    gate = short_dir / "g.sock"
    host.thread.serve(cli_server.register_health(2), f"unix:{gate}")

    control = holdfast("health", "--json")
    by_path = holdfast("health", str(gate))
    by_option = holdfast("health", "--socket", str(gate))
    by_uri = holdfast("health", f"unix:{gate}")
    nobody = holdfast("health", str(short_dir / "no.sock"), "--json")
    monkeypatch.setenv("HOLDFAST_HEALTH_SOCKET", str(gate))
    by_variable = holdfast("health")

    assert (control.code, control.json()["status"]) == (Exit.OK, "SERVING")
    assert {by_path.code, by_option.code, by_uri.code, by_variable.code} == {Exit.FAILURE}
    assert "NOT_SERVING" in by_path.out
    assert (nobody.code, nobody.json()["status"]) == (Exit.UNAVAILABLE, "UNREACHABLE")


def test_health_without_any_control(holdfast):
    """A probe gets its answer, not an error about sockets."""
    result = holdfast("health")

    assert result.code == Exit.UNAVAILABLE
    assert "UNREACHABLE" in result.out


def test_version_with_and_without_a_control(host, holdfast):
    """The policy's digest and the epoch come from whoever answers."""
    document = holdfast("version", "--json").json()
    host.layout.local_socket.unlink()
    alone = holdfast("version")

    assert document["control"] == {"policy_digest": "d" * 64, "epoch": 1}
    assert document["api"] == "sidecar.api.v1"
    assert alone.code == Exit.OK
    assert "no control answers here" in alone.out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(holdfast, shell):
    """Each shell gets its own."""
    result = holdfast("completion", shell)

    assert result.code == Exit.OK
    assert "_HOLDFAST_COMPLETE" in result.out


# -- config ---------------------------------------------------------------------------------------


def test_config_show_says_where_values_come_from(holdfast, tmp_path):
    """Value and origin, for people and for programs."""
    config = tmp_path / "h.yaml"
    config.write_text("version: 1\nlog_level: error\n")

    text = holdfast("config", "show", "--origin", "--config", str(config))
    document = holdfast("config", "show", "--config", str(config), "--json").json()

    assert f"file {config}:2" in text.out
    assert "environment variable HOLDFAST_STATE_DIR" in text.out
    assert document["settings"]["log_level"] == {"value": "error", "origin": f"file {config}:2"}
    assert len(document["digest"]) == 64


def test_config_validate_names_every_place(holdfast, tmp_path, monkeypatch):
    """Exit 2 with all problems, 0 with none."""
    config = tmp_path / "h.yaml"
    config.write_text("version: 1\nlog_level: loud\nlisen: x\n")
    monkeypatch.setenv("HOLDFAST_FAIL_OPEN", "1")

    bad = holdfast("config", "validate", "--config", str(config), "--json")
    monkeypatch.delenv("HOLDFAST_FAIL_OPEN")
    good = holdfast("config", "validate")
    control = holdfast("config", "validate", "--for", "control")

    assert bad.code == Exit.USAGE
    assert [problem["line"] for problem in bad.json()["problems"]] == [2, 3, None]
    assert good.code == Exit.OK
    assert control.code == Exit.USAGE
    assert "--tls-certificate" in control.out


def test_k09_a_process_does_not_start_with_an_unknown_knob(holdfast, monkeypatch):
    """Neither control nor a gate nor run: exit 2, and the variable's name."""
    monkeypatch.setenv("HOLDFAST_FAIL_OPEN", "1")

    for command in (
        ("control", "--dev"), ("gate", "--agent", "a"), ("up", "--dev"),
        ("run", "--agent", "a", "--", "true"), ("config", "show"),
    ):  # fmt: skip
        result = holdfast(*command)

        assert result.code == Exit.USAGE, command
        assert "HOLDFAST_FAIL_OPEN" in result.err


def test_k09_there_is_no_such_flag(holdfast):
    """click knows none, and suggests none."""
    for command in (("control",), ("gate", "--agent", "a"), ("up",)):
        for flag in ("--insecure", "--fail-open", "--no-tls", "--allow-all"):
            result = holdfast(*command, flag)

            assert result.code == Exit.USAGE
            assert "No such option" in result.err


def test_the_reference_lists_every_setting(holdfast):
    """Flag, variable, sentence, form."""
    document = holdfast("config", "reference", "--json").json()
    text = holdfast("config", "reference").out

    assert {item["setting"] for item in document["settings"]} >= {"listen", "max_staleness_s"}
    assert "HOLDFAST_MAX_STALENESS_S" in text
    assert "at least 0.5 and at most 30" in text


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (("control",), "tls_certificate"),
        (("gate", "--agent", "Banking"), "--agent"),
        (("gate", "--agent", "a", "--agent", "a"), "twice"),
        (("gate",), "--agent"),
        (("up", "--dev", "--agent", "nobody"), "demo"),
        (("run", "--agent", "a", "--session", "?", "--", "true"), "--session"),
        (("run", "--agent", "a"), "CMD"),
    ],
)
def test_processes_refuse_what_is_not_right_before_they_start(holdfast, command, told):
    """Exit 2 and what to write instead."""
    result = holdfast(*command)

    assert result.code == Exit.USAGE
    assert told in result.err
    assert json.dumps(result.err).count("\\u001b") == 0
