# SPDX-License-Identifier: Apache-2.0
"""E10, E11, E13, E17, E18, F06, F08 and the fail matrix: real processes, really taken away."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.api.v1 import audit_pb2, guard_pb2
from sidecar.audit.reader import StoredEntry, read_entries
from sidecar.sdk import Guard
from tests.support.clients import AgentClient, codes, effect, refused
from tests.support.polling import eventually
from tests.support.processes import Process
from tests.support.testbed import Testbed

ALLOWED = "ALLOW POLICY_ALLOW"
KILLED = "DENY KILLED"
STALENESS_S = 0.6
"""How long gates trust the last heartbeat in these tests; control beats every half second."""

Make = Callable[..., Testbed]


async def _until(agent: AgentClient, verdict: str, deadline_s: float = 10) -> float:
    """Wait until the agent is answered *verdict*; return how long that took."""
    began = time.monotonic()

    async def is_it() -> bool:
        return await agent.verdict() == verdict

    await eventually(is_it, deadline_s, what=verdict)
    return time.monotonic() - began


def _running(process: Process | None) -> Process:
    assert process is not None
    return process


# -- E10, P12: control is stopped or dead ----------------------------------------------------------


@pytest.mark.parametrize("tool", ["note.read", "note.write"])
async def test_e10_stopped_control_makes_the_gate_deny_and_coming_back_ends_it(
    make_bed: Make, tool: str
) -> None:
    """SIGSTOP: STALE within the staleness; SIGCONT: allowed again, without a restart."""
    bed = make_bed(max_staleness_s=STALENESS_S).begin(["alpha"])
    control = _running(bed.control)
    async with bed.agent() as agent:
        await _until(agent, ALLOWED)
        control.signal(signal.SIGSTOP)
        took = await _until(agent, "DENY STALE")
        stays = [await agent.verdict(tool) for _ in range(5)]
        control.signal(signal.SIGCONT)
        await _until(agent, ALLOWED)

    # A beat may be half a second old when the clock starts, and is never newer than now.
    assert took < STALENESS_S + 1.0
    assert stays == ["DENY STALE"] * 5


async def test_e10_kill_that_was_acknowledged_before_the_crash_outranks_stale(
    make_bed: Make,
) -> None:
    """killed > stale: who was killed is told so, with control dead."""
    bed = make_bed(max_staleness_s=STALENESS_S).begin(["alpha", "beta"])
    async with bed.operator("alice") as alice, bed.agent() as one, bed.agent("beta") as other:
        await alice.contain("alpha")
        _running(bed.control).kill()
        await _until(other, "DENY STALE")

        assert await one.verdict() == KILLED

        bed.restart_control()
        await _until(other, ALLOWED)

        assert await one.verdict() == KILLED


async def test_e10_without_the_heartbeat_the_gate_serves_for_ever_negative_control(
    make_bed: Make,
) -> None:
    """A gate that does not look at the age of the heartbeat allows with control dead."""
    bed = make_bed(max_staleness_s=STALENESS_S)
    bed.begin(["alpha"], gate_breakages=["no-staleness"])
    _running(bed.control).kill()
    died = time.monotonic()
    async with bed.agent() as agent:
        await eventually(lambda: time.monotonic() - died > STALENESS_S + 1, 5)

        assert await agent.verdict() == ALLOWED


# -- E11: local break-glass -----------------------------------------------------------------------


def _ruin(path: Path) -> None:
    for name in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        name.unlink(missing_ok=True)
    path.write_bytes(os.urandom(8192))
    path.chmod(0o600)


async def test_e11_local_kill_works_with_database_and_network_broken(make_bed: Make) -> None:
    """A ruined database, a listener full of silent connections: the root-only socket still kills."""
    bed = make_bed().begin(["alpha"])
    async with bed.operator("alice") as alice:
        standing = (await alice.contain("beta", "FREEZE")).receipt.directive.epoch
    _running(bed.control).kill()
    _ruin(bed.layout.database)
    bed.restart_control()
    host, _, port = bed.listen.rpartition(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(200)]
    try:
        async with bed.local() as local, bed.agent() as agent:
            await _until(agent, ALLOWED)
            began = time.monotonic()
            receipt = (await local.contain("alpha")).receipt
            took = time.monotonic() - began

            assert await agent.verdict() == KILLED
            # What stood before is known from the journal, not from the database.
            assert standing in {d.epoch for d in await local.directives()}
    finally:
        for connection in silent:
            connection.close()

    assert receipt.durable
    assert receipt.contained
    assert receipt.directive.author == "local"
    assert took < 2
    _running(bed.control).kill()
    bed.restart_control()
    async with bed.agent() as agent:
        assert await agent.verdict() == KILLED


async def test_e11_unreadable_revocations_keep_gates_unready(make_bed: Make) -> None:
    """Nobody knows which tokens are revoked: kill works, and a new gate allows nothing."""
    bed = make_bed().begin(["alpha"])
    _running(bed.control).kill()
    bed.gates["gate"].kill()
    _ruin(bed.layout.control / "revocations.db")
    bed.restart_control()
    bed.launch_gate(["alpha"])
    bed.wait_answering("alpha")
    async with bed.local() as local, bed.agent() as agent:
        verdict = await agent.verdict()
        receipt = (await local.contain("alpha")).receipt
        killed = await agent.verdict()

    assert verdict == "DENY NOT_READY"
    assert receipt.durable
    assert killed in {KILLED, "DENY NOT_READY"}


async def test_e11_database_that_is_not_ruined_is_used_negative_control(make_bed: Make) -> None:
    """The database that the test above ruins does hold the history."""
    bed = make_bed().begin(["alpha"])
    async with bed.operator("alice") as alice:
        await alice.contain("beta", "FREEZE")
    _running(bed.control).stop()
    with sqlite3.connect(bed.layout.database) as database:
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()

    assert tables


# -- E13: another name, another process -----------------------------------------------------------


async def test_e13_killed_agent_does_not_come_back_under_another_gate(make_bed: Make) -> None:
    """A new gate id, a new socket, a new session, a new connection, a new token: still killed."""
    bed = make_bed().begin(["alpha", "beta"])
    async with bed.operator("alice") as alice:
        await alice.contain("alpha")
    bed.gates["gate"].stop()
    shutil.rmtree(bed.layout.agents)
    bed.launch_gate(["alpha", "beta"], gate_id="brand-new")
    bed.wait_gate("alpha", "brand-new")
    async with bed.agent() as agent, bed.agent("beta") as other:
        verdicts = {
            await agent.verdict(),
            await agent.verdict(session="another-session"),
            await agent.verdict("note.write", nonce="n-1", cwd="/elsewhere"),
            await agent.verdict("vault.read", token=bed.idp.token("alpha")),
            await agent.verdict(metadata=(("x-agent-id", "beta"),)),
        }
        free = await other.verdict()
        borrowed = await other.verdict("vault.read", token=bed.idp.token("alpha"))

    assert verdicts == {KILLED}
    assert free == ALLOWED
    assert borrowed == "DENY TOKEN_INVALID"


async def test_e13_two_gates_cannot_share_an_id(make_bed: Make) -> None:
    """A second process under the id of a running gate does not write into its log."""
    bed = make_bed().begin(["alpha"])
    twin = bed.launch_gate(["beta"], gate_id="gate")
    code = await asyncio.to_thread(twin.wait)
    async with bed.agent() as agent:
        verdict = await agent.verdict()

    assert code != 0
    assert verdict == ALLOWED


async def test_e13_the_bystander_lives_negative_control(make_bed: Make) -> None:
    """The restart under another id revives whoever was not killed, so it is the kill that holds."""
    bed = make_bed().begin(["alpha"])
    bed.gates["gate"].stop()
    bed.launch_gate(["alpha"], gate_id="brand-new")
    bed.wait_gate("alpha", "brand-new")
    async with bed.agent() as agent:
        assert await agent.verdict() == ALLOWED


# -- E17: shutdown --------------------------------------------------------------------------------


async def test_e17_shutdown_answers_or_denies_and_the_sdk_denies_afterwards(
    make_bed: Make,
) -> None:
    """SIGTERM among calls in flight: each ends as a decision; without a gate there is a denial."""
    bed = make_bed().begin(["alpha"])
    async with (
        Guard(bed.agent_address("alpha"), deadline=timedelta(seconds=2)) as guard,
        bed.operator("alice") as alice,
    ):
        await guard.wait_ready(5)
        calls = [asyncio.create_task(guard.authorize("note.write", {})) for _ in range(200)]
        await asyncio.sleep(0)
        bed.gates["gate"].signal(signal.SIGTERM)
        in_flight = await asyncio.gather(*calls)
        code = await asyncio.to_thread(bed.gates["gate"].wait)
        afterwards = await asyncio.gather(*(guard.authorize("note.write", {}) for _ in range(3)))
        receipt = (await alice.contain("alpha")).receipt
    report = bed.verify_gate_log()

    assert code == 0
    assert {decision.effect for decision in in_flight} <= {"ALLOW", "DENY"}
    assert all(d.effect == "DENY" and d.is_local for d in afterwards)
    assert {d.reason.code for d in afterwards} == {"GATE_UNAVAILABLE"}
    assert report.ok
    logged = {
        entry.fields()["decision_id"]
        for entry in _entries(bed)
        if entry.fields()["kind"] == "decision"
    }
    assert {d.decision_id for d in in_flight if d.effect == "ALLOW"} <= logged
    assert not receipt.contained  # nobody enforces it now; it says so


async def test_e17_no_call_is_allowed_after_a_kill_during_shutdown(make_bed: Make) -> None:
    """Kill and SIGTERM at once: what starts after the receipt is denied, by gate or by SDK."""
    bed = make_bed(ack_timeout_s=0.2).begin(["alpha"])
    async with (
        bed.operator("alice") as alice,
        Guard(bed.agent_address("alpha"), deadline=timedelta(seconds=1)) as guard,
    ):
        await guard.wait_ready(5)
        load = [asyncio.create_task(guard.authorize("note.write", {})) for _ in range(100)]
        bed.gates["gate"].signal(signal.SIGTERM)
        await alice.contain("alpha")
        late = await asyncio.gather(*(guard.authorize("note.write", {}) for _ in range(50)))
        await asyncio.gather(*load)

    assert {decision.effect for decision in late} == {"DENY"}


async def test_e17_without_a_gate_from_the_start_everything_is_denied(tmp_path: Path) -> None:
    """No sidecar, no permission: the SDK never opens."""
    async with Guard(f"unix:{tmp_path}/no.sock", deadline=timedelta(milliseconds=100)) as guard:
        decision = await guard.authorize("note.read", {})

    assert not decision.allowed
    assert decision.is_local
    assert decision.reason.code == "GATE_UNAVAILABLE"


def _entries(bed: Testbed) -> list[StoredEntry]:
    return read_entries(bed.layout.gate_audit("gate"), 0, 100_000, is_unsigned_included=True)


# -- E18: the state directory ---------------------------------------------------------------------


@pytest.mark.parametrize("what", ["deleted", "replaced"])
async def test_e18_latch_taken_away_while_running_denies_everything(
    make_bed: Make, what: str
) -> None:
    """Deleted, or replaced by a copy: denied from the next look on, and control ends with an error."""
    bed = make_bed().begin(["alpha"])
    control = _running(bed.control)
    async with bed.agent() as agent:
        assert await agent.verdict() == ALLOWED
        aside = bed.root / "aside"
        bed.layout.latch.rename(aside)
        if what == "replaced":
            shutil.copytree(aside, bed.layout.latch)
        await _until(agent, "DENY LATCH_UNREADABLE", 5)
        code = await asyncio.to_thread(control.wait)
        stays = await agent.verdict("note.write")

    assert code != 0
    assert stays == "DENY LATCH_UNREADABLE"


async def test_e18_whole_state_deleted_while_running_denies_everything(make_bed: Make) -> None:
    """Nothing of an installation is left but its processes: they deny, or end."""
    bed = make_bed().begin(["alpha"])
    async with Guard(bed.agent_address("alpha"), deadline=timedelta(seconds=2)) as guard:
        await guard.wait_ready(5)
        assert (await guard.authorize("note.read", {})).allowed
        shutil.rmtree(bed.layout.root)

        async def is_denied() -> bool:
            return not (await guard.authorize("note.read", {})).allowed

        await eventually(is_denied, 5)
        later = [await guard.authorize("note.write", {}) for _ in range(3)]

    assert {decision.effect for decision in later} == {"DENY"}
    assert await asyncio.to_thread(_running(bed.control).wait) != 0


@pytest.mark.parametrize("is_careless", [False, True], ids=["", "negative_control"])
async def test_e18_latch_replaced_while_control_was_down(make_bed: Make, is_careless: bool) -> None:
    """Control comes back over a copy and orders a kill, while the gate still maps the original.

    Negative control: a gate that looks neither at the inode nor at the heartbeat goes on allowing;
    even then the receipt does not call it contained.
    """
    bed = make_bed(ack_timeout_s=0.2)
    bed.begin(
        ["alpha"], gate_breakages=["no-latch-identity", "no-staleness"] if is_careless else []
    )
    _running(bed.control).kill()
    aside = bed.root / "aside"
    bed.layout.latch.rename(aside)
    shutil.copytree(aside, bed.layout.latch)
    bed.restart_control()
    async with bed.operator("alice") as alice, bed.agent() as agent:
        if not is_careless:
            await _until(agent, "DENY LATCH_UNREADABLE", 5)
        receipt = (await alice.contain("alpha")).receipt
        verdict = await agent.verdict()

    assert verdict == (ALLOWED if is_careless else "DENY LATCH_UNREADABLE")
    assert not receipt.contained


@pytest.mark.parametrize("what", ["empty", "missing"])
async def test_e18_install_that_lost_its_latch_starts_denied(make_bed: Make, what: str) -> None:
    """Install marker and no latch: sealed, not fresh; a kill that stood before is not forgotten."""
    bed = make_bed().begin(["alpha", "beta"])
    async with bed.operator("alice") as alice:
        await alice.contain("alpha")
    _running(bed.control).kill()
    bed.gates["gate"].kill()
    shutil.rmtree(bed.layout.latch)
    if what == "empty":
        bed.layout.latch.mkdir(mode=0o700)
    bed.launch_control()
    bed.launch_gate(["alpha", "beta"])
    bed.wait_answering("beta")
    bed.wait_control()
    async with bed.agent() as one, bed.agent("beta") as other, bed.local() as local:
        verdicts = {(await one.verdict()), (await other.verdict())}
        standing = await local.directives()
        kill = (await local.contain("beta")).receipt

    assert verdicts == {"DENY LATCH_UNREADABLE"}
    assert "alpha" in {directive.target.agent for directive in standing}
    assert kill.directive.epoch > max(directive.epoch for directive in standing)


async def test_e18_fresh_install_serves_negative_control(make_bed: Make) -> None:
    """Without the marker the same empty directory is a new installation, and that serves."""
    bed = make_bed().begin(["alpha"])
    async with bed.agent() as agent:
        assert await agent.verdict() == ALLOWED


async def test_e18_log_that_was_taken_away_is_not_made_anew(make_bed: Make) -> None:
    """A gate whose log is missing does not start with an empty one."""
    bed = make_bed().begin(["alpha"])
    bed.gates["gate"].stop()
    shutil.rmtree(bed.layout.gate_audit("gate"))
    again = bed.launch_gate(["alpha"])
    code = await asyncio.to_thread(again.wait)

    assert code == 6, again.tail()


# -- F06, F08 -------------------------------------------------------------------------------------


async def test_f06_gate_is_not_ready_before_it_has_the_revocations(make_bed: Make) -> None:
    """In its first moments, with control silent, a gate allows nothing, token or not."""
    bed = make_bed(max_staleness_s=30).begin(["alpha"])
    bed.gates["gate"].kill()
    _running(bed.control).signal(signal.SIGSTOP)
    bed.launch_gate(["alpha"])
    bed.wait_answering("alpha")
    async with bed.agent() as agent:
        verdicts = [
            await agent.verdict("note.read"),
            await agent.verdict("vault.read", token=bed.idp.token("alpha")),
        ]
        health = await asyncio.to_thread(bed.health, bed.agent_address("alpha"))
        _running(bed.control).signal(signal.SIGCONT)
        await _until(agent, ALLOWED)

    assert verdicts == ["DENY NOT_READY"] * 2
    assert health == "NOT_SERVING"


async def test_f08_open_stream_of_a_revoked_agent_is_denied_at_its_next_question(
    make_bed: Make,
) -> None:
    """The connection was made, and used, with a good token; the next question with it is denied."""
    bed = make_bed().begin(["alpha"])
    item = guard_pb2.AuthorizeStreamRequest.Item
    request = guard_pb2.AuthorizeRequest(
        tool_call=guard_pb2.ToolCall(tool="vault.read", arguments=b"{}"),
        token=bed.idp.token("alpha", jti="f08"),
    )
    async with bed.operator("soar") as soar, bed.agent() as agent:
        stream = agent.guard.AuthorizeStream()
        answers = []
        for number in (1, 2, 3):
            if number == 3:
                await soar.revoke(jti="f08", issuer=bed.idp.issuer)
            await stream.write(
                guard_pb2.AuthorizeStreamRequest(items=[item(id=number, request=request)])
            )
            message = await stream.read()
            answers += [answer.decision for answer in message.items]
        await stream.done_writing()

    assert [effect(decision) for decision in answers] == ["ALLOW", "ALLOW", "DENY"]
    assert codes(answers[2]) == ["TOKEN_REVOKED"]


async def test_f10_revocation_outlives_crash_and_restart_of_both(make_bed: Make) -> None:
    """SIGKILL of control and gate: a revoked token is revoked, and listed."""
    bed = make_bed().begin(["alpha"])
    token = bed.idp.token("alpha", jti="f10")
    async with bed.operator("soar") as soar, bed.agent() as agent:
        assert await agent.verdict("vault.read", token=token) == ALLOWED
        await soar.revoke(jti="f10", issuer=bed.idp.issuer)
    _running(bed.control).kill()
    bed.gates["gate"].kill()
    bed.restart_control()
    bed.launch_gate(["alpha"])
    bed.wait_gate("alpha")
    async with bed.agent() as agent:
        verdict = await agent.verdict("vault.read", token=token)
        other = await agent.verdict("vault.read", token=bed.idp.token("alpha"))

    assert verdict == "DENY TOKEN_REVOKED"
    assert other == ALLOWED


# -- the fail matrix ------------------------------------------------------------------------------


async def test_matrix_gate_whose_log_cannot_be_written_denies_and_kill_works(
    make_bed: Make,
) -> None:
    """Audit not writable: no action without a record; containment does not depend on it."""
    bed = make_bed()
    bed.begin(["alpha"])
    bed.gates["gate"].stop()
    # One byte more than the log has now: every further write fails with EFBIG.
    bed.launch_gate(["alpha"], breakages=["small-files"])
    bed.wait_answering("alpha")
    async with bed.agent() as agent, bed.operator("alice") as alice:

        async def is_denied() -> bool:
            verdict = await agent.verdict("note.write", {"text": "x" * 10_000})
            return verdict == "DENY AUDIT_UNAVAILABLE"

        await eventually(is_denied, 10)
        read = await agent.verdict("note.read")
        receipt = (await alice.contain("alpha")).receipt
        killed = await agent.ask("note.read")

    assert read == "DENY AUDIT_UNAVAILABLE"
    assert receipt.contained
    assert effect(killed) == "DENY"


async def test_matrix_control_whose_log_is_broken_contains_and_does_not_release(
    make_bed: Make,
) -> None:
    """Tightening goes on without a log and says so in the receipt; loosening waits for it."""
    bed = make_bed()
    bed.launch_control(breakages=["deaf-audit"])
    bed.launch_gate(["alpha"])
    bed.wait_control()
    bed.wait_gate("alpha")
    async with bed.operator("alice") as alice, bed.operator("bob") as bob, bed.agent() as agent:
        receipt = (await alice.contain("alpha")).receipt
        killed = await agent.verdict()
        error = await refused(bob.release(receipt.directive.epoch))
        still = await agent.verdict()

    assert receipt.durable
    assert receipt.contained
    assert receipt.log_index == -1
    assert (killed, still) == (KILLED, KILLED)
    assert (error.code.name, error.reason) == ("UNAVAILABLE", "AUDIT_UNAVAILABLE")


async def test_matrix_latch_that_cannot_be_synced_denies_and_ends_control(
    make_bed: Make,
) -> None:
    """fsync fails once: the receipt says not durable, every gate denies, control exits."""
    bed = make_bed(max_staleness_s=30)
    bed.launch_control(breakages=["latch-sync-fails"])
    bed.launch_gate(["alpha", "beta"])
    bed.wait_control()
    bed.wait_gate("alpha")
    async with bed.operator("alice") as alice, bed.agent() as one, bed.agent("beta") as other:
        (bed.root / "fail-now").touch()
        receipt = (await alice.contain("alpha")).receipt
        denied = [await one.verdict(), await other.verdict()]
        code = await asyncio.to_thread(_running(bed.control).wait)
        later = await other.verdict()

    assert not receipt.durable
    assert set(denied) <= {KILLED, "DENY LATCH_UNREADABLE"}
    assert code == 5
    assert later == "DENY LATCH_UNREADABLE"


async def test_matrix_policy_that_control_never_sent_denies(make_bed: Make) -> None:
    """A gate that never met control denies everything, and says why."""
    bed = make_bed().begin(["alpha"])
    _running(bed.control).kill()
    bed.gates["gate"].kill()
    bed.launch_gate(["alpha"])
    bed.wait_answering("alpha")
    async with bed.agent() as agent:
        verdict = await agent.verdict()

    assert verdict in {"DENY NOT_READY", "DENY STALE"}


async def test_matrix_reload_of_an_unreadable_log_is_an_error(make_bed: Make) -> None:
    """Reading a gate's log that is gone is an error of that log, not the end of control."""
    bed = make_bed().begin(["alpha"])
    bed.gates["gate"].stop()
    shutil.rmtree(bed.layout.gate_audit("gate"))
    async with bed.operator("alice") as alice:
        error = await refused(alice.audit.ListEntries(audit_pb2.ListEntriesRequest(log="gate")))
        receipt = (await alice.contain("alpha")).receipt

    assert error.code.name in {"NOT_FOUND", "UNAVAILABLE", "INTERNAL", "FAILED_PRECONDITION"}
    assert receipt.durable
