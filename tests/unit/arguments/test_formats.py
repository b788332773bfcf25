# SPDX-License-Identifier: Apache-2.0
"""Formats: what a schema switches on is checked everywhere it says, or the bundle is refused."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

import sidecar.arguments
import sidecar.canonical
import sidecar.destination
from sidecar.arguments import FormatFindings, FormatRules, check_formats, formats
from sidecar.errors import DocumentError, ErrorReason
from sidecar.model import ReasonCode
from sidecar.shape import ShapeError

PATH = {"type": "string", "format": "holdfast-path"}
ARGV = {"type": "array", "items": {"type": "string"}, "format": "holdfast-argv"}


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Return a real directory with a file and a program."""
    root = tmp_path.resolve()
    (root / "file").write_text("x")
    (root / "tool").write_text("#!/bin/sh\n")
    (root / "tool").chmod(0o755)
    (root / "link").symlink_to("file")
    return root


def schema(**properties: Any) -> dict[str, Any]:
    """Return an object schema."""
    return {"type": "object", "properties": properties, "additionalProperties": False}


def refused(rules: dict[str, Any], arguments: dict[str, Any], root: Path) -> None:
    """Check that *arguments* are refused."""
    with pytest.raises(ShapeError) as caught:
        check_formats(rules, arguments, [str(root)])
    assert caught.value.code is ReasonCode.SCHEMA


def test_a12_paths_are_checked_where_the_schema_says(base: Path) -> None:
    """Direct, in objects, in arrays, in alternatives and where null is allowed too."""
    rules = schema(
        path=PATH,
        inner=schema(path=PATH),
        many={"type": "array", "items": PATH},
        deep={"type": "array", "items": schema(p=PATH)},
        maybe={"anyOf": [PATH, {"type": "null"}]},
        nullable={"type": ["string", "null"], "format": "holdfast-path"},
        text={"type": "string"},
    )
    good = str(base / "file")
    arguments = {
        "path": good,
        "inner": {"path": good},
        "many": [good, good],
        "deep": [{"p": good}, {}],
        "maybe": None,
        "nullable": good,
        "text": "../../etc/passwd; rm -rf / #",
    }

    findings = check_formats(rules, arguments, [str(base)])

    assert findings == FormatFindings(paths=(good,) * 6)
    for bad in (str(base / "link"), "/etc/passwd", f"{base}/../x", 5, ["x"], {}):
        refused(rules, {**arguments, "path": bad}, base)
        refused(rules, {**arguments, "inner": {"path": bad}}, base)
        refused(rules, {**arguments, "many": [good, bad]}, base)
        refused(rules, {**arguments, "deep": [{"p": good}, {"p": bad}]}, base)
        refused(rules, {**arguments, "maybe": bad}, base)
        refused(rules, {**arguments, "nullable": bad}, base)


def test_a11_commands_are_lists_whose_first_word_is_a_program(base: Path) -> None:
    """The program's identity comes back; the other words are not looked at."""
    rules = schema(argv=ARGV)
    words = [str(base / "tool"), "-c", "$(rm -rf /)", "../..", ""]

    findings = check_formats(rules, {"argv": words}, [])

    assert [found.path for found in findings.executables] == [words[0]]
    for bad in (
        [],
        ["tool"],
        [str(base / "link")],
        "ls -l",
        [5],
        [words[0], 5],
        [words[0], "a\0b"],
        {},
    ):
        refused(rules, {"argv": bad}, base)


def test_absent_and_null_values_have_nothing_to_check(base: Path) -> None:
    """Whether they may be missing is the schema's business."""
    rules = schema(path=PATH, argv=ARGV, inner=schema(path=PATH))

    for arguments in ({}, {"path": None, "argv": None, "inner": None}, {"inner": {}}, {"inner": 5}):
        assert check_formats(rules, arguments, [str(base)]) == FormatFindings()


@pytest.mark.parametrize(
    "rules",
    [
        {"$defs": {"p": PATH}, "properties": {"path": {"$ref": "#/$defs/p"}}},
        {"patternProperties": {".*": PATH}},
        {"additionalProperties": PATH},
        {"if": {"properties": {"path": PATH}}},
        {"properties": {"path": {"not": PATH}}},
        {"properties": {"many": {"prefixItems": [PATH]}}},
        {"properties": {"many": {"items": [PATH]}}},
        {"properties": {"many": {"contains": PATH}}},
        {"dependentSchemas": {"a": {"properties": {"path": PATH}}}},
        {"properties": {"path": {"type": "string", "format": "holdfast-pth"}}},
        {"properties": {"path": {"type": "string", "format": "holdfast-"}}},
    ],
    ids=str,
)
def test_formats_that_no_rule_reaches_are_errors(rules: dict[str, Any]) -> None:
    """A check that would silently not happen stops the bundle instead."""
    with pytest.raises(DocumentError) as caught:
        FormatRules.of(rules)

    assert caught.value.reason is ErrorReason.INVALID_BUNDLE


def test_unreached_formats_negative_control(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without that count a format under ``$defs`` passes every path unchecked."""
    rules = {"$defs": {"p": PATH}, "properties": {"path": {"$ref": "#/$defs/p"}}}
    monkeypatch.setattr(formats, "_written", lambda *_: iter(()))

    assert check_formats(rules, {"path": "/etc/passwd"}, [str(base)]) == FormatFindings()


def test_values_that_look_like_formats_are_data() -> None:
    """What ``enum`` and ``const`` hold is no schema; an argument of that name still is one."""
    data = {"enum": [PATH, "x"], "const": {"deep": [PATH]}}

    assert not FormatRules.of(schema(a={"type": ["string", "object"], **data}))
    assert FormatRules.of(schema(enum=PATH, const=PATH, type=PATH, format=PATH))
    with pytest.raises(DocumentError):
        FormatRules.of({"properties": {"a": {"const": PATH}}})


@pytest.mark.parametrize("keyword", ["items", "properties", "anyOf", "x-unknown", "x-list"])
def test_endless_schemas_are_refused(keyword: str) -> None:
    """A schema deeper than 64 levels is an error, not a RecursionError."""
    rules: dict[str, Any] = PATH
    for _ in range(5000):
        inner: Any = rules
        if keyword in ("anyOf", "x-list"):
            inner = [rules]
        elif keyword == "properties":
            inner = {"a": rules}
        rules = {keyword: inner}

    with pytest.raises(DocumentError):
        FormatRules.of(rules)


def test_rules_are_found_once_and_tell_whether_there_are_any(base: Path) -> None:
    """A tool without formats costs nothing per call."""
    other = schema(format={"type": "string"}, date={"type": "string", "format": "date"}, x=True)

    assert not FormatRules.of(other)
    rules = FormatRules.of(schema(path={"allOf": [PATH, PATH]}))
    assert rules
    assert rules.check({"path": str(base / "file")}, roots=[str(base)]).paths == (
        str(base / "file"),
    )


FORBIDDEN_MODULES = {
    "shlex",
    "subprocess",
    "glob",
    "fnmatch",
    "pty",
    "commands",
    "bashlex",
    "pipes",
}
FORBIDDEN_CALLS = {
    "expanduser",
    "expandvars",
    "normpath",
    "system",
    "popen",
    "unquote",
    "normalize",
}


@pytest.mark.parametrize("package", [sidecar.arguments, sidecar.canonical, sidecar.destination])
def test_a10_nobody_here_understands_shell(package: Any) -> None:
    """No module that sees arguments can split, expand, unescape or run text."""
    for file in Path(package.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not FORBIDDEN_MODULES & {name.name.split(".")[0] for name in node.names}, (
                    file
                )
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in FORBIDDEN_MODULES, file
            elif isinstance(node, ast.Attribute) and file.name != "hosts.py":
                assert node.attr not in FORBIDDEN_CALLS, file
