# SPDX-License-Identifier: Apache-2.0
"""C01–C06, C11, C13: no verdict outlives what it rests on, wherever in a call the change falls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Hashable
from pathlib import Path
from typing import Any

import pytest

from sidecar.audit.log import Ticket
from sidecar.audit.reader import read_entries
from sidecar.authorize.cache import DecisionCache
from sidecar.clock import ManualClock
from sidecar.gate.state import GateState
from sidecar.model import Effect, Level
from sidecar.tokens.revocations import RevocationSet
from sidecar.tokens.validator import TokenValidator
from tests.support.bundles import ISSUER
from tests.support.rig import GateRig, TableResolver, codes_of
from tests.support.testbed import Testbed

ALLOWED = "ALLOW POLICY_ALLOW"
ALPHA_MAY_NOT = 'principal == Agent::"alpha"'


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[GateRig]:
    """A gate in miniature."""
    tmp_path.chmod(0o700)
    resolver = TableResolver({"api.example.com": [("93.184.216.34",)]})
    async with GateRig(tmp_path, resolver=resolver) as gate:
        yield gate


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Leave parts of the key out of the cache: for negative controls."""

    def forget(*positions: int) -> None:
        def shortened(key: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
            return tuple(part for at, part in enumerate(key) if at not in positions)

        get, put = DecisionCache.get, DecisionCache.put

        def short_get(self: Any, key: Any, now: int) -> Any:
            return get(self, shortened(key), now)

        def short_put(self: Any, key: Any, verdict: Any, deadline: int) -> None:
            put(self, shortened(key), verdict, deadline)

        monkeypatch.setattr(DecisionCache, "get", short_get)
        monkeypatch.setattr(DecisionCache, "put", short_put)

    return forget


AGENT, TOKEN, DIGEST, EPOCH, PROJECTION = range(5)
"""Parts of the cache key."""


async def _cached(rig: GateRig, *args: Any, **kwargs: Any) -> None:
    """Ask until the verdict comes from the cache."""
    await rig.ask(*args, **kwargs)
    assert (await rig.ask(*args, **kwargs)).is_cached


# -- C01 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [Level.KILL, Level.FREEZE, Level.READ_ONLY, Level.HOLD])
async def test_c01_kill_voids_a_cached_allow(rig: GateRig, level: Level) -> None:
    """Cached a moment ago, denied (or held) at the next call."""
    await _cached(rig, "note.write")
    rig.contain("alpha", level)
    decision = await rig.ask("note.write")

    assert decision.effect is (Effect.HOLD if level is Level.HOLD else Effect.DENY)
    assert (await rig.ask("note.write", agent="beta")).effect is Effect.ALLOW


async def test_c01_a_kill_elsewhere_empties_the_cache_of_everybody(rig: GateRig) -> None:
    """The epoch is part of the key: no verdict of an earlier world answers."""
    await _cached(rig)
    rig.contain("beta")

    assert not (await rig.ask()).is_cached
    assert (await rig.ask()).is_cached


async def test_c01_without_the_epoch_an_old_verdict_answers_negative_control(
    rig: GateRig, careless: Callable[..., None]
) -> None:
    """With the epoch left out of the key, a verdict of an earlier world is used in a later one."""
    careless(EPOCH)
    await _cached(rig)
    rig.contain("beta")

    assert (await rig.ask()).is_cached


async def test_c01_without_the_latch_comparison_the_kill_is_not_seen_negative_control(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that does not look at the latch goes on allowing after the kill was published."""
    await _cached(rig, "note.write")
    monkeypatch.setattr(GateState, "current", lambda self: self._world)
    monkeypatch.setattr(GateState, "is_current", lambda self, world: True)
    rig.contain("alpha")

    assert await rig.verdict("note.write") == ALLOWED


# -- C02 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "selectors",
    [
        {"jti": "t-1", "issuer": ISSUER},
        {"agent": "alpha"},
        {"session": "s-1"},
        {"issuer": ISSUER},
        {"agent": "alpha", "issued_before_s": 2**40},
    ],
    ids=lambda chosen: "+".join(chosen),
)
async def test_c02_revocation_voids_a_cached_allow(rig: GateRig, selectors: dict[str, Any]) -> None:
    """Every way to revoke bites at the next call, cached or not, and on nobody else's token."""
    token = rig.token(jti="t-1", sid="s-1")
    await _cached(rig, "vault.read", token=token)
    rig.revoke(**selectors)
    verdict = await rig.verdict("vault.read", token=token)

    assert verdict == "DENY TOKEN_REVOKED"
    if "agent" in selectors:
        other = rig.token("beta", jti="t-2")
        assert await rig.verdict("vault.read", agent="beta", token=other) == ALLOWED


async def test_c02_without_the_set_a_revoked_token_passes_negative_control(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The set is asked at every call; if it were not, the revoked token would be good."""
    token = rig.token(jti="t-1")
    monkeypatch.setattr(RevocationSet, "match", lambda self, claims: None)
    rig.revoke(jti="t-1", issuer=ISSUER)

    assert await rig.verdict("vault.read", token=token) == ALLOWED


# -- C03 ------------------------------------------------------------------------------------------


async def test_c03_tightened_policy_voids_a_cached_allow(rig: GateRig) -> None:
    """A tightening bites at once, and rolling it back brings no old verdict back."""
    loose = (await rig.ask()).policy_digest
    await _cached(rig)
    await rig.activate(unless=ALPHA_MAY_NOT)
    tight = await rig.ask()
    await rig.activate()
    again = await rig.ask()

    assert codes_of(tight) == "DENY NO_POLICY_ALLOWS"
    assert tight.policy_digest != loose
    assert codes_of(again) == ALLOWED
    assert (again.policy_digest, again.is_cached) == (loose, False)


async def test_c03_policy_that_is_named_and_not_there_denies(rig: GateRig) -> None:
    """The latch names a bundle that the gate has not got yet: nothing is decided by the old one."""
    await _cached(rig)
    rig.name_policy("f" * 64)

    assert await rig.verdict() == "DENY NOT_READY"


async def test_c03_without_digest_and_epoch_the_old_policy_decides_negative_control(
    rig: GateRig, careless: Callable[..., None]
) -> None:
    """With both left out of the key, the verdict of the looser policy is used under the tighter."""
    careless(DIGEST, EPOCH)
    await _cached(rig)
    await rig.activate(unless=ALPHA_MAY_NOT)

    assert await rig.verdict() == ALLOWED


# -- C04 ------------------------------------------------------------------------------------------


async def test_c04_token_expires_while_its_verdict_is_cached(rig: GateRig) -> None:
    """Denied from ``exp`` on, not from the end of the cache's own time; never valid beyond it."""
    clock = rig.clock
    assert isinstance(clock, ManualClock)
    now = -(-clock.wall_ns() // 10**9)
    clock.advance(seconds=(now * 10**9 - clock.wall_ns()) / 10**9)
    token = rig.token(exp=now + 2)
    await _cached(rig, "vault.read", token=token)
    allowed = await rig.ask("vault.read", token=token)
    clock.advance(seconds=1.5)
    rig.beat()
    still = await rig.ask("vault.read", token=token)
    clock.step_wall(seconds=-3600)
    clock.advance(seconds=0.5)
    rig.beat()

    assert allowed.valid_until_ns <= (now + 2) * 10**9
    assert still.valid_until_ns <= (now + 2) * 10**9
    assert await rig.verdict("vault.read", token=token) == "DENY TOKEN_EXPIRED"


async def test_c04_allow_is_never_valid_for_longer_than_five_seconds(rig: GateRig) -> None:
    """P3: an ALLOW that is not used lapses, whatever the wall clock does meanwhile."""
    clock = rig.clock
    assert isinstance(clock, ManualClock)
    decision = await rig.ask()
    clock.step_wall(seconds=3600)
    stepped = await rig.ask()

    assert decision.valid_until_ns - clock.wall_ns() + 3600 * 10**9 <= 5 * 10**9
    assert stepped.valid_until_ns - clock.wall_ns() <= 5 * 10**9


async def test_c04_without_the_time_check_an_expired_token_passes_negative_control(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validity is asked at every call; asked once only, the token would live on."""
    clock = rig.clock
    assert isinstance(clock, ManualClock)
    token = rig.token(exp=clock.wall_ns() // 10**9 + 2)
    await _cached(rig, "vault.read", token=token)
    monkeypatch.setattr(TokenValidator, "_admit", lambda self, verified, spec: verified)
    clock.advance(seconds=60)
    rig.beat()

    assert await rig.verdict("vault.read", token=token) == ALLOWED


# -- C05 ------------------------------------------------------------------------------------------


async def test_c05_restarted_gate_remembers_no_verdict(
    make_bed: Callable[..., Testbed],
) -> None:
    """After SIGKILL and restart the first call is decided afresh; no file holds verdicts."""
    bed = make_bed().begin(["alpha"])
    async with bed.agent() as agent:
        cached = [(await agent.ask()).cached for _ in range(2)]
    bed.gates["gate"].kill()
    bed.launch_gate(["alpha"])
    bed.wait_gate("alpha")
    async with bed.agent() as agent:
        after = [(await agent.ask()).cached for _ in range(2)]

    assert cached == after == [False, True]


# -- C06 ------------------------------------------------------------------------------------------


async def test_c06_one_agents_allow_is_no_use_to_another(rig: GateRig) -> None:
    """Same tool, same arguments, another socket: another verdict."""
    await rig.activate(unless='principal == Agent::"beta"')
    await _cached(rig, agent="alpha")
    other = await rig.ask(agent="beta")

    assert (codes_of(other), other.is_cached) == ("DENY NO_POLICY_ALLOWS", False)


async def test_c06_one_tokens_allow_is_no_use_to_another(rig: GateRig) -> None:
    """Two tokens of one agent have two entries."""
    first, second = rig.token(jti="t-1"), rig.token(jti="t-2")
    await _cached(rig, "vault.read", token=first)

    assert not (await rig.ask("vault.read", token=second)).is_cached


async def test_c06_without_the_agent_beta_gets_alphas_allow_negative_control(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch, careless: Callable[..., None]
) -> None:
    """With the agent left out of the key, the agent that may not gets what the other may."""
    await rig.activate(unless='principal == Agent::"beta"')
    careless(AGENT, PROJECTION)
    await _cached(rig, agent="alpha")

    assert await rig.verdict(agent="beta") == ALLOWED


# -- C11 ------------------------------------------------------------------------------------------


def _after_cache_read(rig: GateRig, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    get = rig.cache.get

    def hooked(key: Any, now: int) -> Any:
        found = get(key, now)
        act()
        return found

    patch.setattr(rig.cache, "get", hooked)


def _after_record(rig: GateRig, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    record = rig.recorder.record

    def hooked(draft: Any) -> Any:
        ticket = record(draft)
        act()
        return ticket

    patch.setattr(rig.recorder, "record", hooked)


def _while_durable(rig: GateRig, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    durable = rig.audit.durable

    async def hooked(*args: Any, **kwargs: Any) -> None:
        await durable(*args, **kwargs)
        act()
        await asyncio.sleep(0)

    patch.setattr(rig.audit, "durable", hooked)


def _while_resolving(rig: GateRig, act: Callable[[], None], patch: pytest.MonkeyPatch) -> None:
    assert isinstance(rig.resolver, TableResolver)
    rig.resolver.before_answer = lambda host: act()


_CALLS = {"net": ("net.get", {"url": "https://api.example.com/"}), "note": ("note.write", {})}
_MOMENTS = [
    pytest.param(_after_cache_read, "note", id="cache-read"),
    pytest.param(_after_record, "note", id="record"),
    pytest.param(_while_durable, "note", id="fsync"),
    pytest.param(_while_resolving, "net", id="dns"),
]


@pytest.mark.parametrize(("at", "call"), _MOMENTS)
async def test_c11_kill_inside_a_call_is_seen_before_its_reply(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch, at: Callable[..., None], call: str
) -> None:
    """After the verdict was read, after it was recorded, while the disk or DNS is waited for."""
    tool, arguments = _CALLS[call]
    assert await rig.verdict(tool, arguments) == ALLOWED
    killed: list[int] = []
    at(rig, lambda: killed or killed.append(rig.contain("alpha")), monkeypatch)

    decision = await rig.ask(tool, arguments)

    assert killed
    assert codes_of(decision) == "DENY KILLED"
    assert decision.epoch >= killed[0]


@pytest.mark.parametrize(("at", "call"), _MOMENTS)
async def test_c11_without_the_re_check_the_call_gets_through_negative_control(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch, at: Callable[..., None], call: str
) -> None:
    """With the comparison just before the reply taken out, the old verdict leaves the gate."""
    tool, arguments = _CALLS[call]
    assert await rig.verdict(tool, arguments) == ALLOWED
    world = rig.state.current()
    monkeypatch.setattr(rig.state, "is_current", lambda of: True, raising=False)
    monkeypatch.setattr(rig.state, "current", lambda: world, raising=False)
    killed: list[int] = []
    at(rig, lambda: killed or killed.append(rig.contain("alpha")), monkeypatch)

    assert await rig.verdict(tool, arguments) == ALLOWED
    assert killed


async def test_c11_world_that_never_rests_ends_in_a_denial(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change at every attempt: a bounded number of times decided again, then denied."""
    changes: list[int] = []
    _after_record(rig, lambda: changes.append(rig.contain("beta", Level.OBSERVE)), monkeypatch)

    decision = await rig.ask()

    assert codes_of(decision) == "DENY EPOCH_UNSTABLE"
    assert len(changes) <= 6


async def test_c11_what_was_recorded_first_is_replaced_on_record(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log shows the allow that did not leave the gate, and the denial that replaced it."""
    killed: list[int] = []
    _after_record(rig, lambda: killed or killed.append(rig.contain("alpha")), monkeypatch)
    decision = await rig.ask("note.write")
    await rig.audit.durable(Ticket(rig.audit.size - 1))
    await rig.audit.checkpoint()
    entries = [json.loads(entry.line) for entry in read_entries(rig.audit.directory, 0, 100)]

    first, second = entries[-2:]
    assert (first["effect"], second["effect"]) == ("ALLOW", "DENY")
    assert second["replaces"] == first["decision_id"]
    assert second["decision_id"] == decision.decision_id


# -- C13 ------------------------------------------------------------------------------------------


async def test_c13_a_call_uses_one_snapshot_and_not_an_old_one(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy changes while a call waits for DNS: it is decided by the new one, whole."""
    assert isinstance(rig.resolver, TableResolver)
    waiting, go_on = asyncio.Event(), asyncio.Event()

    def hold(host: str) -> Any:
        waiting.set()
        return go_on.wait()

    rig.resolver.before_answer = hold
    call = asyncio.create_task(rig.ask("net.get", {"url": "https://api.example.com/"}))
    await waiting.wait()
    digest = await rig.activate(
        extra_policies='@id("closed") forbid (principal, action == Action::"net.get", resource);'
    )
    go_on.set()
    decision = await call

    assert codes_of(decision) == "DENY POLICY_DENY"
    assert decision.policy_digest == digest


async def test_c13_old_closure_would_decide_by_the_old_policy_negative_control(
    rig: GateRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that keeps the world it began with is allowed by a policy that is no more."""
    assert isinstance(rig.resolver, TableResolver)
    waiting, go_on = asyncio.Event(), asyncio.Event()

    def hold(host: str) -> Any:
        waiting.set()
        return go_on.wait()

    rig.resolver.before_answer = hold
    world = rig.state.current()
    monkeypatch.setattr(rig.state, "current", lambda: world, raising=False)
    monkeypatch.setattr(rig.state, "is_current", lambda of: True, raising=False)
    call = asyncio.create_task(rig.ask("net.get", {"url": "https://api.example.com/"}))
    await waiting.wait()
    await rig.activate(
        extra_policies='@id("closed") forbid (principal, action == Action::"net.get", resource);'
    )
    go_on.set()

    assert codes_of(await call) == ALLOWED
