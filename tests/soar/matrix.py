# SPDX-License-Identifier: Apache-2.0
"""The conformance matrix: what ran, where, with which versions, and how it ended.

A cell is ``passed``, ``failed`` or ``not run``; there is no fourth, and what did not run never counts
as passed. It is printed when the tests are over and written to ``build/soar-matrix.json``.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.soar.runners.base import Runner
from tests.soar.scenarios import SCENARIOS

__all__ = ["FAILED", "MATRIX", "NOT_RUN", "PASSED", "Column", "Matrix"]

PASSED: Final = "passed"
FAILED: Final = "failed"
NOT_RUN: Final = "not run"
_MARKS: Final = {PASSED: "pass", FAILED: "FAIL", NOT_RUN: "-"}


@dataclass
class Column:
    """One runner."""

    platform: str
    runner: str
    is_stand_in: bool
    versions: Mapping[str, str]
    unavailable: str
    results: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


class Matrix:
    """Collects the cells of one session."""

    def __init__(self, scenarios: Sequence[str]) -> None:
        self._scenarios = tuple(scenarios)
        self._columns: dict[str, Column] = {}

    @property
    def columns(self) -> list[Column]:
        """Every runner that was asked for, in the order of asking."""
        return list(self._columns.values())

    @property
    def is_played(self) -> bool:
        """Whether any cell ended, well or not."""
        return any(
            result != NOT_RUN for column in self.columns for result in column.results.values()
        )

    def column(self, runner: Runner, *, unavailable: str = "") -> Column:
        """Return the column of *runner*, made at the first time."""
        if runner.runner not in self._columns:
            self._columns[runner.runner] = Column(
                platform=runner.platform,
                runner=runner.runner,
                is_stand_in=runner.is_stand_in,
                versions={} if unavailable else dict(runner.versions()),
                unavailable=unavailable,
            )
        return self._columns[runner.runner]

    def note(self, runner: Runner, scenario: str, result: str, *, problem: str = "") -> None:
        """Record how one cell ended."""
        column = self.column(runner)
        column.results[scenario] = result
        if problem:
            column.problems[scenario] = problem

    def time(self, runner: Runner, scenario: str, seconds: float) -> None:
        """Record how long one cell took."""
        self.column(runner).seconds[scenario] = round(seconds, 2)

    def as_data(self) -> dict[str, Any]:
        """Return what is written to the file."""
        return {
            "apiVersion": "holdfast/v1",
            "kind": "SoarConformance",
            "python": platform.python_version(),
            "scenarios": list(self._scenarios),
            "runners": [
                {
                    "platform": column.platform,
                    "runner": column.runner,
                    "stand_in": column.is_stand_in,
                    "versions": dict(column.versions),
                    "not_run_because": column.unavailable,
                    "results": {
                        name: column.results.get(name, NOT_RUN) for name in self._scenarios
                    },
                    "problems": column.problems,
                    "seconds": column.seconds,
                }
                for column in self.columns
            ],
        }

    def write(self, path: Path) -> None:
        """Write it to *path*, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(self.as_data(), indent=2) + "\n", encoding="utf-8")
        os.replace(scratch, path)

    def lines(self) -> list[str]:
        """Return the table as it is printed: runners down, scenarios across by number."""
        if not self._columns:
            return []
        width = max(len(column.platform) for column in self.columns)
        heads = [f"{number:>4}" for number in range(1, len(self._scenarios) + 1)]
        lines = [f"{number:>4}  {name}" for number, name in enumerate(self._scenarios, 1)]
        lines += ["", " " * width + "".join(f" {head}" for head in heads)]
        for column in self.columns:
            marks = [_MARKS[column.results.get(name, NOT_RUN)] for name in self._scenarios]
            note = f"NOT RUN: {column.unavailable}" if column.unavailable else column.runner
            stand_in = "  [stand-in]" if column.is_stand_in else ""
            cells = "".join(f" {mark:>4}" for mark in marks)
            lines.append(f"{column.platform:<{width}}{cells}  {note}{stand_in}")
            if column.unavailable:
                lines.append(f"{'':<{width}}{'':{5 * len(marks)}}  ({column.runner})")
        return lines


MATRIX: Final = Matrix([scenario.name for scenario in SCENARIOS])
"""The one of this session."""
