# SPDX-License-Identifier: Apache-2.0
"""Whom or what an order names on the command line, and the question before it is given.

Nothing is normalised or guessed: control refuses a name that is not exactly one. Only the *form* is
checked here, so that a slip is told before anything travels.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from typing import Final

import click

from sidecar.api.v1 import types_pb2
from sidecar.cli.terminal import escape
from sidecar.documents import short

__all__ = ["TARGET_FORMS", "confirm_by_name", "confirm_simply", "parse_target"]

TARGET_FORMS: Final = {
    "agent": "agent NAME",
    "session": "session AGENT SESSION",
    "tool": "tool NAME",
    "tool-at-agent": "tool-at-agent AGENT TOOL",
    "destination": "destination HOST",
    "principal": "principal IDENTITY",
    "labels": "labels KEY=VALUE[,KEY=VALUE…]",
    "all": "all",
}
_WORDS: Final = {
    "agent": 1, "session": 2, "tool": 1, "tool-at-agent": 2, "destination": 1, "principal": 1,
    "labels": 1, "all": 0,
}  # fmt: skip


def parse_target(words: Sequence[str]) -> types_pb2.Target:
    """Return the target that *words* name.

    Raises:
        click.UsageError: They are not of one of ``TARGET_FORMS``.
    """
    kind, names = words[0], list(words[1:])
    if kind not in TARGET_FORMS:
        raise click.UsageError(_unknown_kind(kind, names))
    if len(names) != _WORDS[kind] or not all(names):
        raise click.UsageError(f"write `{TARGET_FORMS[kind]}`")
    match kind:
        case "session":
            return types_pb2.Target(
                session=types_pb2.Target.Session(agent=names[0], session=names[1])
            )
        case "tool-at-agent":
            return types_pb2.Target(
                tool_at_agent=types_pb2.Target.ToolAtAgent(agent=names[0], tool=names[1])
            )
        case "labels":
            return types_pb2.Target(labels=types_pb2.Target.Labels(labels=_labels(names[0])))
        case "all":
            return types_pb2.Target(all=types_pb2.Target.All())
        case "agent":
            return types_pb2.Target(agent=names[0])
        case "tool":
            return types_pb2.Target(tool=names[0])
        case "destination":
            return types_pb2.Target(destination=names[0])
        case _:
            return types_pb2.Target(principal=names[0])


def _unknown_kind(kind: str, names: Sequence[str]) -> str:
    if not names:
        near = difflib.get_close_matches(kind, TARGET_FORMS, n=1)
        meant = TARGET_FORMS[near[0]] if near else f"agent {kind}"
        return f"{short(kind)} does not say what it is; did you mean `{meant}`?"
    near = difflib.get_close_matches(kind, TARGET_FORMS, n=1)
    forms = "; ".join(TARGET_FORMS.values())
    meant = f"; did you mean `{TARGET_FORMS[near[0]]}`?" if near else ""
    return f"{short(kind)} is no kind of target{meant} Targets are: {forms}"


def _labels(text: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator or not key or not value:
            raise click.UsageError(f"{short(part)} is no label; write `labels env=prod,team=blue`")
        if key in labels:
            raise click.UsageError(f"the label {short(key)} is named twice")
        labels[key] = value
    return labels


def confirm_by_name(name: str, *, given: str | None, is_yes: bool) -> None:
    """Let somebody type *name* before a severe order; ``--confirm`` and ``--yes`` are for scripts.

    Raises:
        click.UsageError: Another name was given, or nobody is there to ask.
        click.Abort: The person typed something else.
    """
    if given is not None:
        if given != name:
            raise click.UsageError(
                f"--confirm says {short(given)}, but it is for {short(name)}; nothing was done"
            )
        return
    if is_yes:
        return
    _need_terminal(f"--confirm {escape(name)}")
    typed = click.prompt(f"Type {escape(name)} to go on", err=True, default="", show_default=False)
    if typed != name:
        raise click.UsageError("that is not the name; nothing was done")


def confirm_simply(question: str, *, is_yes: bool) -> None:
    """Ask *question* before a moderate order; ``--yes`` is for scripts.

    Raises:
        click.UsageError: Nobody is there to ask, or the answer was no.
    """
    if is_yes:
        return
    _need_terminal("--yes")
    if not click.confirm(escape(question), default=False, err=True):
        raise click.UsageError("not confirmed; nothing was done")


def is_interactive() -> bool:
    """Return whether somebody is there who can be asked."""
    return sys.stdin.isatty()


def _need_terminal(flag: str) -> None:
    if not is_interactive():
        raise click.UsageError(f"nobody is there to confirm this; in a script, add {flag}")
