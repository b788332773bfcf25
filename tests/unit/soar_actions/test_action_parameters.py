# SPDX-License-Identifier: Apache-2.0
"""The catalogue: declarations are whole, and a playbook's values are held to them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import ActionEffect, RetryClass
from soar_actions.errors import ActionError, ErrorClass
from soar_actions.handlers import HANDLERS

CONTAIN = ACTIONS["contain-agent"]
GOOD = {"agent": "banking", "level": "KILL", "reason": "alert 4711"}


def test_every_action_has_a_handler_and_a_whole_declaration() -> None:
    """Nothing is declared that cannot be done, nothing is done that is not declared."""
    assert set(ACTIONS) == set(HANDLERS)
    for slug, action in ACTIONS.items():
        assert slug == action.name.replace(" ", "-")
        assert action.description.endswith(".")
        assert action.permission
        assert action.outputs
        assert action.is_read_only == (action.effect is ActionEffect.READ)
        assert action.is_read_only or action.reversal
        assert action.is_read_only or action.retry is RetryClass.WITH_SAME_KEY
        for parameter in action.parameters:
            assert not parameter.pattern or re.fullmatch(parameter.pattern, parameter.example)
            assert not parameter.choices or parameter.example in parameter.choices
            assert (
                not parameter.choices
                or not parameter.default
                or (parameter.default in parameter.choices)
            )


def test_defaults_are_filled_in() -> None:
    """What a playbook leaves out has its declared default."""
    values = CONTAIN.check({"agent": "banking", "reason": "x"})

    assert values == {"agent": "banking", "level": "FREEZE", "reason": "x", "ttl_seconds": ""}


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
