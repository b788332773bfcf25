# SPDX-License-Identifier: Apache-2.0
"""Reading an agent's trace out of real logs: whose word counts, and what bounds the work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sidecar.audit.log import AuditLog
from sidecar.clock import NS_PER_SECOND, ManualClock
from sidecar.containment.acks import AckTracker
from sidecar.control import tracing
from sidecar.control.gates import GateConnection, GateRegistry
from sidecar.control.logs import HostLogs
from sidecar.control.tracing import Traces
from sidecar.errors import NotFoundError, UntrustedInputError
from sidecar.investigate.values import Event


class Host:
    """Control's log and those of any number of gates, without any process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = ManualClock()
        self.logs: dict[str, AuditLog] = {}
        self.gates = GateRegistry(acks=AckTracker())
        self.control = self.log("control")
        self.host_logs = HostLogs(
            audit=self.control, directory=root / "control", index_directory=root, gates=self.gates
        )
        bundle = SimpleNamespace(agents={}, tools={})
        policy: Any = SimpleNamespace(state=SimpleNamespace(bundle=bundle))
        nothing: Any = SimpleNamespace(directives=())
        self.traces = Traces(
            logs=self.host_logs,
            gates=self.gates,
            policy=policy,
            containment=lambda: nothing,
            clock=self.clock,
        )

    def log(self, name: str) -> AuditLog:
        """Open a log."""
        self.logs[name] = AuditLog.open(
            self.root / name,
            origin=f"host/{name}",
            signing_key=Ed25519PrivateKey.generate(),
            clock=self.clock,
        )
        return self.logs[name]

    def serve(self, name: str, *agents: str) -> GateConnection:
        """Connect a gate that serves *agents*."""
        gate = GateConnection(
            gate=name,
            agents=agents,
            audit_directory=self.root / name,
            verifier_key=self.logs.get(name, self.control).vkey,
        )
        self.gates.add(gate)
        return gate

    async def write(self, name: str, *entries: dict[str, Any]) -> None:
        """Log entries, a second apart, and sign them."""
        log = self.logs.get(name) or self.log(name)
        for entry in entries:
            self.clock.advance(seconds=1)
            ticket = log.append(entry)
        await log.durable(ticket)
        await log.checkpoint()
        self.clock.advance(seconds=1)

    async def timeline(self, agent: str = "alpha", **fields: Any) -> Any:
        """Return a page."""
        return await self.traces.timeline(agent, self.traces.window(None, None), **fields)

    async def pages(self, agent: str = "alpha", **fields: Any) -> list[tuple[Event, ...]]:
        """Return every page."""
        pages: list[tuple[Event, ...]] = []
        token = ""
        while True:
            page = await self.timeline(agent, token=token, **fields)
            pages.append(page.events)
            token = page.next_page_token
            if not token:
                return pages

    def close(self) -> None:
        self.host_logs.close()
        for log in self.logs.values():
            log.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


def call(number: int = 0, agent: str = "alpha", **fields: Any) -> dict[str, Any]:
    """Return a decision's entry."""
    return {
        "kind": "decision",
        "decision_id": f"dec_{number:032x}",
        "agent": agent,
        "tool": "note.read",
        "effect": "ALLOW",
        "reasons": ["POLICY_ALLOW"],
        **fields,
    }


async def test_p10_gate_is_believed_about_the_agents_it_serves_alone(host: Host) -> None:
    """What a gate in the hands of an attacker writes about another's agent is nobody's word."""
    await host.write("good", call(1, session="true"))
    await host.write("evil", call(2, session="false"), call(3, "beta"))
    host.serve("good", "alpha")
    host.serve("evil", "beta")

    alpha = await host.timeline("alpha")
    beta = await host.timeline("beta")
    radius = await host.traces.blast_radius("alpha", host.traces.window(None, None))

    assert [(event.log, event.session) for event in alpha.events] == [("good", "true")]
    assert [event.log for event in beta.events] == ["evil"]
    assert radius.sessions == ("true",)


async def test_p10_negative_control_a_gate_that_serves_it_is_believed(host: Host) -> None:
    """The same entries count once the gate is one that serves, or served, the agent."""
    await host.write("evil", call(2, session="false"))
    host.serve("evil", "alpha")
    host.serve("evil", "beta")  # it connected again, for another agent

    alpha = await host.timeline("alpha")

    assert [event.session for event in alpha.events] == ["false"]


async def test_outcome_that_another_agent_reported_is_not_joined(host: Host) -> None:
    """Only the agent of the call says how it ended, and only what fits is taken."""
    outcome = {"kind": "outcome", "decision_id": f"dec_{1:032x}", "result": "SUCCESS"}
    await host.write(
        "gate",
        call(1),
        {**outcome, "agent": "beta", "result": "ERROR"},
        {**outcome, "agent": "alpha", "mark": "duplicate"},
        call(2),
        {**outcome, "agent": "alpha", "decision_id": f"dec_{2:032x}", "result": "AMBIGUOUS"},
    )
    host.serve("gate", "alpha", "beta")

    events = (await host.timeline()).events

    told = [(event.kind, event.outcome) for event in events]
    assert told == [("decision", "AMBIGUOUS"), ("outcome", "SUCCESS"), ("decision", "")]


async def test_orders_concern_the_agents_that_they_reach(host: Host) -> None:
    """By name, by what was reached, by everything; another agent's order is not told."""

    def directive(**target: str) -> dict[str, Any]:
        return {"epoch": "1", "level": "KILL", "author": "alice", "target": target}

    await host.write(
        "control",
        {"kind": "contain", "directive": directive(kind="agent", agent="alpha"), "agents": []},
        {"kind": "contain", "directive": directive(kind="agent", agent="beta"), "agents": ["beta"]},
        {"kind": "contain", "directive": directive(kind="labels"), "agents": ["alpha"]},
        {"kind": "release", "directive": directive(kind="all"), "releaser": "bob"},
        {"kind": "revoke_tokens", "rule": {"agent": "beta", "author": "bob"}},
        {"kind": "revoke_tokens", "rule": {"issuer": "idp", "author": "bob"}},
        {"kind": "revoke_tokens", "rule": {"jti": "1", "author": "bob"}},
        {"kind": "approval", "event": "opened", "agent": "beta", "approval": "approvals/a"},
        {"kind": "approval", "event": "opened", "agent": "alpha", "approval": "approvals/b"},
        {"kind": "policy", "digest": "x"},
    )
    host.gates.add(host.serve("gate", "alpha"))

    events = (await host.timeline()).events

    kinds = [event.kind for event in events if event.log == "control"]
    assert kinds == ["approval", "revoke_tokens", "release", "contain", "contain"]


async def test_work_for_one_page_is_bounded_and_the_next_goes_on(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that is hard to find costs many short pages, and is found."""
    monkeypatch.setattr(tracing, "_MAX_LOOKED_AT", 4)
    await host.write("gate", call(0, session="rare"), *(call(n) for n in range(1, 30)))
    host.serve("gate", "alpha")

    pages = await host.pages(session="rare")

    assert [event.session for page in pages for event in page] == ["rare"]
    assert len(pages) > 5


async def test_blast_radius_says_that_there_is_more(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its bound it counts the newest, and is truncated; at the bound it is not."""
    await host.write("gate", *(call(n) for n in range(12)))
    host.serve("gate", "alpha")
    window = host.traces.window(None, None)
    monkeypatch.setattr(tracing, "_MAX_COUNTED", 10)
    more = await host.traces.blast_radius("alpha", window)
    monkeypatch.setattr(tracing, "_MAX_COUNTED", 13)
    whole = await host.traces.blast_radius("alpha", window)

    assert (more.decision_counts["ALLOW"], more.is_truncated) == (10, True)
    assert (whole.decision_counts["ALLOW"], whole.is_truncated) == (12, False)


async def test_calls_for_an_incident_say_that_there_are_more(host: Host) -> None:
    """The newest, and whether they are all."""
    await host.write("gate", *(call(n) for n in range(5)))
    host.serve("gate", "alpha")
    window = host.traces.window(None, None)

    some, is_cut = await host.traces.calls("alpha", window, limit=3)
    all_of_them, is_all_cut = await host.traces.calls("alpha", window, limit=5)

    assert [event.index for event in some] == [4, 3, 2]
    assert (is_cut, is_all_cut, len(all_of_them)) == (True, False, 5)


async def test_clock_that_went_back_reorders_nothing_within_a_log(host: Host) -> None:
    """The log's order is the order."""
    await host.write("gate", call(1), call(2))
    host.clock.step_wall(seconds=-3600)
    await host.write("gate", call(3))
    host.clock.step_wall(seconds=3600)
    host.serve("gate", "alpha")

    pages = await host.pages(limit=1)

    assert [event.index for page in pages for event in page] == [2, 1, 0]


async def test_g16_unknown_agent_and_empty_window(host: Host) -> None:
    """NOT_FOUND and INVALID_ARGUMENT, before any log is read."""
    host.serve("gate", "alpha")
    now = host.clock.wall_ns()

    host.traces.require("alpha")
    with pytest.raises(NotFoundError):
        host.traces.require("beta")
    for since, until in ((now, now), (now + 1, now), (now, now + 10), (-1, now)):
        with pytest.raises(UntrustedInputError):
            host.traces.window(since, until)
    assert host.traces.window(None, None).until_ns - host.traces.window(None, None).since_ns == (
        24 * 3600 * NS_PER_SECOND
    )


@pytest.mark.parametrize("limit", [1, 100], ids=str)
async def test_log_that_cannot_be_read_any_more_is_told_on_a_later_page(
    host: Host, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """What breaks between two pages, or does not fit on the first, is missing by name; told once."""
    await host.write("one", *(call(n) for n in range(3)))
    await host.write("two", *(call(n) for n in range(3, 6)))
    for name in ("one", "two"):
        host.serve(name, "alpha")
    first = await host.timeline(limit=2)
    read = host.host_logs.read

    async def broken(log: str, work: Any) -> Any:
        if log != "control":
            raise OSError("the disk is gone")
        return await read(log, work)

    monkeypatch.setattr(host.host_logs, "read", broken)
    told: list[Event] = []
    token = first.next_page_token
    while token:
        page = await host.timeline(limit=limit, token=token)
        told += page.events
        token = page.next_page_token

    assert [(event.kind, event.log) for event in told] == [
        ("unreadable", "one"), ("unreadable", "two")
    ]  # fmt: skip


async def test_agent_whose_gates_are_not_known_is_not_said_to_have_done_nothing(host: Host) -> None:
    """After control starts again, a gate that is gone is not known: neither are the agent's calls."""
    await host.write("gate", call(1))
    window = host.traces.window(None, None)
    calls, is_cut = await host.traces.calls("alpha", window, limit=5)
    before = await host.traces.blast_radius("alpha", window)
    host.serve("gate", "alpha")
    after = await host.traces.blast_radius("alpha", window)
    _, is_cut_after = await host.traces.calls("alpha", window, limit=5)

    assert (calls, is_cut, before.is_truncated) == ([], True, True)
    assert before.statement == (
        "nothing is known of the calls of agent alpha: no gate that serves it, or served it, has "
        "connected since control started."
    )
    assert (is_cut_after, after.is_truncated, after.decision_counts["ALLOW"]) == (False, False, 1)


async def test_gate_that_comes_back_with_another_log_is_read_there(host: Host) -> None:
    """Its state was moved, or lost and made anew: the old log is not told as if it were the new one."""
    await host.write("old", call(1, session="old"))
    await host.write("new", call(2, session="new"))
    gate = host.serve("old", "alpha")
    host.gates.add(replace(gate, gate="gate"))
    host.gates._served.pop("old")
    before = (await host.timeline()).events
    host.gates.add(replace(gate, gate="gate", audit_directory=host.root / "new"))

    after = (await host.timeline()).events

    assert [event.session for event in before] == ["old"]
    assert [event.session for event in after] == ["new"]
