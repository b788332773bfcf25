# SPDX-License-Identifier: Apache-2.0
"""B06: what was checked is what must be dialled, however the resolver's answers change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.authorize import evaluator as evaluator_module
from sidecar.model import Destination, Effect, Level, Target, TargetKind
from tests.support.rig import GateRig, TableResolver, codes_of

PUBLIC, OTHER_PUBLIC = "93.184.216.34", "93.184.216.35"
METADATA = "169.254.169.254"
URL = {"url": "https://flip.example.com/"}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[GateRig]:
    """A gate whose resolver changes its mind."""
    tmp_path.chmod(0o700)
    resolver = TableResolver(
        {
            "flip.example.com": [(PUBLIC,), (METADATA,), ("127.0.0.1",), (OTHER_PUBLIC,)],
            "mixed.example.com": [(PUBLIC, "10.0.0.8")],
            "inside.example.com": [("10.0.0.8",)],
            "mapped.example.com": [("::ffff:127.0.0.1",)],
        }
    )
    async with GateRig(tmp_path, resolver=resolver) as gate:
        yield gate


def _asked(rig: GateRig) -> list[str]:
    assert isinstance(rig.resolver, TableResolver)
    return rig.resolver.asked


@pytest.mark.parametrize("tool", ["net.get", "net.probe"])
async def test_b06_checked_addresses_are_pinned(rig: GateRig, tool: str) -> None:
    """One look-up per call; its answer travels as an obligation, and redirects are none."""
    decision = await rig.ask(tool, URL)

    assert codes_of(decision) == "ALLOW POLICY_ALLOW"
    assert decision.obligations.addresses == (PUBLIC,)
    assert decision.obligations.max_redirects == 0
    assert _asked(rig) == ["flip.example.com"]


async def test_b06_flipped_answer_is_checked_again_at_the_next_call(rig: GateRig) -> None:
    """The verdict of the policy is cached; the addresses of the last call are not."""
    verdicts = [await rig.ask("net.get", URL) for _ in range(4)]

    assert [codes_of(decision) for decision in verdicts] == [
        "ALLOW POLICY_ALLOW",
        "DENY DESTINATION_ADDRESS",
        "DENY DESTINATION_ADDRESS",
        "ALLOW POLICY_ALLOW",
    ]
    assert verdicts[3].obligations.addresses == (OTHER_PUBLIC,)
    assert verdicts[1].obligations.addresses == ()


@pytest.mark.parametrize("host", ["mixed", "inside", "mapped", "unknown"])
async def test_b06_one_bad_address_spoils_the_answer(rig: GateRig, host: str) -> None:
    """A private address among public ones, alone, in disguise, or none at all."""
    assert (
        await rig.verdict("net.get", {"url": f"https://{host}.example.com/"})
        == "DENY DESTINATION_ADDRESS"
    )


async def test_b06_retry_after_a_change_of_the_world_keeps_the_checked_addresses(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decided again because of an unrelated order: the same look-up counts, not a second one."""
    record, changed = rig.recorder.record, []

    def hooked(draft: object) -> object:
        ticket = record(draft)  # type: ignore[arg-type]
        if not changed:
            changed.append(rig.contain("beta", Level.OBSERVE))
        return ticket

    monkeypatch.setattr(rig.recorder, "record", hooked)
    decision = await rig.ask("net.get", URL)

    assert changed
    assert decision.obligations.addresses == (PUBLIC,)
    assert _asked(rig) == ["flip.example.com"]


@pytest.mark.parametrize("level", [Level.OBSERVE, Level.READ_ONLY, Level.HOLD, Level.THROTTLE])
async def test_b06_no_level_of_containment_skips_the_check(rig: GateRig, level: Level) -> None:
    """A directive that lets a reading network tool pass lets it pass with pinned addresses only."""
    rig.contain("alpha", level)
    first = await rig.ask("net.probe", URL)
    second = await rig.ask("net.probe", URL)

    if first.effect is Effect.ALLOW:
        assert first.obligations.addresses == (PUBLIC,)
    assert codes_of(second) == "DENY DESTINATION_ADDRESS"


async def test_b06_contained_host_is_not_even_resolved(rig: GateRig) -> None:
    """A name server of the attacker's learns nothing from a call that is denied anyway."""
    host = Target(kind=TargetKind.DESTINATION, destination=".example.com")
    rig.contain(host, Level.KILL)

    assert await rig.verdict("net.get", URL) == "DENY KILLED"
    assert not _asked(rig)


async def test_b06_without_the_check_the_metadata_service_is_reached_negative_control(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every address accepted, the second answer of the same name is dialled."""

    def accept(
        destination: Destination, addresses: tuple[str, ...], *, allow_private: bool
    ) -> tuple[str, ...]:
        return addresses

    monkeypatch.setattr(evaluator_module, "check_destination", accept)
    await rig.ask("net.get", URL)
    decision = await rig.ask("net.get", URL)

    assert decision.obligations.addresses == (METADATA,)
