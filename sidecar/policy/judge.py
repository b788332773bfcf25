# SPDX-License-Identifier: Apache-2.0
"""One call judged as far as a bundle alone can: tool, arguments, destination, policy.

This is what policy tests and explanations run. Tokens, limits, containment and name resolution are
not part of a bundle, so a call that is allowed here may still be refused by a gate.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.model import Destination, Effect, ReasonCode
from sidecar.policy.engine import PolicyEngine, PolicyVerdict
from sidecar.policy.tools import DestinationKind, ToolSpec

__all__ = ["DestinationParser", "judge", "plain_destination"]

DestinationParser = Callable[[str, DestinationKind], Destination | None]
"""Reads the text of a destination argument; None means that it is not acceptable."""

_URL: Final = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>[a-z0-9.-]{1,253}|\[[0-9a-f:.]{2,45}\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?(?P<rest>[/?#][\x21-\x7e]*)?",
    re.ASCII,
)
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}


def plain_destination(text: str, kind: DestinationKind) -> Destination | None:
    """Return the destination in *text* if it is written plainly, else None.

    Stricter than a gate needs to be: lower case, no user information, no trailing dot.
    """
    found = _URL.fullmatch(text)
    if found is None or "\\" in text:
        return None
    scheme, port = found["scheme"], int(found["port"] or 0)
    if (kind == "url" and scheme is None) or port > 65535:
        return None
    if kind == "host" and (scheme or port or found["rest"]):
        return None
    host, is_ip = _host(found["host"])
    if host is None:
        return None
    scheme = scheme or "https"
    return Destination(scheme=scheme, host=host, port=port or _PORTS[scheme], is_ip=is_ip)


def _host(text: str) -> tuple[str | None, bool]:
    labels = text.split(".")
    try:
        if text.startswith("["):
            return str(ipaddress.IPv6Address(text[1:-1])), True
        if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
            return str(ipaddress.IPv4Address(text)), True
    except ValueError:
        return None, False
    return (text if all(_LABEL.fullmatch(label) for label in labels) else None), False


def judge(
    engine: PolicyEngine,
    *,
    agent: str,
    session: str,
    tool: str,
    arguments: Mapping[str, Any],
    url: str = "",
    parse_destination: DestinationParser = plain_destination,
) -> tuple[PolicyVerdict, Destination | None]:
    """Return the verdict on a call, and where it goes if it is a network tool.

    *url* stands in for the destination argument of the tool, if given.
    """
    spec = engine.bundle.tools.get(tool)
    if spec is None:
        return _denied(ReasonCode.UNKNOWN_TOOL, "the tool is not in the bundle"), None
    if agent not in engine.bundle.agents:
        return _denied(ReasonCode.UNKNOWN_AGENT, "the agent is not in the bundle"), None
    problem = spec.validate_arguments(arguments)
    if problem is not None:
        return _denied(ReasonCode(problem.kind), problem.text), None
    destination: Destination | None = None
    if spec.destination is not None:
        destination = _destination(spec, arguments, url, parse_destination)
        if destination is None:
            return _denied(ReasonCode.URL, "the destination is not a plain URL or host"), None
    verdict = engine.decide(
        agent=agent, session=session, tool=tool, arguments=arguments, destination=destination
    )
    return verdict, destination


def _destination(
    spec: ToolSpec, arguments: Mapping[str, Any], url: str, parse: DestinationParser
) -> Destination | None:
    if spec.destination is None:
        return None
    if url:
        return parse(url, "bare")
    return parse(str(arguments.get(spec.destination.argument, "")), spec.destination.kind)


def _denied(reason: ReasonCode, text: str) -> PolicyVerdict:
    return PolicyVerdict(effect=Effect.DENY, reason=reason, text=text)
