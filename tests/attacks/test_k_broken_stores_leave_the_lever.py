# SPDX-License-Identifier: Apache-2.0
"""Approvals, passkeys and notices may break; containment must not break with them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.clients import codes, effect
from tests.support.polling import eventually
from tests.support.processes import free_port
from tests.support.testbed import Testbed


@pytest.mark.parametrize("name", ["approvals.db", "passkeys.db"])
async def test_p2_a_broken_store_leaves_the_kill_switch(
    make_bed: Callable[..., Testbed], name: str
) -> None:
    """The store is noise: control starts, contains, and what a human would decide is no ALLOW."""
    bed = make_bed(console_listen=f"127.0.0.1:{free_port()}").begin(["alpha"])
    assert bed.control is not None
    bed.control.stop()
    for path in bed.layout.control.glob(f"{name}*"):
        path.unlink()
    spoilt = bed.layout.control / name
    spoilt.write_bytes(b"this is no database" * 1000)
    spoilt.chmod(0o600)

    bed.restart_control()
    async with bed.operator("alice") as alice, bed.agent("alpha") as agent:

        async def is_linked() -> bool:
            return bool((await alice.agent("alpha")).gates)

        await eventually(is_linked, 15, what="the gate found the new control")
        held = await agent.ask("note.held", {"text": "x"})
        receipt = (await alice.contain("alpha", "KILL")).receipt
        verdict = await agent.verdict("note.read")

    assert effect(held) == ("DENY" if name == "approvals.db" else "HOLD"), codes(held)
    assert receipt.contained
    assert verdict == "DENY KILLED"
