# SPDX-License-Identifier: Apache-2.0
"""Hosts that playbooks and workflows are played against; smaller than the matrix's."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tests.soar.host import SoarBed

if TYPE_CHECKING:
    from tests.support.certificates import Authority
    from tests.support.processes import Zygote

__all__ = ["EXPIRY_S", "Beds", "beds_for_playbooks", "fleet_with_a_hung_gate", "let_expire"]

EXPIRY_S = 30
"""The shortest wait for a human that a bundle may ask for."""


@dataclass(frozen=True)
class Beds:
    """Attributes: main: people decide; brief: nobody has long to."""

    main: SoarBed
    brief: SoarBed


@contextmanager
def beds_for_playbooks(zygote: Zygote, authority: Authority) -> Iterator[Beds]:
    """Start them, and end them."""
    with ExitStack() as stack:

        def bed(**options: Any) -> SoarBed:
            made = SoarBed(zygote, authority, **options)
            stack.callback(made.close)
            return made

        main = bed(spare_agents=18, guarded=6).begin()
        brief = bed(spare_agents=2, guarded=2, expiry=f"{EXPIRY_S}s").begin()
        yield Beds(main=main, brief=brief)


@contextmanager
def fleet_with_a_hung_gate(zygote: Zygote, authority: Authority) -> Iterator[SoarBed]:
    """Start a host where the gate of the agent ``zeta`` hangs; soon it will count as gone."""
    with ExitStack() as stack:
        fleet = SoarBed(zygote, authority, spare_agents=1)
        stack.callback(fleet.close)
        fleet.begin(fleet.spare)
        lagging = fleet.launch_gate(["zeta"], gate_id="lagging")
        fleet.wait_gate("zeta", gate_id="lagging")
        lagging.signal(signal.SIGSTOP)
        yield fleet


def let_expire(bed: SoarBed, agent: str) -> None:
    """Wait until nobody can decide any more on what is asked about *agent*."""
    for operation in bed.waiting_on(agent):
        for _ in range(EXPIRY_S // 5):
            if bed.operation(operation.name, wait=timedelta(seconds=10)).HasField("end_time"):
                break
        else:
            raise AssertionError(f"{operation.name} does not expire")
