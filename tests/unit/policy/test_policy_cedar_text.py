# SPDX-License-Identifier: Apache-2.0
"""Reading Cedar files: lines, limits, and nothing hidden."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.documents import DocumentErrors
from sidecar.errors import DocumentError
from sidecar.policy import cedar_text
from sidecar.policy.cedar_text import Statement, parse_statements

HEAD = "permit(principal, action, resource)"


def read(text: str) -> tuple[tuple[Statement, ...], list[DocumentError]]:
    problems: list[DocumentError] = []
    return parse_statements(text.encode(), path="p.cedar", problems=problems), problems


def test_statements_come_with_their_lines() -> None:
    """Comments and strings with semicolons do not confuse where a policy begins."""
    statements, problems = read(
        f'// one; "two\n\n@id("a;b") // c\n{HEAD};\r\n{HEAD} when {{ "x;}}" == "\\";" }}; {HEAD};'
    )

    assert not problems
    assert [statement.line for statement in statements] == [3, 5, 5]
    assert statements[0].text.startswith('@id("a;b")')
    assert statements[1].tree["conditions"][0]["kind"] == "when"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"\n{HEAD}", 2, "is not finished"),
        (f'{HEAD} when {{ "x', 1, "closing quote"),
        (f"{HEAD}\n\n{HEAD};", 3, "before the policy above is finished"),
        (f'{HEAD}\n@id("b")\n{HEAD};', 2, "before the policy above is finished"),
        (f"{HEAD} when {{\n context.x\n => 3 }};", 3, "unexpected token `>`"),
        (f"{HEAD} when {{\n context.x &&\n foo(3) }};", 3, "`foo` is not a valid function"),
        ("permit(principal == ?principal, action, resource);", 1, "template"),
        ("allow(principal, action, resource);", 1, "allow"),
        (";", 1, "unexpected"),
        (f"{HEAD};;", 1, "unexpected"),
        ('@id("a") @id("b") permit(principal, action, resource);', 1, "duplicate annotation"),
        (f"{HEAD} when {{ {'(' * 49} true {')' * 49} }};", 1, "deeper than 48"),
        (f"{HEAD} when {{ {'[' * 100_000} }};", 1, "deeper than 48"),
        (f"{HEAD} when {{ {'!' * 100_000} true }};", 1, "too long"),
        (f"{HEAD} when {{ {' && '.join(['true'] * 30_000)} }};", 1, "too long"),
        (f"{HEAD} when {{ {'if true then ' * 30_000} true }};", 1, "too long"),
        (f"{HEAD} when {{ context{'.a' * 30_000} }};", 1, "too long"),
        (f"{HEAD} when {{ context{'.a' * 700} }};", 1, "too deeply"),
        (f'{HEAD} when {{ "{"x" * 70_000}" == "" }};', 1, "too long"),
        (f"{HEAD} when {{ 99999999999999999999 > 1 }};", 1, "too large"),
    ],
)
def test_bad_policies_name_line_and_cause(text: str, line: int, words: str) -> None:
    """What Cedar refuses, and what could exhaust it, is a problem with its line."""
    start = time.perf_counter()
    _, problems = read(text)

    assert any(words in str(problem) and problem.line == line for problem in problems), problems
    assert time.perf_counter() - start < 2


def test_k04_deep_policies_negative_control() -> None:
    """Without our limits such a policy ends the whole process: Cedar's parser has none."""
    code = (
        "import cedarpy; t = 'permit(principal, action, resource) when { ' + '(' * 30000 + 'true'"
        " + ')' * 30000 + ' };'; cedarpy.policies_to_json_str(t)"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert result.returncode < 0


@pytest.mark.parametrize("character", ["\u202e", "\u200b", "\ufeff", "\x00", "\x0b", "\u2028"])
def test_policies_hold_nothing_invisible(character: str) -> None:
    """A character that a reviewer cannot see is refused."""
    with pytest.raises(DocumentErrors, match=r"invisible character|byte order mark"):
        read(f"// {character}\n{HEAD};")


def test_a_lone_carriage_return_cannot_hide_a_policy() -> None:
    """Cedar ends a comment at a carriage return, so a reader would miss what follows it."""
    with pytest.raises(DocumentErrors, match="U\\+000D"):
        read(f"// harmless\r{HEAD};")
    with pytest.raises(DocumentErrors, match="not UTF-8"):
        parse_statements(b"\xff", path="p", problems=[])


def test_hidden_policies_negative_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the character rule, comparing with Cedar's own reading still refuses the file."""
    monkeypatch.setattr(cedar_text, "decode_text", lambda data, name: data.decode())

    statements, problems = read(f"// harmless\r{HEAD};\n{HEAD};")
    monkeypatch.setattr(cedar_text, "_trees_of", lambda text: [statements[0].tree])
    unchecked, none = read(f"// harmless\r{HEAD};\n{HEAD};")

    assert "cannot be told apart" in str(problems[0])
    assert (len(unchecked), none) == (1, [])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [HEAD, "forbid", "(", ")", "{", "}", ";", '"', "\\", "//", "\n", "@id", '("a")',
                 "when", "unless", "context.a", "==", "!", "?principal", "[", "]", ",", "::"]
            ),
            st.text(max_size=3),
        ),
        max_size=20,
    )
)  # fmt: skip
def test_k02_any_text_is_read_or_refused(words: list[str]) -> None:
    """No text raises anything but our errors, and what is read is one policy per statement."""
    try:
        statements, problems = read(" ".join(words))
    except (DocumentErrors, UnicodeEncodeError):
        return

    assert problems or all(statement.text.endswith(";") for statement in statements)
