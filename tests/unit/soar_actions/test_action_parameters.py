# SPDX-License-Identifier: Apache-2.0
"""The catalogue: declarations are whole, and a playbook's values are held to them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.identifiers import check_agent_id, check_request_id, check_session_id, check_tool_name
from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import (
    Action,
    ActionEffect,
    Approval,
    FieldType,
    Parameter,
    RetryClass,
)
from soar_actions.errors import ActionError, ErrorClass
from soar_actions.handlers import HANDLERS

CONTAIN = ACTIONS["contain-agent"]
GOOD = {"agent": "banking", "level": "KILL", "reason": "alert 4711"}


ALL = pytest.mark.parametrize("slug", ACTIONS)
NAMING = [
    (slug, parameter.name)
    for slug, action in ACTIONS.items()
    for parameter in action.parameters
    if parameter.contains in ("holdfast agent", "holdfast tool", "holdfast session", "domain")
]


def test_every_action_has_a_handler() -> None:
    """Nothing is declared that cannot be done, nothing is done that is not declared."""
    assert list(ACTIONS) == list(HANDLERS)
    assert len(ACTIONS) >= 28


@ALL
def test_a_declaration_is_whole(slug: str) -> None:
    """What manifests, pages and adapters are made from is all there."""
    action = ACTIONS[slug]

    assert slug == action.name.replace(" ", "-")
    assert action.description.endswith(".")
    assert action.permission in ("contain", "release", "audit-read")
    assert action.outputs
    assert action.approval_note
    assert action.idempotency
    assert action.is_read_only == (action.effect is ActionEffect.READ)
    assert action.is_read_only or action.reversal
    assert action.is_read_only == (action.retry is RetryClass.ALWAYS)
    assert (action.effect is ActionEffect.LOOSEN) <= (action.approval is Approval.ALWAYS)
    assert 10 <= action.deadline_s <= 120
    names = [parameter.name for parameter in action.parameters]
    assert len(set(names)) == len(names)
    assert ("idempotency_key" in names) is not action.is_read_only
    paths = [output.path for output in action.outputs]
    assert len(set(paths)) == len(paths)
    for note in action.errors:
        assert note.reason.isupper()
        assert note.meaning.endswith(".")
        assert note.remedy.endswith(".")


@ALL
def test_examples_and_defaults_are_of_their_form(slug: str) -> None:
    """What docs show works when it is pasted."""
    action = ACTIONS[slug]

    for parameter in action.parameters:
        assert parameter.description.endswith("."), parameter.name
        assert _accepts(action, parameter, parameter.example), parameter.name
        if parameter.default:
            assert _accepts(action, parameter, parameter.default), parameter.name
            assert not parameter.is_required
    for output in action.outputs:
        kinds = {FieldType.NUMBER: int, FieldType.BOOLEAN: bool, FieldType.OBJECT: dict}
        assert type(output.example) is kinds.get(output.type, str), output.path


@ALL
def test_an_action_that_can_wait_says_how(slug: str) -> None:
    """Manifests and playbooks need the operation; a failure of it has a reason and a remedy."""
    action = ACTIONS[slug]
    if not action.can_be_pending:
        return

    paths = {output.path for output in action.outputs}
    reasons = {note.reason for note in action.errors}

    assert {"operation.name", "operation.state", "approval", "link"} <= paths
    assert action.is_poll or {"APPROVAL_REFUSED", "APPROVAL_EXPIRED", "NO_APPROVER"} <= reasons


def _accepts(action: Action, parameter: Parameter, value: str) -> bool:
    given = {item.name: item.example for item in action.parameters if item.is_required}
    try:
        action.check({**given, parameter.name: value})
    except ActionError as exc:
        if repr(parameter.name) in exc.message:
            return False
        raise
    return True


@pytest.mark.parametrize(
    "value", ["*", "bank*", "{{agent}}", "a b", "a,", ",a", "a,,b", "a\n", "%2a"]
)
@pytest.mark.parametrize(("slug", "name"), NAMING, ids=[f"{a}-{b}" for a, b in NAMING])
def test_i07_no_name_is_a_wildcard(slug: str, name: str, value: str) -> None:
    """In no action, for agents, tools, sessions and destinations alike."""
    action = ACTIONS[slug]
    parameter = next(item for item in action.parameters if item.name == name)

    assert not _accepts(action, parameter, value)


@given(st.data())
@settings(max_examples=200)
def test_i07_names_that_pass_are_names_to_control(data: st.DataObject) -> None:
    """What a parameter lets through is what control itself takes as such a name."""
    checks = {
        "agent": check_agent_id,
        "tool": check_tool_name,
        "session": check_session_id,
        "idempotency_key": check_request_id,
    }
    slug, name = data.draw(
        st.sampled_from(
            [(s, p.name) for s, a in ACTIONS.items() for p in a.parameters if p.name in checks]
        )
    )
    parameter = next(item for item in ACTIONS[slug].parameters if item.name == name)
    text = data.draw(st.from_regex(parameter.pattern, fullmatch=True) | st.text(min_size=1))

    if _accepts(ACTIONS[slug], parameter, text):
        checks[name](text)


@pytest.mark.parametrize(
    ("value", "is_good"),
    [
        ("banking,travel", True),
        ("banking, travel", True),
        ("banking,banking", False),
        ("banking,*", False),
        ("banking,", False),
        (",".join(f"a{number}" for number in range(100)), True),
        (",".join(f"a{number}" for number in range(101)), False),
    ],
    ids=["two", "space", "twice", "wildcard", "empty_item", "hundred", "hundred_and_one"],
)
def test_i07_lists_name_each_agent(value: str, is_good: bool) -> None:
    """Each item is held to the form of one, and none is named twice."""
    action = ACTIONS["contain-agents"]

    assert _accepts(action, action.parameters[0], value) is is_good


def test_defaults_are_filled_in() -> None:
    """What a playbook leaves out has its declared default."""
    values = CONTAIN.check({"agent": "banking", "reason": "x"})

    assert values == {
        "agent": "banking",
        "level": "FREEZE",
        "reason": "x",
        "ttl_seconds": "",
        "idempotency_key": "",
    }


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"agent": ""}, "agent"),
        ({"agent": "*"}, "agent"),
        ({"agent": "bank*"}, "agent"),
        ({"agent": "{{alert.agent}}"}, "agent"),
        ({"agent": "banking\n"}, "agent"),
        ({"agent": "Banking"}, "agent"),
        ({"agent": "banking,travel"}, "agent"),
        ({"agent": "../banking"}, "agent"),
        ({"agent": "ｂanking"}, "agent"),
        ({"level": "kill"}, "level"),
        ({"level": "NUKE"}, "level"),
        ({"reason": ""}, "reason"),
        ({"reason": "x" * 1001}, "reason"),
        ({"reason": "a\x1b[2Jb"}, "reason"),
        ({"reason": "a\u202eb"}, "reason"),
        ({"ttl_seconds": "-1"}, "ttl_seconds"),
        ({"ttl_seconds": "1h"}, "ttl_seconds"),
        ({"target": "all"}, "target"),
    ],
)
def test_i07_hostile_values_are_refused_by_name(change: dict[str, str], name: str) -> None:
    """What an attacker writes into an alert cannot widen the target; the error names the place."""
    with pytest.raises(ActionError) as caught:
        CONTAIN.check({**GOOD, **change})

    assert caught.value.kind is ErrorClass.BAD_INPUT
    assert name in caught.value.message
    assert caught.value.remedy


@given(st.text(max_size=80))
@settings(max_examples=200)
def test_i07_only_an_exact_agent_id_passes(text: str) -> None:
    """Whatever text selects the target, it is an agent's id to the letter, or refused."""
    try:
        values = CONTAIN.check({**GOOD, "agent": text})
    except ActionError:
        return
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", values["agent"])
    assert values["agent"] == text


def test_i07_negative_control_without_the_pattern() -> None:
    """It is the pattern that holds: without it a wildcard would reach control."""
    from dataclasses import replace

    loose = replace(
        CONTAIN,
        parameters=tuple(replace(parameter, pattern="") for parameter in CONTAIN.parameters),
    )

    assert loose.check({**GOOD, "agent": "*"})["agent"] == "*"
