# SPDX-License-Identifier: Apache-2.0
"""The request that stands for an action of the catalogue, with CACAO variables in it.

It is what the action's own handler asks first, so a playbook cannot drift from the actions.

Law: a variable may stand only where its value has a form that needs no quoting in JSON: names, numbers
and ids. No text of an alert is ever put into a request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from soar_actions.catalogue import ACTIONS
from soar_actions.handlers import HANDLERS

__all__ = ["VARIABLES", "Request", "request_of"]

VARIABLES: Final[Mapping[str, str]] = {
    "__agent__": "zz-agent-zz",
    "__run__": "zz-run-zz",
    "__epoch__": "9000000000000000001",
    "__operation__": "operations/apr_0123456789abcdef0123456789abcdef",
    "__approval__": "approvals/apr_0123456789abcdef0123456789abcdef",
    "__incident__": "incidents/inc_0123456789abcdef0123456789abcdef",
}
"""Which variables may stand in a request, and a value of the same form for each."""
_REFERENCE: Final = re.compile(r"(__[a-z_]+__):value")
_PACKAGE: Final = "sidecar.api.v1"


@dataclass(frozen=True)
class Request:
    """One request of the JSON twin of control's API."""

    command: str
    content: str


def request_of(slug: str, parameters: Mapping[str, str], *, key: str = "") -> Request:
    """Return the request of an action.

    Args:
        slug: Of the catalogue.
        parameters: Values, which may hold ``__variable__:value``.
        key: What tells this request from others of the same run of the playbook.

    Raises:
        ValueError: A variable stands where it must not.
    """
    action = ACTIONS[slug]
    given = {name: _filled(value) for name, value in parameters.items()}
    steps = HANDLERS[slug](action.check(given), f"{VARIABLES['__run__']}-{key or slug}")
    call = next(steps)
    text = json.dumps(dict(call.body), indent=None, sort_keys=True)
    for name, value in VARIABLES.items():
        text = text.replace(value, f"{name}:value")
    return Request(command=f"POST /{_PACKAGE}.{call.method} HTTP/1.1", content=text)


def _filled(value: str) -> str:
    def sample(found: re.Match[str]) -> str:
        if found[1] not in VARIABLES:
            raise ValueError(f"{found[1]} may not stand in a request")
        return VARIABLES[found[1]]

    return _REFERENCE.sub(sample, value)
