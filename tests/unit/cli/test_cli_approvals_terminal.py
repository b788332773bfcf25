# SPDX-License-Identifier: Apache-2.0
"""D16 on a real terminal: what agents and approvers wrote never reaches it as anything but text."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import unicodedata

import pytest

from sidecar.api.v1 import approval_pb2
from sidecar.cli.exits import Exit
from sidecar.errors import RefusedError

HOSTILE = (
    "a\x1b[2J\x1b[1;31mb\x1b]8;;http://evil.example\x07click\x1b]8;;\x07\x1b]52;c;cm0gLXJm\x07"
    "c\x9b31m\x9d52;c;cm0=\x9cd\u202egnp.exe\u2066e\u200bf\u2028g\x7fh\r\x08i\U000e0041j\nk"
)
OURS = (b"\x1b[0m", b"\x1b[1m", b"\x1b[2m", b"\x1b[31m", b"\x1b[32m", b"\x1b[33m")
RUN = "from sidecar.cli.main import main\nmain({arguments!r})\n"
UNGUARDED = (
    "import sidecar.cli.output as output, sidecar.cli.approval_views as views\n"
    "output.escape = output.escape_block = views.escape = str\n"
)


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *arguments: str, before: str = "", **environ: str) -> None:
        self._master, slave = pty.openpty()
        self._process = subprocess.Popen(
            [sys.executable, "-c", before + RUN.format(arguments=arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", **environ},
        )
        os.close(slave)
        self.output = b""

    def _read(self) -> bool:
        try:
            part = os.read(self._master, 65536)
        except OSError:
            return False
        self.output += part
        return bool(part)

    def answer(self, question: str, typed: str) -> None:
        """Type *typed* once *question* stands on the terminal."""
        while question.encode() not in self.output:
            assert self._read(), self.output
        os.write(self._master, typed.encode() + b"\n")

    def end(self) -> int:
        """Read to the end and return the exit code."""
        while self._read():
            pass
        os.close(self._master)
        return self._process.wait(timeout=30)


@pytest.fixture
def hostile(host):
    """A control at which every text that somebody else chose is an attack."""
    message = approval_pb2.Approval
    vote = message.Vote(
        operator=HOSTILE, verdict=message.VERDICT_GRANT, reason=HOSTILE, channel=HOSTILE
    )
    host.control.ask(
        arguments={"note": HOSTILE, HOSTILE: [HOSTILE]},
        agent=HOSTILE,
        tool=HOSTILE,
        session=HOSTILE,
        summary=HOSTILE,
        reason=HOSTILE,
        detail=HOSTILE,
        tier=HOSTILE,
        approver_role=HOSTILE,
        approvers=[HOSTILE, "local"],
        policies=[HOSTILE],
        policy_digest=HOSTILE,
        url=HOSTILE,
        quorum=2,
        votes=[vote],
    )
    operation = host.control.held("release", HOSTILE, HOSTILE)
    operation.detail = operation.error_reason = operation.url = operation.requester = HOSTILE
    operation.approvers.append(HOSTILE)
    host.control.is_holding = True
    return host


def waiting(host) -> approval_pb2.Approval:
    return next(iter(host.control.approvals.values()))


def check_harmless(output: bytes) -> None:
    """No character of *output* moves, colours, links, copies, reorders or hides anything."""
    text = output.decode()
    bad = {
        f"U+{ord(char):04X}"
        for char in text
        if char not in "\r\n" and unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
    }
    assert not bad
    assert output.count(b"\x1b") == 0


def commands(host) -> dict[str, tuple[str, ...]]:
    name = waiting(host).name
    (operation,) = host.control.operations
    return {
        "list": ("approvals", "list"),
        "show": ("approvals", "show", name),
        "refuse": ("approvals", "refuse", name, "--reason", "no"),
        "operations": ("operations", "list"),
        "operation": ("operations", "show", operation),
        "contain": ("contain", "labels", "env=prod", "--level", "hold", "--reason", "x", "--yes",
                    "--request-id", HOSTILE),
        "json": ("approvals", "show", name, "--json"),
    }  # fmt: skip


@pytest.mark.parametrize(
    "verb", ["list", "show", "refuse", "operations", "operation", "contain", "json"]
)
def test_d16_no_escape_reaches_the_terminal(hostile, verb):
    """The raw ESC count is 0, as is that of every other character that steers; the text is there."""
    terminal = Terminal(*commands(hostile)[verb], NO_COLOR="1")

    terminal.end()

    assert b"evil.example" in terminal.output
    check_harmless(terminal.output.replace(b"\x7f", b"") if verb == "json" else terminal.output)


def test_d16_with_colour_there_are_only_our_own_sequences(hostile):
    """Colour and weight, nothing that moves, links, titles or copies."""
    terminal = Terminal(*commands(hostile)["show"])

    terminal.end()

    rest = terminal.output
    for part in OURS:
        rest = rest.replace(part, b"")
    assert b"\x1b" in terminal.output
    check_harmless(rest)


def test_d16_granting_on_a_terminal(hostile):
    """Shown whole, asked for the first digits, granted: and never steered by what is granted."""
    approval = waiting(hostile)
    terminal = Terminal("approvals", "grant", approval.name, NO_COLOR="1")

    terminal.answer("Type the first 8 digits", approval.fingerprint[:8])
    code = terminal.end()

    assert code == Exit.OK
    assert approval.state == approval_pb2.Approval.STATE_GRANTED
    assert terminal.output.count(b"evil.example") > 5
    check_harmless(terminal.output)


def test_d16_watching_on_a_terminal(hostile):
    """One line per change, whatever line ends an agent wrote."""

    async def end() -> None:
        await hostile.control.changes.put(None)

    hostile.thread.run(end())
    terminal = Terminal("approvals", "watch", NO_COLOR="1")

    code = terminal.end()

    lines = [line for line in terminal.output.split(b"\n") if b"PENDING" in line]
    assert code == Exit.UNAVAILABLE
    assert len(lines) == len(hostile.control.approvals)
    check_harmless(terminal.output)


def test_d16_what_control_refuses_is_text_too(hostile):
    """Messages and hints of errors repeat what others wrote."""
    hostile.control.failure = RefusedError(HOSTILE, hint=HOSTILE)
    terminal = Terminal(*commands(hostile)["show"], NO_COLOR="1")

    code = terminal.end()

    assert code == Exit.DENIED
    check_harmless(terminal.output)


def test_d16_negative_control(hostile):
    """With the escaping patched out, the same request links, copies and clears the screen."""
    terminal = Terminal(*commands(hostile)["show"], before=UNGUARDED, NO_COLOR="1")

    terminal.end()

    assert b"\x1b]8;;http://evil.example" in terminal.output
    assert b"\x1b]52;c;" in terminal.output
    assert b"\x1b[2J" in terminal.output


def test_d16_a_state_that_is_not_ours_is_text(hostile):
    """A newer control may send what this client does not know."""
    operation = next(iter(hostile.control.operations.values()))
    operation.state = 99
    terminal = Terminal(*commands(hostile)["operation"], NO_COLOR="1")

    code = terminal.end()

    assert code == Exit.FAILURE
    assert b"UNKNOWN_99" in terminal.output
