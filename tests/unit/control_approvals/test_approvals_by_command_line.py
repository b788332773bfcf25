# SPDX-License-Identifier: Apache-2.0
"""The commands against the real services, over TLS with a certificate per operator."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner

from sidecar.approvals.values import ApprovalState
from sidecar.canonical import fingerprint_words
from sidecar.cli.exits import Exit
from sidecar.cli.main import cli
from sidecar.layout import StateLayout
from sidecar.model import Role
from tests.unit.cli.cli_server import ServerThread
from tests.unit.control_approvals.approvals_rig import OPERATORS, URL, ApprovalsRig

LOCAL = "local"


@dataclass(slots=True)
class Host:
    """A control in a thread, and the commands in this one."""

    rig: ApprovalsRig
    thread: ServerThread

    def run(self, work: Any) -> Any:
        """Run the coroutine *work* in control's loop."""
        return self.thread.run(work)

    def holdfast(self, who: str, *arguments: str) -> tuple[int, str, dict[str, Any]]:
        """Run a command as *who*; return exit code, stderr, and what it printed as JSON."""
        as_ = () if who == LOCAL else ("--as", who)
        result = CliRunner().invoke(cli, [*arguments, *as_, "--json"], catch_exceptions=False)
        return result.exit_code, result.stderr, json.loads(result.stdout)


@pytest.fixture(scope="module")
def module_dir() -> Iterator[Path]:
    """A directory whose path leaves room for a socket's name."""
    path = Path(tempfile.mkdtemp(prefix="hf-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def host(module_dir: Path) -> Iterator[Host]:
    """One control for all commands here: each test asks for an approval of its own."""
    layout = StateLayout.of(module_dir / "s", module_dir / "r")
    for directory in (layout.control, layout.local_socket.parent):
        directory.mkdir(parents=True, mode=0o700)
    thread = ServerThread()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("HOLDFAST_")]:
            patch.delenv(name)
        patch.setenv("HOLDFAST_STATE_DIR", str(layout.root))
        patch.setenv("HOLDFAST_RUNTIME_DIR", str(layout.runtime))
        patch.setattr("sidecar.settings.DEFAULT_CONFIG", module_dir / "no.yaml")
        # Control would log to the very stdout that the commands print to.
        quiet = structlog.wrap_logger(structlog.PrintLogger(io.StringIO()))
        patch.setattr("sidecar.control.interceptor.log", quiet)
        patch.setattr("sidecar.control.admission.log", quiet)
        rig = ApprovalsRig(module_dir)
        thread.run(rig.__aenter__())
        address = thread.run(rig.serve_tls(layout.pki))
        thread.run(rig.serve_local(layout.local_socket))
        (layout.control / "address").write_text(address + "\n")
        yield Host(rig, thread)
        thread.run(rig.__aexit__())
    thread.stop()


def test_a_call_is_held_looked_at_granted_and_used(host):
    """From the list to the second try of the agent."""
    approval = host.run(host.rig.hold(number="flow"))

    _, _, mine = host.holdfast("bob", "approvals", "list", "--mine")
    _, _, shown = host.holdfast("bob", "approvals", "show", approval.id)
    eight = shown["approval"]["fingerprint"][:8]
    code, _, granted = host.holdfast(
        "bob", "approvals", "grant", approval.id, "--fingerprint", eight
    )
    used = host.run(host.rig.ask(number="flow"))

    assert approval.name in {row["name"] for row in mine["approvals"]}
    assert shown["approval"]["url"] == URL + approval.id
    assert code == Exit.OK
    assert granted["approval"]["votes"][0]["channel"] == "cli"
    assert used.approval.state is ApprovalState.CONSUMED


def test_d19_command_and_service_show_the_same_digits_and_words(host):
    """What is compared on the telephone is one thing: approval, operation and command alike."""
    action = host.run(host.rig.act())
    expected = fingerprint_words(action.request.fingerprint)

    _, _, approval = host.holdfast("bob", "approvals", "show", action.id)
    _, _, operation = host.holdfast("alice", "operations", "show", action.id)
    text = CliRunner().invoke(cli, ["approvals", "show", action.id, "--as", "bob"]).stdout

    assert approval["approval"]["fingerprint_words"] == expected
    assert operation["operation"]["fingerprint_words"] == expected
    assert f"fingerprint  {expected}" in text


def test_two_humans_are_two_commands(host):
    """Exit 4 after the first, 0 after the second; the same human's other account is no second."""
    approval = host.run(host.rig.hold(quorum=2))
    grant = ("approvals", "grant", approval.id, "--fingerprint", approval.request.fingerprint[:8])

    first, _, _ = host.holdfast("bob", *grant)
    alias, _, told = host.holdfast("bobby", *grant)
    second, _, done = host.holdfast("carol", *grant)

    assert (first, alias, second) == (Exit.HELD, Exit.FAILURE, Exit.OK)
    assert told["error"]["reason"] == "ALREADY_VOTED"
    assert done["approval"]["state"] == "GRANTED"


COMMAND_TABLE = {
    # who: what `grant` says of a call of an agent that olga owns
    "bob": (Exit.OK, None),
    "carol": (Exit.OK, None),
    "bobby": (Exit.OK, None),
    "anna": (Exit.OK, None),
    "alice": (Exit.OK, None),
    "olga": (Exit.DENIED, "SELF_APPROVAL"),
    "rita": (Exit.FAILURE, "NOT_FOUND"),
    "paul": (Exit.FAILURE, "NOT_FOUND"),
    "audrey": (Exit.DENIED, "NOT_AN_APPROVER"),
    "soar": (Exit.DENIED, "NOT_AN_APPROVER"),
    "robot": (Exit.DENIED, "NOT_AN_APPROVER"),
    LOCAL: (Exit.DENIED, "NOT_AN_APPROVER"),
}


@pytest.mark.parametrize("who", COMMAND_TABLE)
def test_d21_the_command_speaks_for_its_own_operator(host, who):
    """The certificate decides, root's socket included; the vote is under that name or is none."""
    approval = host.run(host.rig.hold())
    expected, reason = COMMAND_TABLE[who]

    code, _, told = host.holdfast(
        who, "approvals", "grant", approval.id, "--fingerprint", approval.request.fingerprint[:8]
    )

    now = host.run(host.rig.approvals.get(approval.id))
    assert code == expected
    assert told.get("error", {}).get("reason") == reason
    assert [vote.operator for vote in now.votes] == ([who] if reason is None else [])


def test_d21_the_table_of_commands_holds_every_operator():
    """Nobody is forgotten."""
    assert set(COMMAND_TABLE) == {*OPERATORS, LOCAL}


@pytest.mark.parametrize("who", ["audrey", "soar", "robot", LOCAL, "rita"])
def test_d21_refusing_takes_the_role_too(host, who):
    """A refusal ends a request: it is a decision as well."""
    approval = host.run(host.rig.hold())

    code, _, _ = host.holdfast(who, "approvals", "refuse", approval.id, "--reason", "no")

    assert code in {Exit.DENIED, Exit.FAILURE}
    assert host.run(host.rig.approvals.get(approval.id)).state is ApprovalState.PENDING


def test_d26_a_foreign_one_and_a_missing_one_read_alike(host):
    """The same words and the same exit code."""
    foreign = host.run(host.rig.act("activate_policy", role=Role.POLICY_APPROVE))

    one = host.holdfast("bob", "approvals", "show", foreign.id)
    other = host.holdfast("bob", "approvals", "show", "apr_" + "f" * 32)
    operation = host.holdfast("bob", "operations", "show", foreign.id)
    nothing = host.holdfast("bob", "operations", "show", "apr_" + "f" * 32)

    assert one == other
    assert operation == nothing
    assert one[0] == operation[0] == Exit.FAILURE


def test_a_held_action_is_waited_for(host):
    """``operations show --wait`` ends with the refusal."""
    action = host.run(host.rig.act())
    host.holdfast("bob", "approvals", "refuse", action.id, "--reason", "not now")

    code, _, told = host.holdfast("alice", "operations", "show", action.id, "--wait", "30s")

    assert code == Exit.DENIED
    assert told["operation"]["state"] == "REFUSED"
    assert "refused by bob" in told["operation"]["detail"]


def test_a_passkey_is_asked_for_in_the_console(host):
    """Exit 3 and where; nothing was voted."""
    approval = host.run(host.rig.hold(is_passkey_needed=True))

    code, err, told = host.holdfast(
        "bob", "approvals", "grant", approval.id, "--fingerprint", approval.request.fingerprint[:8]
    )

    assert code == Exit.DENIED
    assert told["error"]["reason"] == "PASSKEY_NEEDED"
    assert URL + approval.id in err
    assert host.run(host.rig.approvals.get(approval.id)).votes == ()
