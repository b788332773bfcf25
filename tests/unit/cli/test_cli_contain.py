# SPDX-License-Identifier: Apache-2.0
"""``contain`` and ``release``: targets, questions, receipts, exit codes."""

from __future__ import annotations

import pytest

from sidecar.api.v1 import containment_pb2, types_pb2
from sidecar.cli.contain import parse_duration
from sidecar.cli.exits import Exit
from sidecar.cli.targets import TARGET_FORMS, parse_target
from sidecar.errors import EnvironmentFailure, ErrorReason, IntegrityError, RefusedError

KILL = ("--level", "kill", "--reason", "drill")


def test_a_kill_is_ordered_and_proved(host, holdfast):
    """The answer is the receipt, and it says who enforces."""
    result = holdfast("contain", "agent", "banking", *KILL, "--confirm", "banking", "--json")

    assert result.code == Exit.OK
    document = result.json()
    assert document["kind"] == "Containment"
    assert document["agents"] == ["banking"]
    receipt = document["receipt"]
    assert receipt["directive"]["level"] == "KILL"
    assert receipt["directive"]["target"] == {
        "kind": "agent", "agent": "banking", "text": "agent banking",
    }  # fmt: skip
    assert [gate["state"] for gate in receipt["gates"]] == ["ENFORCED", "ENFORCED"]
    assert receipt["durable"]
    request = host.control.last(containment_pb2.ContainRequest)
    assert request.target.agent == "banking"
    assert request.level == types_pb2.LEVEL_KILL
    assert request.reason == "drill"
    assert document["request_id"] == request.request_id


def test_people_are_shown_what_holds_and_who_obeys(host, holdfast):
    """The text form of the same receipt, escaped."""
    result = holdfast("contain", "agent", "banking", *KILL, "--confirm", "banking")

    assert result.code == Exit.OK
    assert "✓ durable" in result.out
    assert "✓ gate banking: ENFORCED" in result.out
    assert "pgid 4711 \\u{1b}[1m: TERMINATED" in result.out
    assert "\x1b" not in result.out + result.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("agent banking", types_pb2.Target(agent="banking")),
        (
            "session banking s-1",
            types_pb2.Target(session=types_pb2.Target.Session(agent="banking", session="s-1")),
        ),
        ("tool send_money", types_pb2.Target(tool="send_money")),
        (
            "tool-at-agent banking send_money",
            types_pb2.Target(
                tool_at_agent=types_pb2.Target.ToolAtAgent(agent="banking", tool="send_money")
            ),
        ),
        ("destination .example.com", types_pb2.Target(destination=".example.com")),
        ("principal emma@example.com", types_pb2.Target(principal="emma@example.com")),
        (
            "labels env=prod,team=blue",
            types_pb2.Target(
                labels=types_pb2.Target.Labels(labels={"env": "prod", "team": "blue"})
            ),
        ),
        ("all", types_pb2.Target(all=types_pb2.Target.All())),
    ],
)
def test_every_kind_of_target_can_be_named(words, expected):
    """Exactly what was typed travels; nothing is normalised."""
    assert parse_target(words.split()) == expected
    assert words.split()[0] in TARGET_FORMS


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("banking", "did you mean `agent banking`?"),
        ("agnet banking", "did you mean `agent NAME`?"),
        ("agent", "write `agent NAME`"),
        ("agent a b", "write `agent NAME`"),
        ("session banking", "write `session AGENT SESSION`"),
        ("labels env", "is no label"),
        ("labels env=a,env=b", "named twice"),
        ("all agents", "write `all`"),
        ("xyzzy q", "Targets are:"),
        ("\x1b[2J q", "Targets are:"),
    ],
)
def test_a_slip_in_the_target_is_told_before_anything_travels(host, holdfast, words, told):
    """Exit 2, what to write, and control was not asked."""
    result = holdfast("contain", *words.split(), *KILL, "--yes")

    assert result.code == Exit.USAGE
    assert told in result.err
    assert "\x1b" not in result.err
    assert host.control.requests == []


def test_a_kill_without_a_terminal_must_say_the_name(host, holdfast):
    """A script that forgot to confirm stops before the order, and is told how."""
    result = holdfast("contain", "agent", "banking", *KILL)

    assert result.code == Exit.USAGE
    assert "--confirm banking" in result.err
    assert "covers 1 agent(s): banking" in result.err
    assert not host.control.directives


def test_a_kill_without_a_name_negative_control(host, holdfast, monkeypatch):
    """With the question patched out, the unconfirmed order goes through."""
    monkeypatch.setattr("sidecar.cli.contain.confirm_by_name", lambda *_, **__: None)

    assert holdfast("contain", "agent", "banking", *KILL).code == Exit.OK
    assert host.control.directives


def test_the_wrong_name_stops_the_order(host, holdfast):
    """--confirm is a check, not a formality."""
    result = holdfast("contain", "agent", "banking", *KILL, "--confirm", "travel")

    assert result.code == Exit.USAGE
    assert "nothing was done" in result.err
    assert not host.control.directives


@pytest.mark.parametrize(("typed", "code"), [("banking\n", Exit.OK), ("bank\n", Exit.USAGE)])
def test_somebody_at_a_terminal_types_the_name(host, holdfast, monkeypatch, typed, code):
    """The name of the agent, whole."""
    monkeypatch.setattr("sidecar.cli.targets.is_interactive", lambda: True)

    result = holdfast("contain", "agent", "banking", *KILL, stdin=typed)

    assert result.code == code
    assert bool(host.control.directives) is (code == Exit.OK)


@pytest.mark.parametrize(("typed", "code"), [("y\n", Exit.OK), ("\n", Exit.USAGE)])
def test_a_lesser_level_is_a_question_whose_default_is_no(host, holdfast, monkeypatch, typed, code):
    """Moderate orders ask y/N."""
    monkeypatch.setattr("sidecar.cli.targets.is_interactive", lambda: True)

    result = holdfast(
        "contain", "agent", "banking", "--level", "hold", "--reason", "x", stdin=typed
    )

    assert result.code == code
    assert bool(host.control.directives) is (code == Exit.OK)


def test_all_needs_the_word(host, holdfast):
    """--yes is not enough to stop every agent."""
    refused = holdfast("contain", "all", "--level", "freeze", "--reason", "x", "--yes")
    done = holdfast("contain", "all", "--level", "freeze", "--reason", "x", "--confirm", "all")

    assert refused.code == Exit.USAGE
    assert "--confirm all" in refused.err
    assert done.code == Exit.OK
    assert len(host.control.directives) == 1


def test_observing_asks_nobody(host, holdfast):
    """Marking calls changes nothing for the agent."""
    result = holdfast("contain", "agent", "banking", "--level", "observe", "--reason", "x")

    assert result.code == Exit.OK


def test_a_dry_run_orders_nothing(host, holdfast):
    """It says whom it would cover."""
    result = holdfast("contain", "labels", "env=prod", *KILL, "--dry-run", "--json")

    assert result.code == Exit.OK
    assert result.json()["agents"] == ["banking", "travel"]
    assert host.control.last(containment_pb2.ContainRequest).validate_only
    assert not host.control.directives


@pytest.mark.parametrize("flags", [("--dry-run",), ("--yes",)])
def test_a_selector_that_matches_nothing_exits_non_zero(host, holdfast, flags):
    """A misspelt label must not look like a success, ordered or not."""
    result = holdfast("contain", "labels", "env=prdo", *KILL, *flags)

    assert result.code == Exit.FAILURE
    assert "no agent" in result.err + result.out


def test_a_laggard_exits_non_zero(host, holdfast):
    """The order stands, but not everywhere yet, and the exit code says so."""
    host.control.laggards = {"travel"}

    result = holdfast("contain", "agent", "banking", *KILL, "--yes")

    assert result.code == Exit.FAILURE
    assert "✗ gate travel: LAGGARD" in result.out
    assert "not acknowledged yet by: travel" in result.err
    assert host.control.directives


def test_a_directive_that_is_not_durable_is_no_success(host, holdfast):
    """It holds in memory; a power cut would end it."""
    host.control.is_durable = False

    result = holdfast("contain", "agent", "banking", *KILL, "--yes")

    assert result.code == Exit.UNAVAILABLE
    assert "not durable" in result.err


def test_the_same_request_id_is_the_same_order(host, holdfast):
    """A retry makes no second directive; another body is a conflict."""
    order = ("contain", "agent", "banking", "--level", "freeze", "--yes", "--request-id", "INC-7-a")

    first = holdfast(*order, "--reason", "x", "--json")
    second = holdfast(*order, "--reason", "x", "--json")
    other = holdfast(*order, "--reason", "y", "--json")

    assert first.code == second.code == Exit.OK
    assert second.json()["repeated_request"]
    assert other.code == Exit.FAILURE
    assert other.json()["error"]["reason"] == "REQUEST_ID_CONFLICT"
    assert len(host.control.directives) == 1


def test_ttl_and_throttle_travel(host, holdfast):
    """Durations are a number and a unit."""
    result = holdfast(
        "contain", "agent", "banking", "--level", "throttle", "--calls-per-minute", "3",
        "--ttl", "15m", "--reason", "x", "--yes",
    )  # fmt: skip

    request = host.control.last(containment_pb2.ContainRequest)
    assert result.code == Exit.OK
    assert request.ttl.seconds == 900
    assert request.throttle_calls_per_minute == 3


@pytest.mark.parametrize("text", ["15", "m", "0m", "-5m", "1w", "1.5h", "1 h", "９m"])
def test_other_durations_are_refused(host, holdfast, text):
    """No guess about units."""
    result = holdfast("contain", "agent", "banking", *KILL, "--ttl", text, "--yes")

    assert result.code == Exit.USAGE
    assert "for example 15m" in result.err


def test_durations():
    """The four units."""
    assert [parse_duration(text).total_seconds() for text in ("9s", "1m", "2h", "3d")] == [
        9, 60, 7200, 259200,
    ]  # fmt: skip


def test_calls_per_minute_belongs_to_throttle(host, holdfast):
    """An option without effect would be a misunderstanding."""
    result = holdfast("contain", "agent", "banking", *KILL, "--calls-per-minute", "3", "--yes")

    assert result.code == Exit.USAGE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RefusedError("no", hint="ask alice"), Exit.DENIED),
        (RefusedError("wide", reason=ErrorReason.WIDE_BLAST, hint="ask alice"), Exit.DENIED),
        (EnvironmentFailure("disk", hint="ask alice"), Exit.UNAVAILABLE),
        (IntegrityError("latch", hint="ask alice"), Exit.INTEGRITY),
    ],
)
def test_what_control_refuses_comes_with_its_reason_and_hint(host, holdfast, error, code):
    """ErrorInfo is decoded into message, reason and hint."""
    host.control.failure = error

    result = holdfast("contain", "agent", "banking", *KILL, "--yes", "--json")

    assert result.code == code
    assert result.json()["error"] == {
        "reason": error.reason.value,
        "message": error.message,
        "hint": "ask alice",
        "exit_code": code,
    }
    assert "(ask alice)" in result.err


def test_control_that_hangs_is_left_after_the_deadline(host, holdfast):
    """Every call has a deadline, and the answer says that nothing is known."""
    host.control.hang = True

    result = holdfast("contain", "agent", "banking", *KILL, "--yes", "--timeout", "0.3", "--json")

    assert result.code == Exit.UNAVAILABLE
    assert result.json()["error"]["reason"] == "DEADLINE"
    assert "not known" in result.err


def test_control_that_is_gone_is_told(host, holdfast):
    """The socket is there, and nobody behind it."""
    host.layout.local_socket.unlink()
    _dead_socket(host.layout.local_socket)

    result = holdfast("contain", "agent", "banking", *KILL, "--yes", "--json")

    assert result.code == Exit.UNAVAILABLE
    assert result.json()["error"]["reason"] == "CONTROL_UNAVAILABLE"
    assert "holdfast doctor" in result.err


def _dead_socket(path) -> None:
    import socket

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.close()


def test_a_broken_settings_file_does_not_stop_a_kill(host, holdfast, tmp_path):
    """The lever works although somebody broke the file; the mistake is told."""
    config = tmp_path / "holdfast.yaml"
    config.write_text("version: 1\nlog_level: loud\n")

    result = holdfast("contain", "agent", "banking", *KILL, "--yes", "--config", str(config))

    assert result.code == Exit.OK
    assert "warning:" in result.err
    assert f"{config}:2: log_level" in result.err
    assert host.control.directives


def test_local_works_and_takes_no_certificate(host, holdfast):
    """--local is the root-only socket, whoever else could be reached."""
    done = holdfast("contain", "agent", "banking", *KILL, "--yes", "--local")
    mixed = holdfast("contain", "agent", "banking", *KILL, "--yes", "--local", "--as", "alice")

    assert done.code == Exit.OK
    assert mixed.code == Exit.USAGE


# -- release --------------------------------------------------------------------------------------


def test_a_second_human_releases(host, holdfast):
    """--as uses a development certificate, and control sees another operator."""
    address = host.serve_tls("alice", "bob")
    (host.layout.control / "address").write_text(address + "\n")
    ordered = holdfast(
        "contain", "agent", "banking", *KILL, "--yes", "--as", "alice", "--json"
    ).json()
    epoch = str(ordered["receipt"]["directive"]["epoch"])

    own = holdfast("release", epoch, "--reason", "over", "--as", "alice", "--json")
    done = holdfast("release", epoch, "--reason", "over", "--as", "bob", "--json")
    again = holdfast("release", epoch, "--reason", "over", "--as", "bob")

    assert ordered["receipt"]["directive"]["author"] == "alice"
    assert own.code == Exit.DENIED
    assert own.json()["error"]["reason"] == "SECOND_HUMAN_NEEDED"
    assert done.code == Exit.OK
    assert done.json()["directive"]["releaser"] == "bob"
    assert again.code == Exit.FAILURE


def test_what_still_holds_is_told_after_a_release(host, holdfast):
    """Releasing one of two directives frees nobody."""
    address = host.serve_tls("bob")
    for _ in range(2):
        holdfast("contain", "agent", "banking", *KILL, "--yes")

    result = holdfast("release", "2", "--reason", "x", "--as", "bob", "--address", address)

    assert result.code == Exit.OK
    assert "still held by:" in result.out


def test_releasing_what_is_not_there_fails(host, holdfast):
    """Exit 1: nothing matched."""
    assert holdfast("release", "99", "--reason", "x").code == Exit.FAILURE
    assert holdfast("release", "banking", "--reason", "x").code == Exit.USAGE
    assert holdfast("release", "0", "--reason", "x").code == Exit.USAGE
    assert holdfast("release", "2").code == Exit.USAGE
