# SPDX-License-Identifier: Apache-2.0
"""Log entries as events. What does not have the form that its writer gives it is left out, not guessed.

Laws:

1. An entry is data of another process, which may be an agent's host in trouble: every field is
   looked at before it is used, and a name that could not have passed the check at the gate is not
   repeated (a call that was denied for its shape is in the log under the words it came with).
2. A sentence is made of our own words, checked names and stable codes. Reasons and titles that people
   wrote are not in it: an alert may have dictated them.
3. An outcome that the agent reported belongs to its decision; one that fits none is an event of its
   own.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.identifiers import check_session_id, check_tool_name
from sidecar.investigate.values import Event, Revealed
from sidecar.model import Effect, ToolClass
from sidecar.shape import ShapeError

__all__ = ["CONTROL_KINDS", "GATE_KINDS", "Describe", "event_of", "outcome_of", "time_ns_of"]

GATE_KINDS: Final = ("decision", "outcome")
"""Kinds of a gate's log that are about an agent."""
CONTROL_KINDS: Final = (
    "contain",
    "release",
    "expire",
    "isolate",
    "revoke_tokens",
    "approval",
    "incident",
    "incident_update",
)
"""Kinds of control's log that can be about an agent."""

Describe = Callable[[Mapping[str, Any]], str]
"""Names the target in a directive's JSON; empty if it is none."""

_TIME: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})\.([0-9]{9})Z", re.ASCII
)
_ID: Final = re.compile(r"[a-z]{2,8}_[0-9a-f]{32}", re.ASCII).fullmatch
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII).fullmatch
_CODE: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}", re.ASCII).fullmatch
_HOST: Final = re.compile(r"[a-z0-9._:\[\]-]{1,253}", re.ASCII).fullmatch
_WORD: Final = re.compile(r"[A-Za-z0-9._@/-]{1,128}", re.ASCII).fullmatch
_EPOCH: Final = re.compile(r"[0-9]{1,19}", re.ASCII).fullmatch
_RESULTS: Final = frozenset({"SUCCESS", "ERROR", "AMBIGUOUS", "CANCELLED"}).__contains__
_ISSUER: Final = re.compile(r"[!-~]{1,256}", re.ASCII).fullmatch
_NS: Final = 1_000_000_000
_VERBS: Final = {Effect.ALLOW: "allowed", Effect.DENY: "denied", Effect.HOLD: "held"}
_APPROVAL_EVENTS: Final = {
    "opened": "a human was asked",
    "voted": "a human voted, others must",
    "granted": "it was granted",
    "refused": "it was refused",
    "expired": "nobody decided in time",
    "cancelled": "the request was withdrawn",
    "consumed": "the grant was used",
    "executed": "what was granted was carried out",
    "lapsed": "what was announced did not come to be",
}
_VOTED: Final = frozenset({"voted", "granted", "refused"})


def time_ns_of(text: object) -> int:
    """Return the wall nanoseconds that an entry's ``time`` says; 0 if it says none."""
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return 0
    numbers = [int(part) for part in match.groups()]
    try:
        return calendar.timegm((*numbers[:6], 0, 0, 0)) * _NS + numbers[6]
    except ValueError:  # a thirteenth month
        return 0


def outcome_of(fields: Mapping[str, Any], *, agent: str) -> tuple[str, str]:
    """Return (decision id, result) of an outcome that *agent* reported and that fits a decision."""
    result = _matching(_RESULTS, fields.get("result"))
    if fields.get("agent") != agent or "mark" in fields or not result:
        return "", ""
    return _matching(_ID, fields.get("decision_id")), result


def event_of(
    fields: Mapping[str, Any], *, log: str, index: int, describe: Describe
) -> Event | None:
    """Return the event of one entry; None if it is none of an agent (an outcome that fits, say)."""
    make = _MAKERS.get(str(fields.get("kind")))
    made = make(fields, describe) if make is not None else None
    if made is None:
        return None
    return Event(
        time_ns=time_ns_of(fields.get("time")),
        kind=str(fields["kind"]),
        log=log,
        index=index,
        **made,
    )


# -- gates ----------------------------------------------------------------------------------------


def _decision(fields: Mapping[str, Any], _: Describe) -> dict[str, Any] | None:
    try:
        effect = Effect(str(fields.get("effect")))
    except ValueError:
        return None
    reasons = fields.get("reasons")
    hosts = fields.get("hosts")
    found = tuple(
        host for host in (hosts if isinstance(hosts, list) else []) if _matching(_HOST, host)
    )
    tool = _name(check_tool_name, fields.get("tool"))
    reason = _matching(_CODE, reasons[0]) if isinstance(reasons, list) and reasons else ""
    return {
        "session": _name(check_session_id, fields.get("session")),
        "tool": tool,
        "tool_class": _tool_class(fields.get("tool_class")),
        "effect": effect,
        "reason": reason,
        "destination": found[0] if found else "",
        "decision_id": _matching(_ID, fields.get("decision_id")),
        "fingerprint": _matching(_HEX, fields.get("fingerprint")),
        "summary": _decided(effect, tool, reason, found[0] if found else ""),
        "revealed": Revealed(
            hosts=found,
            credential=_credential(fields.get("token")),
            policy_digest=_matching(_HEX, fields.get("policy_digest")),
            replaces=_matching(_ID, fields.get("replaces")),
        ),
    }


def _decided(effect: Effect, tool: str, reason: str, host: str) -> str:
    what = f"{tool or 'a tool whose name is none'}{f' at {host}' if host else ''}"
    return f"{what} was {_VERBS[effect]}{f': {reason}' if reason else ''}"


def _outcome(fields: Mapping[str, Any], _: Describe) -> dict[str, Any] | None:
    mark, result = fields.get("mark"), _matching(_RESULTS, fields.get("result"))
    if not isinstance(mark, str) or not result:
        return None  # law 3: it is told with its decision
    return {
        "decision_id": _matching(_ID, fields.get("decision_id")),
        "outcome": result,
        "summary": f"the agent reported {result} for a decision that it does not fit "
        f"({_matching(_WORD, mark) or 'marked'})",
    }


# -- control --------------------------------------------------------------------------------------


def _contain(fields: Mapping[str, Any], describe: Describe) -> dict[str, Any] | None:
    directive, named = _directive(fields, describe)
    author = _matching(_WORD, directive.get("author"))
    summary = f"{author or 'somebody'} contained {named}{_with_consent(fields)}"
    return {"operator": author, "summary": summary}


def _release(fields: Mapping[str, Any], describe: Describe) -> dict[str, Any] | None:
    _, named = _directive(fields, describe)
    releaser = _matching(_WORD, fields.get("releaser"))
    summary = f"{releaser or 'somebody'} released {named}{_with_consent(fields)}"
    return {"operator": releaser, "summary": summary}


def _expire(fields: Mapping[str, Any], describe: Describe) -> dict[str, Any] | None:
    return {"summary": f"{_directive(fields, describe)[1]} lapsed"}


def _isolate(fields: Mapping[str, Any], describe: Describe) -> dict[str, Any] | None:
    items = fields.get("items")
    count = len(items) if isinstance(items, list) else 0
    return {
        "summary": f"the runtimes under {_directive(fields, describe)[1]} were stopped: "
        f"{count} result{'' if count == 1 else 's'}"
    }


def _revoke(fields: Mapping[str, Any], _: Describe) -> dict[str, Any] | None:
    rule = fields.get("rule")
    rule = rule if isinstance(rule, dict) else {}
    author = _matching(_WORD, rule.get("author"))
    agent = _matching(_WORD, rule.get("agent"))
    whose = f"tokens of agent {agent}" if agent else "tokens of every agent that a rule fits"
    return {"operator": author, "summary": f"{author or 'somebody'} revoked {whose}"}


def _approval(fields: Mapping[str, Any], _: Describe) -> dict[str, Any] | None:
    event = str(fields.get("event"))
    if event not in _APPROVAL_EVENTS:
        return None
    voters = _voters(fields.get("votes"))
    tool = _name(check_tool_name, fields.get("tool"))
    action = _matching(_WORD, fields.get("action"))
    requester = _matching(_WORD, fields.get("requester"))
    last = _matching(_WORD, fields.get("operator")) or (voters[-1] if voters else "")
    operator = last if event in _VOTED else requester
    name = _matching(_WORD, fields.get("approval"))
    by = f" by {operator}" if operator else ""
    about = f"tool {tool}" if tool else f"the action {action}" if action else "a request"
    return {
        "session": _name(check_session_id, fields.get("session")),
        "tool": tool,
        "decision_id": _matching(_ID, fields.get("decision_id")),
        "fingerprint": _matching(_HEX, fields.get("fingerprint")),
        "reason": event.upper(),
        "operator": operator,
        "summary": f"{about}: {_APPROVAL_EVENTS[event]}{by} ({name})",
        "humans": voters,
    }


def _incident(fields: Mapping[str, Any], _: Describe) -> dict[str, Any] | None:
    operator = _matching(_WORD, fields.get("operator"))
    name = _matching(_WORD, fields.get("incident"))
    done = "opened" if fields.get("kind") == "incident" else "added to"
    return {"operator": operator, "summary": f"{operator or 'somebody'} {done} {name}"}


_MAKERS: Final[Mapping[str, Callable[[Mapping[str, Any], Describe], dict[str, Any] | None]]] = {
    "decision": _decision,
    "outcome": _outcome,
    "contain": _contain,
    "release": _release,
    "expire": _expire,
    "isolate": _isolate,
    "revoke_tokens": _revoke,
    "approval": _approval,
    "incident": _incident,
    "incident_update": _incident,
}


# -- fields ---------------------------------------------------------------------------------------


def _matching(matches: Callable[[str], object], value: object) -> str:
    """Return *value* if it is a text of that form, else nothing (law 1)."""
    return value if isinstance(value, str) and matches(value) else ""


def _name(check: Callable[[str], str], value: object) -> str:
    try:
        return str(check(value)) if isinstance(value, str) else ""
    except ShapeError:
        return ""


def _tool_class(value: object) -> ToolClass | None:
    return ToolClass(value) if isinstance(value, str) and value in set(ToolClass) else None


def _credential(value: object) -> str:
    if not isinstance(value, dict):
        return ""
    issuer, jti = (_matching(_ISSUER, value.get(name)) for name in ("issuer", "jti"))
    return f"{issuer}: {jti}" if issuer and jti else ""


def _voters(value: object) -> tuple[str, ...]:
    votes = value if isinstance(value, list) else []
    named = (_matching(_WORD, vote.get("operator")) for vote in votes if isinstance(vote, dict))
    return tuple(name for name in named if name)


def _directive(fields: Mapping[str, Any], describe: Describe) -> tuple[Mapping[str, Any], str]:
    """Return the directive's fields, and ``directives/7 (agent banking at KILL)``."""
    directive = fields.get("directive")
    directive = directive if isinstance(directive, dict) else {}
    target = directive.get("target")
    epoch = _matching(_EPOCH, directive.get("epoch"))
    level = _matching(_CODE, directive.get("level"))
    named = describe(target) if isinstance(target, dict) else ""
    return directive, f"directives/{epoch or '?'} ({named or 'a target'} at {level or '?'})"


def _with_consent(fields: Mapping[str, Any]) -> str:
    approval = _matching(_WORD, fields.get("approval"))
    return f", as {approval} grants" if approval else ""
