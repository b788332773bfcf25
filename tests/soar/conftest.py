# SPDX-License-Identifier: Apache-2.0
"""One rig for the whole matrix, and the matrix when everything is over."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.soar.matrix import MATRIX
from tests.soar.runners import all_runners
from tests.soar.runners.base import Runner
from tests.soar.scenarios import EXPIRY_S, Cell, Rig, ask_of_nobody

if TYPE_CHECKING:
    from tests.support.certificates import Authority
    from tests.support.processes import Zygote

_FILE: Final = Path(__file__).resolve().parents[2] / "build" / "soar-matrix.json"
_AGENTS_OF_A_RUNNER: Final = 12


def say(text: str) -> None:
    """Tell whoever waits; pytest captures stdout and stderr."""
    print(text, file=sys.__stderr__, flush=True)


@pytest.fixture(scope="session")
def available() -> dict[str, str]:
    """Why each runner cannot be run on this machine; empty for those that can."""
    reasons = {}
    for runner in all_runners():
        reasons[runner.runner] = reason = runner.unavailable()
        MATRIX.column(runner, unavailable=reason)
        say(f"  {runner.platform:14} {runner.runner}" + (f": NOT RUN: {reason}" if reason else ""))
    return reasons


@pytest.fixture(scope="session")
def rig(zygote: Zygote, authority: Authority, available: dict[str, str]) -> Iterator[Rig]:
    """The hosts that every platform meets; what nobody will decide has been asked already."""
    from tests.soar.host import SoarBed
    from tests.soar.servers import SlowServer
    from tests.support.certificates import Authority

    runners = [runner for runner in all_runners() if not available[runner.runner]]
    count = max(1, len(runners))
    with ExitStack() as stack:

        def bed(**options: Any) -> SoarBed:
            made = SoarBed(zygote, authority, **options)
            stack.callback(made.close)
            return made

        agents = {"spare_agents": _AGENTS_OF_A_RUNNER * (count + 1), "guarded": 3 * count + 3}
        main = bed(**agents).begin()
        assert main.control is not None
        main.control.stop()
        expired = main.expired_token()
        main.restart_control()
        brief = bed(guarded=2 * count + 20, expiry=f"{EXPIRY_S}s").begin()
        fleet = bed(spare_agents=2 * count + 2)
        fleet.begin(fleet.spare)
        lagging = fleet.launch_gate(["zeta"], gate_id="lagging")
        fleet.wait_gate("zeta", gate_id="lagging")
        lagging.signal(signal.SIGSTOP)
        slow = stack.enter_context(SlowServer(authority, is_dripping=True))
        found = Rig(
            main=main,
            brief=brief,
            fleet=fleet,
            stranger=Authority("another CA"),
            slow=slow,
            expired=expired,
        )
        for runner in runners:
            found.asked[runner.runner] = ask_of_nobody(Cell(found, runner))
        yield found


@pytest.fixture
def timed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Record how long a cell took, without what was set up for all."""
    began = time.monotonic()
    yield
    runner: Runner = request.getfixturevalue("runner")
    MATRIX.time(runner, request.getfixturevalue("scenario").name, time.monotonic() - began)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the matrix and write it to its file."""
    lines = MATRIX.lines()
    # A session that played no cell (another file of this directory) has no matrix to tell of.
    if lines and MATRIX.is_played:
        MATRIX.write(_FILE)
        terminalreporter.section("SOAR conformance")
        for line in lines:
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"written to {_FILE.relative_to(_FILE.parents[1])}")
