# SPDX-License-Identifier: Apache-2.0
"""``holdfast try``: one real question to a gate, and the answer as an exit code."""

from __future__ import annotations

import json

import pytest

from sidecar.api.v1 import guard_pb2, policy_pb2
from sidecar.cli.arguments import arguments_bytes
from sidecar.cli.exits import Exit
from tests.unit.cli.cli_gate import MemoryGate


@pytest.fixture
def gate(host):
    """The gate of agent banking, on its socket."""

    async def make() -> MemoryGate:
        return MemoryGate()

    gate = host.thread.run(make())
    socket = host.layout.agent_socket("banking")
    socket.parent.mkdir(parents=True)
    host.thread.serve(gate.register, f"unix:{socket}")
    return gate


@pytest.mark.parametrize(
    ("tool", "code", "effect"),
    [
        ("get_balance", Exit.OK, "ALLOW"),
        ("rm", Exit.DENIED, "DENY"),
        ("send_money", Exit.HELD, "HOLD"),
    ],
)
def test_the_exit_code_is_the_effect(gate, holdfast, tool, code, effect):
    """0 allowed, 3 denied, 4 held."""
    result = holdfast("try", tool, "--agent", "banking", "--json")

    assert result.code == code
    assert result.json()["effect"] == effect
    assert result.json()["decision_id"] == "dec_1"


def test_the_answer_explains_itself(gate, host, holdfast):
    """Reasons from the gate, policies from control, all escaped."""
    result = holdfast("try", "send_money", "--agent", "banking")

    assert "POLICY_HOLD: because \\u{1b}[2J of that" in result.out
    assert "a human decides (HIGH, 2 of role approve): money leaves" in result.out
    assert "banking-may" in result.out
    assert "policies/a.cedar:3" in result.out
    assert "\x1b" not in result.out
    assert host.control.last(policy_pb2.ExplainDecisionRequest).agent == "banking"


def test_without_control_there_is_still_a_decision(gate, host, holdfast):
    """The explanation is extra; the gate decides."""
    host.layout.local_socket.unlink()

    result = holdfast("try", "get_balance", "--agent", "banking", "--json")

    assert result.code == Exit.OK
    assert result.json()["explanation"] is None


def test_an_allow_is_reported_as_not_used(gate, holdfast):
    """The log must not read as if the call had been made."""
    holdfast("try", "get_balance", "--agent", "banking")
    holdfast("try", "rm", "--agent", "banking")

    assert [outcome.result for outcome in gate.outcomes] == [guard_pb2.Outcome.RESULT_CANCELLED]
    assert gate.outcomes[0].decision_id == "dec_1"


def test_what_is_asked_travels_whole(gate, holdfast, tmp_path):
    """Arguments, session, URL and token."""
    token = tmp_path / "token"
    token.write_text("abc.def\n")
    token.chmod(0o600)

    holdfast(
        "try", "get_balance", "--agent", "banking", "--session", "s-9", "--url", "https://e.example",
        "--arg", "account=GB29", "--arg", "limit=5", "--token-file", str(token),
    )  # fmt: skip

    call = gate.calls[0]
    assert json.loads(call.arguments) == {"account": "GB29", "limit": 5}
    assert (call.session_id, call.url) == ("s-9", "https://e.example")
    assert gate.tokens == ["abc.def"]


def test_k01_a_token_that_others_can_read_is_refused(gate, holdfast, tmp_path):
    """It would be somebody else's too; and its content is never shown."""
    token = tmp_path / "token"
    token.write_text("secret-token")
    token.chmod(0o644)
    result = holdfast("try", "get_balance", "--agent", "banking", "--token-file", str(token))
    token.chmod(0o600)
    token.write_bytes(b"secret-\xff")
    garbage = holdfast("try", "get_balance", "--agent", "banking", "--token-file", str(token))

    assert result.code == Exit.FAILURE
    assert garbage.code == Exit.USAGE
    assert "secret" not in result.err + garbage.err
    assert gate.calls == []


def test_json_arguments_are_passed_on_byte_for_byte(gate, holdfast, tmp_path):
    """Strictness is the gate's business: duplicate keys must reach it as they are."""
    raw = '{"a": 1,  "a": 2}'
    file = tmp_path / "args.json"
    file.write_text(raw)

    holdfast("try", "get_balance", "--agent", "banking", "--json-args", raw)
    holdfast("try", "get_balance", "--agent", "banking", "--json-args", f"@{file}")
    holdfast("try", "get_balance", "--agent", "banking", "--json-args", "-", stdin=raw)

    assert [call.arguments for call in gate.calls] == [raw.encode()] * 3


def test_the_only_agent_need_not_be_named(gate, host, holdfast, monkeypatch):
    """With two sockets it must be; inside ``holdfast run`` the environment names it."""
    alone = holdfast("try", "get_balance")
    other = host.layout.agent_socket("travel")
    other.parent.mkdir()
    other.touch()
    two = holdfast("try", "get_balance")
    address = f"unix:{host.layout.agent_socket('banking')}"
    monkeypatch.setenv("HOLDFAST_ADDRESS", address)
    inherited = holdfast("try", "get_balance")

    assert alone.code == inherited.code == Exit.OK
    assert two.code == Exit.USAGE
    assert "there are: banking, travel" in two.err


def test_an_agent_without_a_gate_is_told(gate, holdfast):
    """Exit 5, and which agents there are."""
    result = holdfast("try", "get_balance", "--agent", "bankin")

    assert result.code == Exit.UNAVAILABLE
    assert 'did you mean "banking"' in result.err


def test_a_gate_that_does_not_answer_is_no_denial_by_policy(gate, host, holdfast):
    """Nobody decided: exit 5, not 3."""
    import socket

    path = host.layout.agent_socket("dead")
    path.parent.mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.close()

    result = holdfast("try", "get_balance", "--agent", "dead", "--timeout", "0.5", "--json")

    assert result.code == Exit.UNAVAILABLE
    assert result.json()["local"] is True
    assert result.json()["effect"] == "DENY"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5), ("-1.5", -1.5), ("true", True), ("null", None), ('"5"', "5"), ("[1]", [1]),
        ('{"a": 1}', {"a": 1}), ("rm -rf ./x", "rm -rf ./x"), ("", ""), ("NaN", "NaN"),
        ("Infinity", "Infinity"), ("a=b", "a=b"), ("05", "05"),
    ],
)  # fmt: skip
def test_a_value_is_json_if_it_reads_as_json(text, value):
    """Numbers are numbers; to send the text 5, quote it."""
    assert json.loads(arguments_bytes([f"x={text}"], None)) == {"x": value}
