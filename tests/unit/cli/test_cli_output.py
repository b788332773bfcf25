# SPDX-License-Identifier: Apache-2.0
"""What is printed: escaped, in columns or as one object, and without colour where none belongs."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.cli.output import emit, set_json
from sidecar.cli.terminal import escape, escape_block

HOSTILE = "a\x1b]8;;http://evil\x07b\u202ec\x9b31md\ne\u200bf\u3164g\r\x00"

PRINT_HOSTILE = """
import sys
from sidecar.cli.output import emit, talk
text = {text!r}
def show(page):
    page.line(text)
    page.block(text)
    page.fields([(text, text)])
    page.table((text, "B"), [(text, text)])
    page.mark(True, text)
    page.mark(False, text)
    page.mark(None, text)
emit("Test", {{"text": text}}, show)
talk(text, style="red")
"""


def run_in_terminal(code: str, **environ: str) -> bytes:
    """Run *code* with a terminal for stdout and stderr and return what came out of it."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=slave,
        stderr=slave,
        stdin=slave,
        env={"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "COLUMNS": "100", **environ},
    )
    os.close(slave)
    output = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        output += part
    os.close(master)
    assert process.wait(timeout=30) == 0
    return output


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=40))
def test_d16_whatever_is_escaped_can_be_seen(text):
    """No control, format, separator or surrogate is left; and nothing is dropped."""
    shown = escape(text)

    assert "\n" not in shown
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in shown)
    assert escape(shown) == shown
    assert len(shown) >= len(text)


@pytest.mark.parametrize("blank", ["\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", "\ufe0f"])
def test_d16_blank_letters_are_made_visible(blank):
    """Letters that print as nothing would make two names look the same."""
    assert escape(f"a{blank}b") == f"a\\u{{{ord(blank):x}}}b"


def test_ordinary_text_is_left_alone():
    """Names of people and places are no attack."""
    assert escape("Zoë 北京 — naïve €5 ✓") == "Zoë 北京 — naïve €5 ✓"
    assert escape_block("a\nb\x1b") == "a\nb\\u{1b}"


def test_d16_a_terminal_without_colour_gets_no_escape_at_all():
    """Everything a command can print, on a real terminal: the raw ESC count is 0."""
    output = run_in_terminal(PRINT_HOSTILE.format(text=HOSTILE), NO_COLOR="1")

    assert output.count(b"\x1b") == 0
    assert output.count(b"\x07") == 0
    assert "\u202e".encode() not in output
    assert b"evil" in output


def test_d16_a_terminal_with_colour_gets_only_our_own_sequences():
    """Colour and weight, nothing that moves, links, titles or copies."""
    output = run_in_terminal(PRINT_HOSTILE.format(text=HOSTILE))

    rest = output
    for part in (b"\x1b[0m", b"\x1b[1m", b"\x1b[2m", b"\x1b[31m", b"\x1b[32m", b"\x1b[33m"):
        rest = rest.replace(part, b"")
    assert b"\x1b" in output
    assert b"\x1b" not in rest


def test_d16_negative_control():
    """With the escaping patched out, the same text steers the terminal."""
    code = (
        "import sidecar.cli.output as output\n"
        "output.escape = output.escape_block = str\n" + PRINT_HOSTILE.format(text=HOSTILE)
    )

    output = run_in_terminal(code, NO_COLOR="1")

    assert b"\x1b]8;;http://evil" in output


def test_json_escapes_whatever_is_not_ascii(capsys):
    """One object, pure ASCII, that gives back exactly what went in."""
    set_json(True)

    emit("Test", {"text": HOSTILE}, lambda page: page.line("not this"))

    set_json(False)
    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert json.loads(out) == {"apiVersion": "holdfast/v1", "kind": "Test", "text": HOSTILE}


def test_a_pipe_gets_plain_columns(capsys):
    """Nothing is cut off or coloured, so that grep and awk work."""
    emit(
        "Test",
        {},
        lambda page: page.table(("NAME", "COUNT"), [("a" * 200, 1), ("b", 22)]),
    )

    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "COUNT"]
    assert lines[1].split() == ["a" * 200, "1"]
    assert not any(line.endswith(" ") for line in lines)
