# SPDX-License-Identifier: Apache-2.0
"""AgentDojo's recorded ground-truth tool calls (v1.2.2, MIT), as shipped beside the bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.errors import ErrorReason, UntrustedInputError

__all__ = ["SUITES", "Dataset", "RecordedCall", "Suite", "Task", "find_dataset", "load_dataset"]

SUITES: Final = ("workspace", "banking", "slack", "travel")


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One tool call as it was recorded."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Task:
    """A user's task or an attacker's, and the calls that fulfil it."""

    id: str
    text: str
    calls: tuple[RecordedCall, ...]


@dataclass(frozen=True, slots=True)
class Suite:
    """One environment; its agent has the same name."""

    name: str
    user_tasks: tuple[Task, ...]
    injection_tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True)
class Dataset:
    """The four suites and the bundle that was written for them."""

    suites: tuple[Suite, ...]
    bundle: Path

    def suite(self, name: str) -> Suite:
        """Return one suite."""
        return next(suite for suite in self.suites if suite.name == name)


def find_dataset() -> Path:
    """Return where the recorded calls lie: in the checkout, else in the installed package.

    Raises:
        UntrustedInputError: Neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for place in (
        package.parent / "deploy" / "examples" / "agentdojo",
        package / "_data" / "agentdojo",
    ):
        if (place / "bundle" / "tools.yaml").is_file():
            return place
    raise UntrustedInputError(
        "the recorded AgentDojo calls are not here",
        reason=ErrorReason.NOT_FOUND,
        hint="name their directory with --dataset",
    )


def load_dataset(directory: Path) -> Dataset:
    """Read the recorded calls in *directory*.

    Raises:
        UntrustedInputError: A file is missing or is not what it should be.
    """
    return Dataset(
        tuple(_load_suite(directory / "calls" / f"{name}.json", name) for name in SUITES),
        directory / "bundle",
    )


def _load_suite(path: Path, name: str) -> Suite:
    try:
        data = json.loads(path.read_bytes())
        return Suite(
            name,
            tuple(_task(item, "prompt") for item in data["user_tasks"]),
            tuple(_task(item, "goal") for item in data["injection_tasks"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise UntrustedInputError(
            f"{path} does not hold recorded calls", hint="restore it from the repository"
        ) from exc


def _task(item: Mapping[str, Any], text_key: str) -> Task:
    return Task(
        item["id"],
        item[text_key],
        tuple(RecordedCall(call["tool"], call["arguments"]) for call in item["calls"]),
    )
