# SPDX-License-Identifier: Apache-2.0
"""Every scenario through every platform's own runner, against a live control.

A runner that this machine cannot run is *not run*: the matrix says so with the reason, and the test
is skipped, never passed. Our own command line always runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.soar.matrix import FAILED, MATRIX, NOT_RUN, PASSED
from tests.soar.runners import all_runners
from tests.soar.runners.base import Asset, Outcome, Runner
from tests.soar.scenarios import SCENARIOS, Cell, Rig, Scenario, ask_of_nobody

RUNNERS = all_runners()


@pytest.mark.parametrize("runner", RUNNERS, ids=lambda runner: runner.runner)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_conformance(
    scenario: Scenario, runner: Runner, available: dict[str, str], rig: Rig, timed: None
) -> None:
    """What the platform reports is what is so on the host, and holds no secret."""
    if available[runner.runner]:
        MATRIX.note(runner, scenario.name, NOT_RUN)
        pytest.skip(f"not run: {available[runner.runner]}")
    cell = Cell(rig, runner)

    try:
        scenario.play(cell)
        assert cell.leaks() == [], "the platform let secrets out"
    except BaseException as exc:
        MATRIX.note(runner, scenario.name, FAILED, problem=f"{exc}"[:500])
        raise

    MATRIX.note(runner, scenario.name, PASSED)


def test_own_command_line_runs_over_both_transports() -> None:
    """A machine that has none of the platforms shows something all the same."""
    ours = [runner for runner in RUNNERS if runner.platform == "holdfast"]

    assert [runner.unavailable() for runner in ours] == ["", ""]
    assert {bool(getattr(runner, "is_grpc", False)) for runner in ours} == {True, False}


def test_every_runner_has_a_name_of_its_own() -> None:
    """Two columns of one name would be one column."""
    names = [runner.runner for runner in RUNNERS]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario_says_what_it_shows(scenario: Scenario) -> None:
    """The table is read by people."""
    assert scenario.meaning.endswith(".")


class Liar:
    """A platform that calls everything a success and does nothing."""

    platform = "none"
    runner = "says SUCCESS and does nothing"
    is_stand_in = True

    def unavailable(self) -> str:
        """Return nothing."""
        return ""

    def versions(self) -> Mapping[str, str]:
        """Return nothing."""
        return {}

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Lie."""
        return Outcome("SUCCESS", data={"status": "SUCCESS", "receipt": {"contained": True}})


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_platform_that_lies_fails_every_scenario_negative_control(
    scenario: Scenario, rig: Rig
) -> None:
    """No cell can be passed by saying that all is well."""
    cell = Cell(rig, Liar())
    rig.asked[cell.runner.runner] = ask_of_nobody(cell)

    with pytest.raises(AssertionError):
        scenario.play(cell)
