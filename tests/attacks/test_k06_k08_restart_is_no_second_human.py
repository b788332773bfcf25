# SPDX-License-Identifier: Apache-2.0
"""K06, K07, K08: whoever writes the bundle's directory and restarts control loosens nothing alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.v1 import policy_pb2
from sidecar.api.v1.types_pb2 import Operation
from sidecar.audit.reader import read_entries
from sidecar.control.policy_archive import PolicyArchive
from sidecar.policy.bundle import load_bundle
from tests.support.clients import new_id
from tests.support.polling import eventually
from tests.support.testbed import Testbed

Make = Callable[..., Testbed]
ALLOWED = "ALLOW POLICY_ALLOW"
DENIED = "DENY NO_POLICY_ALLOWS"
TOOL = "note.forbidden"
PERMIT = '@id("yes") permit (principal, action == Action::"note.forbidden", resource);\n'
FORBID = '@id("no") forbid (principal, action == Action::"note.peek", resource);\n'
WARNING = "the bundle in the directory may permit more: the one in force stays"
REFUSED_TO_START = 2


async def _kill(bed: Testbed) -> None:
    assert bed.control is not None
    await asyncio.to_thread(bed.control.kill)


async def _restart(bed: Testbed, **options: Any) -> None:
    """Kill control, start it again, and return when it serves."""
    await _kill(bed)
    await asyncio.to_thread(lambda: bed.restart_control(**options))


async def _verdict(bed: Testbed, tool: str = TOOL) -> str:
    """Return what the gate decides once it has met the control that runs now."""
    async with bed.agent() as agent:

        async def meets() -> bool:
            said = await agent.verdict(tool)
            return said not in ("DENY NOT_READY", "DENY STALE")

        await eventually(meets, 10)
        return await agent.verdict(tool)


async def _digest(bed: Testbed) -> str:
    async with bed.operator("carol") as carol:
        answer = await carol.policy.GetPolicySet(policy_pb2.GetPolicySetRequest())
    return str(answer.policy_set.digest)


def _in_directory(bed: Testbed) -> str:
    return load_bundle(bed.bundle).digest


def _archived(bed: Testbed, digest: str) -> Path:
    return bed.layout.policy_archive / f"{digest}.json"


async def _refusal(bed: Testbed, **options: Any) -> str:
    """Start control, which must end at once, and return what it said."""
    process = bed.launch_control(**options)
    assert await asyncio.to_thread(process.wait) == REFUSED_TO_START
    return str(process.tail())


async def test_k06_a_loosened_bundle_waits_for_a_second_human_through_a_restart(
    make_bed: Make,
) -> None:
    """The old policy decides until another human grants; from then on the new one, restart or not."""
    bed = await asyncio.to_thread(make_bed().begin, ["alpha"])
    old = await _digest(bed)
    bed.write_bundle(extra_policies=PERMIT)
    await _restart(bed)
    assert bed.control is not None
    warnings = [line for line in bed.control.logged() if line["event"] == WARNING]
    kept, kept_verdict = await _digest(bed), await _verdict(bed)
    async with bed.operator("carol") as carol:
        asked = await carol.ask_reload()
        waiting = await _verdict(bed)
        granted = await carol.have_granted(asked.operation, by="only-policy-approve")
    after = await _verdict(bed)
    await _restart(bed)
    again = await _verdict(bed)
    entries = [
        json.loads(entry.line)
        for entry in read_entries(bed.layout.control_audit, 0, 100, is_unsigned_included=True)
    ]

    assert kept == old
    assert (kept_verdict, waiting) == (DENIED, DENIED)
    assert warnings[0]["digest_in_force"] == old
    assert warnings[0]["directory_digest"] == granted.policy_digest == _in_directory(bed)
    assert warnings[0]["reasons"] == ["permit yes is new"]
    assert "holdfast policy reload" in warnings[0]["remedy"]
    assert asked.operation.state == Operation.STATE_PENDING_APPROVAL
    assert granted.state == Operation.STATE_DONE
    assert (after, again) == (ALLOWED, ALLOWED)
    assert [entry["set_aside"] for entry in entries if "set_aside" in entry] == [_in_directory(bed)]


async def test_k06_a_loosened_bundle_waits_negative_control(make_bed: Make) -> None:
    """Without the comparison the restart alone lets it in."""
    bed = await asyncio.to_thread(make_bed().begin, ["alpha"])
    bed.write_bundle(extra_policies=PERMIT)
    await _restart(bed, breakages=["restart-loosens"])

    assert await _verdict(bed) == ALLOWED


async def test_k08_an_older_bundle_is_a_loosening_too(make_bed: Make) -> None:
    """A tightened bundle is in force by the restart itself; the one before it does not come back."""
    bed = await asyncio.to_thread(make_bed().begin, ["alpha"])
    bed.write_bundle(extra_policies=FORBID)
    await _restart(bed)
    tightened = await _verdict(bed, "note.peek")
    in_force = await _digest(bed)
    bed.write_bundle()
    await _restart(bed, accept_policy=_in_directory(bed))

    assert tightened == "DENY POLICY_DENY"
    assert in_force != _in_directory(bed)
    assert await _digest(bed) == in_force
    assert await _verdict(bed, "note.peek") == "DENY POLICY_DENY"


async def test_k07_a_crash_between_the_grant_and_the_latch_loses_no_bundle(make_bed: Make) -> None:
    """Saved, sent, and not yet in force: the next start finds both, and carries on with the grant."""
    bed = make_bed()
    await asyncio.to_thread(
        lambda: bed.begin(["alpha"], control_breakages=["dies-before-the-latch-names-it"])
    )
    old = await _digest(bed)
    bed.write_bundle(extra_policies=PERMIT)
    async with bed.operator("carol") as carol:
        asked = await carol.ask_reload(request_id=new_id())
    async with bed.operator("only-policy-approve") as human:
        await human.decide(asked.operation.approval)
    assert bed.control is not None
    await asyncio.to_thread(bed.control.wait)
    archive = PolicyArchive(bed.layout.policy_archive)
    both = archive.holds(old), archive.holds(_in_directory(bed))
    await asyncio.to_thread(bed.restart_control)
    async with bed.operator("carol") as carol:
        done = await carol.operation(asked.operation.name, wait_s=10)

    assert both == (True, True)
    assert done.state == Operation.STATE_DONE
    assert await _verdict(bed) == ALLOWED


async def test_k06_a_forged_copy_of_the_bundle_in_force_is_not_used(make_bed: Make) -> None:
    """Looser content under the digest in force: control does not start until it can compare."""
    bed = await asyncio.to_thread(make_bed(max_staleness_s=0.6).begin, ["alpha"])
    old = await _digest(bed)
    bed.write_bundle(extra_policies=PERMIT)
    looser = load_bundle(bed.bundle)
    await _kill(bed)
    forged = PolicyArchive(bed.root / "forged")
    forged.save(looser)
    copy = (forged.directory / f"{looser.digest}.json").read_bytes()
    _archived(bed, old).write_bytes(copy)
    said = await _refusal(bed)
    wrong = await _refusal(bed, accept_policy="0" * 64)
    async with bed.agent() as agent:

        async def is_stale() -> bool:
            return await agent.verdict(TOOL) == "DENY STALE"

        await eventually(is_stale, 8)
    bed.write_bundle()
    await asyncio.to_thread(bed.restart_control)
    restored = await _digest(bed)
    healed = PolicyArchive(bed.layout.policy_archive).holds(old)
    bed.write_bundle(extra_policies=PERMIT)
    await _restart(bed)

    for text in (said, wrong):
        assert all(part in text for part in (str(bed.bundle), old, looser.digest)), text
        assert f"--accept-policy {looser.digest}" in text
    assert f"its content has the digest {looser.digest}" in said
    assert (restored, healed) == (old, True)
    assert await _verdict(bed) == DENIED


async def test_a_lost_copy_is_replaced_by_whoever_names_the_digest(make_bed: Make) -> None:
    """`--accept-policy` with the digest that lies there; the log names it as a local start."""
    bed = await asyncio.to_thread(make_bed().begin, ["alpha"])
    old = await _digest(bed)
    bed.write_bundle(extra_policies=PERMIT)
    await _kill(bed)
    _archived(bed, old).unlink()
    await asyncio.to_thread(lambda: bed.restart_control(accept_policy=_in_directory(bed)))
    verdict = await _verdict(bed)
    entries = [
        json.loads(entry.line)
        for entry in read_entries(bed.layout.control_audit, 0, 100, is_unsigned_included=True)
    ]

    assert verdict == ALLOWED
    assert [
        (entry["operator"], entry["digest"]) for entry in entries if entry["kind"] == "policy"
    ] == [("control", old), ("local start", _in_directory(bed))]


@pytest.mark.parametrize("part", ["latch", "latch and copies"])
async def test_k06_a_lost_latch_does_not_let_it_in_either(make_bed: Make, part: str) -> None:
    """A latch made anew names no bundle: then the last that was saved is what was in force.

    Negative control: with the copies gone as well it is a first start, and what lies there decides.
    """
    bed = await asyncio.to_thread(make_bed().begin, ["alpha"])
    bed.write_bundle(extra_policies=PERMIT)
    await asyncio.to_thread(bed.crash)
    for name in ("slots", "journal"):
        (bed.layout.latch / name).unlink()
    (bed.layout.root / "install.json").unlink()
    if part != "latch":
        for copy in bed.layout.policy_archive.iterdir():
            copy.unlink()
    await asyncio.to_thread(bed.begin, ["alpha"])

    assert await _verdict(bed) == (DENIED if part == "latch" else ALLOWED)
