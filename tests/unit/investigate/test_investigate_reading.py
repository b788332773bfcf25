# SPDX-License-Identifier: Apache-2.0
"""Log entries as events: what is told of them, and what is not, whoever wrote them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.audit.entry import format_time
from sidecar.investigate.reading import event_of, outcome_of, time_ns_of
from sidecar.investigate.values import Event
from sidecar.model import Effect, ToolClass

DECISION_ID = "dec_" + "0" * 32
DIGEST = "ab" * 32
CANARY = "canary ‮ <b>"


def read(**fields: Any) -> Event | None:
    """Return the event of an entry."""
    return event_of(
        {"time": "2026-11-22T14:00:00.000000001Z", **fields},
        log="gate",
        index=7,
        describe=lambda target: str(target.get("said", "")),
    )


def decision(**fields: Any) -> Event:
    """Return the event of a decision."""
    event = read(
        **{
            "kind": "decision",
            "decision_id": DECISION_ID,
            "agent": "alpha",
            "tool": "mail.send",
            "effect": "ALLOW",
            "reasons": ["POLICY_ALLOW"],
            "session": "s-1",
            "fingerprint": DIGEST,
            "policy_digest": DIGEST,
            "tool_class": "external",
            "hosts": ["a.example"],
            "token": {"issuer": "https://idp.example", "jti": "jti-1"},
            "arguments": {"text": CANARY},
            **fields,
        }
    )
    assert event is not None
    return event


def test_decision_is_told_without_its_arguments() -> None:
    """Everything that names the call, its host and how it was decided; nothing of what it said."""
    event = decision()

    assert (event.log, event.index, event.kind) == ("gate", 7, "decision")
    assert (event.tool, event.session, event.destination) == ("mail.send", "s-1", "a.example")
    assert (event.effect, event.reason) == (Effect.ALLOW, "POLICY_ALLOW")
    assert event.tool_class is ToolClass.EXTERNAL
    assert event.revealed.credential == "https://idp.example: jti-1"
    assert event.summary == "mail.send at a.example was allowed: POLICY_ALLOW"
    assert CANARY not in repr(event)


@pytest.mark.parametrize(
    "name",
    ["tool", "session", "reasons", "fingerprint", "decision_id", "hosts", "token", "policy_digest"],
)
@pytest.mark.parametrize(
    "value", [CANARY, [CANARY], {"issuer": CANARY, "jti": CANARY}, 7, None, [[CANARY]]],
    ids=["text", "list", "object", "number", "null", "nested"],
)  # fmt: skip
def test_what_could_not_pass_the_gate_is_not_repeated(name: str, value: Any) -> None:
    """A name that is none, or of another type, is left out: the agent chose those words."""
    event = decision(**{name: value})

    assert CANARY not in repr(event)
    assert "7" not in (event.tool, event.session, event.reason)


@pytest.mark.parametrize("effect", ["MAYBE", None, 3], ids=["word", "null", "number"])
def test_decision_without_an_effect_is_no_event(effect: Any) -> None:
    """What nobody decided is not told as decided."""
    assert read(kind="decision", effect=effect, agent="alpha") is None


def test_outcome_belongs_to_its_decision_and_a_marked_one_stands_alone() -> None:
    """One that fits is joined; one that fits none is an event that says so."""
    fits = {"kind": "outcome", "decision_id": DECISION_ID, "agent": "alpha", "result": "ERROR"}
    marked = read(**fits, mark="orphan")

    assert outcome_of(fits, agent="alpha") == (DECISION_ID, "ERROR")
    assert outcome_of(fits, agent="beta") == ("", "")
    assert outcome_of({**fits, "mark": "duplicate"}, agent="alpha") == ("", "")
    assert outcome_of({**fits, "result": CANARY}, agent="alpha") == ("", "")
    assert read(**fits) is None
    assert marked is not None
    assert (marked.outcome, marked.decision_id) == ("ERROR", DECISION_ID)
    assert "orphan" in marked.summary


def test_orders_name_who_and_what_and_not_why() -> None:
    """Reasons are words of people, perhaps dictated by an alert."""
    directive = {
        "epoch": "7",
        "level": "KILL",
        "author": "alice",
        "reason": CANARY,
        "target": {"said": "agent alpha"},
    }
    contained = read(kind="contain", directive=directive, approval="approvals/apr_1")
    released = read(kind="release", directive=directive, releaser="bob", reason=CANARY)
    lapsed = read(kind="expire", directive=directive)
    revoked = read(
        kind="revoke_tokens", rule={"author": "soar", "agent": "alpha", "reason": CANARY}
    )
    told = [contained, released, lapsed, revoked]

    assert [event.summary for event in told if event] == [
        "alice contained directives/7 (agent alpha at KILL), as approvals/apr_1 grants",
        "bob released directives/7 (agent alpha at KILL)",
        "directives/7 (agent alpha at KILL) lapsed",
        "soar revoked tokens of agent alpha",
    ]
    assert [event.operator for event in told if event] == ["alice", "bob", "", "soar"]
    assert CANARY not in repr(told)


def test_approval_names_its_voters() -> None:
    """Who voted is told; what they said is not."""
    votes = [{"operator": "bob", "reason": CANARY}, {"operator": CANARY}, "odd"]
    event = read(
        kind="approval", event="granted", approval="approvals/apr_1", tool="note.held", votes=votes
    )

    assert event is not None
    assert (event.reason, event.operator, event.humans) == ("GRANTED", "bob", ("bob",))
    assert event.summary == "tool note.held: it was granted by bob (approvals/apr_1)"
    assert CANARY not in repr(event)


def test_entries_of_other_kinds_are_no_events() -> None:
    """What is not about an agent, or not known, is left out."""
    assert [read(kind=kind) for kind in ("start", "receipt", "refused", "", "approval")] == [
        None
    ] * 5


@given(st.integers(min_value=0, max_value=253_402_300_799 * 10**9))
def test_time_of_an_entry_is_read_to_the_nanosecond(wall_ns: int) -> None:
    """What the log writes is what is read."""
    assert time_ns_of(format_time(wall_ns)) == wall_ns


@pytest.mark.parametrize("text", ["", "now", "2026-11-22T14:00:00Z", None, 3])
def test_time_that_is_none_is_zero(text: object) -> None:
    """Nothing is guessed."""
    assert time_ns_of(text) == 0


_WORD = st.sampled_from(["", "x", "GRANTED", "granted", "dec_" + "0" * 32, "\u202e", "a b"])
_SCALAR = st.none() | st.booleans() | st.integers(-2, 2) | _WORD
_OBJECT = st.dictionaries(
    st.sampled_from(["target", "epoch", "level", "agent", "issuer", "jti", "operator"]),
    _SCALAR | st.lists(_SCALAR, max_size=2),
    max_size=3,
)
_JSON = _SCALAR | _OBJECT | st.lists(_SCALAR | _OBJECT, max_size=3)


@given(
    kind=st.sampled_from(
        ["decision", "outcome", "contain", "release", "expire", "isolate", "revoke_tokens",
         "approval", "incident", "incident_update"]
    ),
    fields=st.dictionaries(
        st.sampled_from(
            ["effect", "tool", "session", "reasons", "hosts", "token", "directive", "rule",
             "votes", "event", "approval", "mark", "result", "operator", "items", "incident"]
        ),
        _JSON,
    ),
)  # fmt: skip
def test_no_entry_breaks_the_reader(kind: str, fields: dict[str, Any]) -> None:
    """Whatever a damaged or hostile log holds, reading it raises nothing."""
    event = read(**{**fields, "kind": kind})

    assert event is None or event.kind == kind


@pytest.mark.parametrize("result", [[], {}, 7, None, True], ids=repr)
def test_p10_result_of_any_type_is_none_and_no_error(result: Any) -> None:
    """One entry of a gate in the hands of an attacker does not end an investigation."""
    fields = {"kind": "outcome", "agent": "alpha", "decision_id": DECISION_ID, "result": result}

    assert outcome_of(fields, agent="alpha") == ("", "")
    assert read(**fields, mark="late") is None


@pytest.mark.parametrize(
    "time", ["2026-13-01T00:00:00.000000000Z", "2026-00-01T00:00:00.000000000Z",
             "0000-01-01T00:00:00.000000000Z"],
    ids=["13", "0", "year"],
)  # fmt: skip
def test_p10_time_that_is_none_is_zero_and_no_error(time: str) -> None:
    """It has the form of a time, and the whole log would be passed over for it."""
    assert time_ns_of(time) == 0
