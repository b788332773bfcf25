# SPDX-License-Identifier: Apache-2.0
"""Which requests stand for an action: what its own handler asks, with the catalogue's examples.

The handlers are run against answers that are made up, once with what is required and once with each
optional parameter too, so that every request that they can make is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from soar_actions.catalogue import ACTIONS
from soar_actions.catalogue.action import Action
from soar_actions.catalogue.common import TTL
from soar_actions.errors import ActionError
from soar_actions.handlers import HANDLERS
from soar_actions.steps import Call

__all__ = ["EXAMPLE_KEY", "all_methods", "requests_of"]

EXAMPLE_KEY: Final = "playbook-run-4711"
_MOST_CALLS: Final = 20
_ANSWERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ContainmentService/ListDirectives": {"directives": [{"epoch": "42"}]},
}


def requests_of(slug: str) -> tuple[Call, ...]:
    """Return the requests of an action, each method once, with as full a body as there is."""
    found: dict[str, Call] = {}
    for parameters in _parameter_sets(ACTIONS[slug]):
        for call in _calls(slug, parameters):
            known = found.get(call.method)
            if known is None or len(call.body) > len(known.body):
                found[call.method] = call
    return tuple(found.values())


def all_methods() -> dict[str, list[str]]:
    """Return every method that some action calls, with the actions that call it."""
    methods: dict[str, list[str]] = {}
    for slug in ACTIONS:
        for call in requests_of(slug):
            methods.setdefault(call.method, []).append(slug)
    return methods


def _parameter_sets(action: Action) -> Iterator[dict[str, str]]:
    # Without a lifetime: whoever copies an example must not get a containment that lapses unseen.
    given = [item for item in action.parameters if item.example and item.name != TTL.name]
    required = {item.name: item.example for item in given if item.is_required}
    yield required
    for item in given:
        if not item.is_required:
            yield {**required, item.name: item.example}
    yield {item.name: item.example for item in given}


def _calls(slug: str, parameters: Mapping[str, str]) -> Iterator[Call]:
    try:
        steps = HANDLERS[slug](ACTIONS[slug].check(parameters), EXAMPLE_KEY)
        call = next(steps)
        for _ in range(_MOST_CALLS):
            yield call
            call = steps.send(_ANSWERS.get(call.method, {}))
    except (ActionError, StopIteration):
        return
