# SPDX-License-Identifier: Apache-2.0
"""What an agent can have touched, counted up."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.investigate import blast
from sidecar.investigate.blast import BlastCount
from sidecar.investigate.values import BlastRadius, Event, Revealed, ToolFacts
from sidecar.model import Effect, ToolClass

REGISTRY = {
    "mail.send": ToolFacts(
        tool_class=ToolClass.EXTERNAL, data_class="mail", undo="ask the recipient"
    ),
    "note.read": ToolFacts(tool_class=ToolClass.READ, data_class="notes", undo=""),
}


def call(tool: str = "mail.send", effect: Effect = Effect.ALLOW, **fields: Any) -> Event:
    """Return a decision."""
    revealed = {
        name: fields.pop(name) for name in ("hosts", "credential", "replaces") if name in fields
    }
    return Event(
        **{
            "time_ns": 100,
            "kind": "decision",
            "log": "gate",
            "index": 1,
            "tool": tool,
            "effect": effect,
            "tool_class": ToolClass.EXTERNAL if tool == "mail.send" else ToolClass.READ,
            "decision_id": "",
            "revealed": Revealed(**revealed),
            **fields,
        }
    )


def count(*events: Event, is_cut: bool = False, owner: str = "emma") -> BlastRadius:
    """Count *events* up."""
    counting = BlastCount(agent="alpha", since_ns=1, until_ns=1000)
    counting.add(events)
    if is_cut:
        counting.truncate()
    return counting.result(registry=REGISTRY, owner=owner, has_socket=True)


def test_only_what_was_allowed_touched_anything() -> None:
    """Denied and held calls are counted apart; their hosts and kinds of data are not touched."""
    radius = count(
        call(hosts=("a.example",), time_ns=300),
        call(effect=Effect.DENY, hosts=("b.example",), time_ns=400),
        call("note.read", Effect.HOLD, time_ns=200),
    )

    mail, note = radius.tools
    assert radius.destinations == ("a.example",)
    assert radius.data_classes == ("mail",)
    assert (mail.allow_count, mail.deny_count, mail.hold_count) == (1, 1, 0)
    assert (note.tool, note.allow_count, note.hold_count) == ("note.read", 0, 1)
    assert (radius.first_call_ns, radius.last_allow_ns) == (200, 300)
    assert dict(radius.decision_counts) == {"ALLOW": 1, "DENY": 1, "HOLD": 1}
    assert mail.undo == "ask the recipient"


def test_decision_made_again_counts_once_as_it_was_answered() -> None:
    """The ALLOW that a kill overtook before it was answered is none."""
    radius = count(
        call(effect=Effect.DENY, decision_id="dec_2", replaces="dec_1"),
        call(decision_id="dec_1", hosts=("a.example",)),
    )

    assert dict(radius.decision_counts) == {"DENY": 1}
    assert radius.destinations == ()


def test_decision_made_again_negative_control() -> None:
    """Without the word that it replaces the other, both count."""
    radius = count(
        call(effect=Effect.DENY, decision_id="dec_2"),
        call(decision_id="dec_1", hosts=("a.example",)),
    )

    assert dict(radius.decision_counts) == {"ALLOW": 1, "DENY": 1}
    assert radius.destinations == ("a.example",)


def test_class_is_the_one_that_was_recorded() -> None:
    """A tool that the bundle calls harmless today was destructive when it was called."""
    radius = count(call("note.read", tool_class=ToolClass.DESTRUCTIVE), call("note.read"))

    assert radius.irreversible_count == 1
    assert radius.tools[0].tool_class is ToolClass.READ


def test_people_and_credentials() -> None:
    """The owner and who voted; tokens, and the socket that is the agent's identity."""
    vote = Event(time_ns=1, kind="approval", log="control", index=1, humans=("bob", "carol"))
    radius = count(vote, call(credential="idp: 1"), call(credential="idp: 1"))

    assert radius.humans == ("bob", "carol", "emma")
    assert radius.credentials == ("idp: 1", "gate socket of alpha")


def test_undeclared_tool_has_the_class_that_the_gate_recorded() -> None:
    """A tool that left the bundle is told as far as it is known."""
    radius = count(call("old.tool", tool_class=ToolClass.WRITE))

    use = radius.tools[0]
    assert (use.tool_class, use.data_class, use.undo) == (ToolClass.WRITE, "", "")


def test_name_that_is_none_counts_and_is_not_listed() -> None:
    """What was asked for under no name was decided all the same."""
    radius = count(call("", Effect.DENY))

    assert radius.tools == ()
    assert dict(radius.decision_counts) == {"DENY": 1}


@pytest.mark.parametrize("kind", ["cut", "hosts", "tools"])
def test_what_is_left_out_is_said(kind: str) -> None:
    """Entries not looked at, and lists that are too long, make it truncated; the sentence says so."""
    events = [call(hosts=(f"h{i}.example",)) for i in range(1001 if kind == "hosts" else 1)]
    events += [call(f"tool{i}") for i in range(1001 if kind == "tools" else 0)]

    radius = count(*events, is_cut=kind == "cut")

    assert radius.is_truncated
    assert "more than was looked at" in radius.statement
    assert len(radius.destinations) <= 1000
    assert len(radius.tools) <= 1000


def test_sentence_says_what_it_comes_to() -> None:
    """In words: how many calls of how many, with what, where, and what may not be undone."""
    some = count(call(hosts=("a.example",)), call("note.read"), call("note.read", Effect.DENY))
    none = count()
    denied = count(call(effect=Effect.DENY))

    assert some.statement == (
        "agent alpha was allowed 2 calls of 3 decisions with 2 tools (mail.send, note.read); "
        "reached 1 destination; touched data of class mail, notes; 1 call may not be undone."
    )
    assert not some.is_truncated
    assert none.statement == "agent alpha asked for nothing in this window."
    assert denied.statement == ("agent alpha asked 1 time and was allowed nothing in this window.")


def test_agent_cannot_make_its_record_too_large_to_be_read() -> None:
    """The longest names in any number: what is told stays small, says so, and tells what matters."""
    hosts = [f"{n:05d}.{'x' * 240}.example" for n in range(2000)]
    radius = count(
        *(call(f"tool{n % 40:02d}", hosts=(host,), session=f"s{n}" + "y" * 120)
          for n, host in enumerate(hosts)),
        *(call("z" * 120 + str(n), Effect.DENY) for n in range(2000)),
        call(hosts=("last.example",)),
    )  # fmt: skip

    told = [*radius.destinations, *radius.sessions, *(use.tool for use in radius.tools)]
    told += [host for use in radius.tools for host in use.destinations]
    assert sum(map(len, told)) <= 4 * 64 * 1024
    assert radius.is_truncated
    assert "more than was looked at" in radius.statement
    assert sum(use.allow_count for use in radius.tools) == 2001
    assert radius.data_classes == ("mail",)
    assert radius.humans == ("emma",)


def test_memory_is_bounded_whatever_a_gate_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it names are left out, and that is said; calls still count."""
    monkeypatch.setattr(blast, "_MAX_KEPT_CHARS", 30)

    radius = count(*(call(hosts=(f"h{n:02d}.example",)) for n in range(9)))

    assert radius.destinations == ("h00.example", "h01.example")
    assert radius.is_truncated
    assert radius.decision_counts["ALLOW"] == 9
