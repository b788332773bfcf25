# SPDX-License-Identifier: Apache-2.0
"""An OpenC2 consumer: commands of the actuator profile ``x-holdfast`` as calls of control's methods.

Laws:

1. A command is a call, or several of one kind, and nothing of its own: permissions, records, approvals
   and idempotency are those of the methods (``Call`` goes through ``Admission``).
2. ``command_id`` is the request id. The same one with another command is refused (400).
3. What waits for a human is 102, with the operation in the results; asking again with the same
   ``command_id`` tells how it ended. 200 means that the order was carried out; of a containment the
   text says what is not proven, for OpenC2 knows no status for it.
4. A pair of action and target that ``query features`` does not name is 501.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from google.protobuf.message import Message

from sidecar.api.v1 import agent_pb2, containment_pb2, token_pb2, types_pb2
from sidecar.clock import Clock
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    NotFoundError,
    UntrustedInputError,
)
from sidecar.jsonapi.encode import encode
from sidecar.jsonapi.errors import ApiError, code_of
from sidecar.jsonapi.openc2_message import (
    PROFILE,
    VERSION,
    Command,
    NotImplementedHereError,
    parse_message,
    response_message,
)

__all__ = ["PAIRS", "RATE_LIMIT", "Call", "OpenC2Consumer", "Said"]

AGENT: Final = f"{PROFILE}:agent"
SESSION: Final = f"{PROFILE}:session"
TOOL: Final = f"{PROFILE}:tool"
DIRECTIVE: Final = f"{PROFILE}:directive"
TOKEN: Final = f"{PROFILE}:token"
_DESTINATIONS: Final = ("domain_name", "ipv4_net", "uri")

PAIRS: Final[Mapping[str, tuple[str, ...]]] = {
    "query": ("features", AGENT),
    "contain": (AGENT, SESSION),
    "stop": (AGENT,),
    "deny": (*_DESTINATIONS, TOOL),
    "allow": (*_DESTINATIONS, TOOL),
    "restore": (AGENT, SESSION, DIRECTIVE),
    "delete": (TOKEN,),
}
"""What this consumer does: action → targets."""

RATE_LIMIT: Final = 6000
"""Commands a minute of one address before they have to wait."""

_FEATURES: Final = ("versions", "profiles", "pairs", "rate_limit")
_BLOCKING: Final = "FREEZE"
_MAX_RELEASES: Final = 100
_LIVE: Final = (types_pb2.Operation.STATE_PENDING_APPROVAL, types_pb2.Operation.STATE_RUNNING)
_ENDED: Final = (types_pb2.Directive.STATE_RELEASED, types_pb2.Directive.STATE_EXPIRED)
_STATUS: Final = {
    "unauthenticated": 401,
    "permission_denied": 403,
    "not_found": 404,
    "unimplemented": 501,
    "unavailable": 503,
    "deadline_exceeded": 503,
    "resource_exhausted": 503,
    "internal": 500,
}
_CONTAIN: Final = "/sidecar.api.v1.ContainmentService/Contain"
_RELEASE: Final = "/sidecar.api.v1.ContainmentService/Release"
_LIST: Final = "/sidecar.api.v1.ContainmentService/ListDirectives"
_REVOKE: Final = "/sidecar.api.v1.TokenService/RevokeTokens"
_GET_AGENT: Final = "/sidecar.api.v1.AgentService/GetAgent"

Call = Callable[[str, Message], Awaitable[Any]]
"""Calls one method on behalf of whoever sent the command, as ``Admission`` allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is answered."""

    http_status: int
    body: dict[str, Any] | None
    """None if the producer wants no response."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    status: int = 200
    text: str = ""
    results: Mapping[str, Any] | None = None


class OpenC2Consumer:
    """Answers commands.

    Args:
        clock: Time.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock

    async def answer(self, data: bytes, call: Call) -> Said:
        """Carry out the message *data* and return what it is answered."""
        command: Command | None = None
        try:
            command = parse_message(data)
            outcome = await self._carry_out(command, call)
        except (HoldfastError, ApiError) as exc:
            outcome = _failure(exc)
        # A 1xx cannot end an HTTP exchange, so what goes on is 200 there.
        http_status = 200 if outcome.status == 102 else outcome.status
        if command is not None and command.response_requested == "none":
            return Said(http_status=204 if http_status == 200 else http_status, body=None)
        return Said(http_status=http_status, body=self._message(outcome, command))

    def failure(self, error: HoldfastError | ApiError) -> Said:
        """Return the answer to what was refused before it was read."""
        outcome = _failure(error)
        return Said(http_status=outcome.status, body=self._message(outcome, None))

    def _message(self, outcome: _Outcome, command: Command | None) -> dict[str, Any]:
        return response_message(
            outcome.status, outcome.text, outcome.results, command=command, now_ms=self._now_ms()
        )

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // 1_000_000

    # -- commands -----------------------------------------------------------------------------

    async def _carry_out(self, command: Command, call: Call) -> _Outcome:
        action, target_type = command.pair
        if target_type not in PAIRS.get(action, ()):
            raise NotImplementedHereError("this consumer does not have that action on that target")
        if command.pair == ("query", "features"):
            return _features(command)
        if action == "query":
            _no_arguments(command, "query")
            wanted = agent_pb2.GetAgentRequest(agent=_fields(command, "agent")["agent"])
            found = await call(_GET_AGENT, wanted)
            return _Outcome(results={PROFILE: {"agent": encode(found.agent)}})
        if action in ("contain", "stop", "deny"):
            return await self._contain(command, call)
        if action == "delete":
            return await self._revoke(command, call)
        return await self._release(command, call)

    async def _contain(self, command: Command, call: Call) -> _Outcome:
        level = command.level or {"stop": "KILL"}.get(command.action, _BLOCKING)
        number = types_pb2.Level.DESCRIPTOR.values_by_name.get(f"LEVEL_{level}")
        if number is None or number.number == 0:
            raise _bad(
                "level is not one", hint="OBSERVE, THROTTLE, HOLD, READ_ONLY, FREEZE or KILL"
            )
        if command.level and command.action != "contain" and level not in ("KILL", _BLOCKING):
            raise _bad("only contain takes a level that lets calls through")
        if command.action == "stop" and level != "KILL":
            raise _bad("stop is level KILL")
        order = containment_pb2.ContainRequest(
            request_id=_request_id(command),
            target=_target(command),
            level=number.name,
            reason=_reason(command),
        )
        ttl = command.ttl(self._now_ms())
        if ttl is not None:
            order.ttl.FromTimedelta(ttl)
        answer: containment_pb2.ContainResponse = await call(_CONTAIN, order)
        results = {PROFILE: encode(answer)}
        if answer.HasField("operation") and not answer.HasField("receipt"):
            return _Outcome(**_standing(answer.operation), results=results)
        return _Outcome(text=_proof(answer), results=results)

    async def _revoke(self, command: Command, call: Call) -> _Outcome:
        _no_time(command)
        _no_level(command)
        fields = _fields(command, any_of=("jti", "issuer", "agent", "session"))
        order = token_pb2.RevokeTokensRequest(
            request_id=_request_id(command),
            reason=_reason(command),
            jti=fields.get("jti", ""),
            issuer=fields.get("issuer", ""),
            agent=fields.get("agent", ""),
            session=fields.get("session", ""),
        )
        answer = await call(_REVOKE, order)
        text = "Revoked for good."
        if answer.laggards:
            text += f" Not yet enforced by: {', '.join(answer.laggards)}."
        return _Outcome(text=text, results={PROFILE: encode(answer)})

    async def _release(self, command: Command, call: Call) -> _Outcome:
        """Ask for the release of what a command names: one directive, or all on exactly its target."""
        _no_time(command)
        _no_level(command)
        request_id, reason = _request_id(command), _reason(command)
        if command.target_type == DIRECTIVE:
            epochs = {_epoch(command): request_id}
        else:
            standing = await self._standing(_target(command), call)
            epochs = {epoch: f"{request_id}:{epoch}" for epoch in standing}
        if not epochs:
            return _Outcome(
                text="No directive holds exactly this any more; nothing was to be done."
            )
        if len(epochs) > _MAX_RELEASES:
            raise _bad(f"more than {_MAX_RELEASES} directives hold it: release them one by one")
        outcomes: list[_Outcome] = []
        releases: list[dict[str, Any]] = []
        for epoch, own_id in epochs.items():
            order = containment_pb2.ReleaseRequest(request_id=own_id, epoch=epoch, reason=reason)
            try:
                answer = await call(_RELEASE, order)
            except (HoldfastError, ApiError) as exc:
                outcomes.append(_failure(exc))
                releases.append({"epoch": str(epoch), "error": outcomes[-1].text})
                continue
            ended = answer.HasField("directive")
            outcomes.append(_Outcome() if ended else _Outcome(**_standing(answer.operation)))
            releases.append({"epoch": str(epoch), **encode(answer)})
        worst = max(outcomes, key=lambda one: (one.status >= 400, one.status == 102, one.status))
        # An error of the only one has nothing to add to its text.
        shown = releases if len(outcomes) > 1 or worst.status < 400 else None
        results = {PROFILE: {"releases": shown}} if shown else None
        return _Outcome(
            status=worst.status, text=worst.text or "Everything was released.", results=results
        )

    async def _standing(self, target: types_pb2.Target, call: Call) -> list[int]:
        """Return the epochs of the directives that hold exactly *target* now.

        Raises:
            NotFoundError: None ever did: the command means something else than it says.
        """
        request = containment_pb2.ListDirectivesRequest(
            page_size=1000, target=target, agent=_scope_agent(target)
        )
        page: containment_pb2.ListDirectivesResponse = await call(_LIST, request)
        standing = [
            one.epoch
            for one in page.directives
            if one.target == target and one.state == types_pb2.Directive.STATE_ACTIVE
        ]
        if standing:
            return standing
        # Asked apart: newer ones that ended could fill the page and hide what stands.
        request.include_ended, request.page_size = True, 1
        page = await call(_LIST, request)
        if not any(one.target == target for one in page.directives):
            raise NotFoundError("no directive ever held exactly this", hint="query what holds it")
        return []


# -- what a command says ----------------------------------------------------------------------------


def _features(command: Command) -> _Outcome:
    _no_arguments(command, "query features")
    asked = command.target
    if type(asked) is not list or any(type(one) is not str for one in asked):
        raise _bad("features must be a list of names")
    if len(set(asked)) != len(asked) or set(asked) - set(_FEATURES):
        raise _bad("features must be different ones of " + ", ".join(_FEATURES))
    known: dict[str, Any] = {
        "versions": [VERSION],
        "profiles": [PROFILE],
        "pairs": {action: list(targets) for action, targets in PAIRS.items()},
        "rate_limit": RATE_LIMIT,
    }
    return _Outcome(results={name: known[name] for name in asked} or None)


def _target(command: Command) -> types_pb2.Target:
    kind = command.target_type
    if kind in _DESTINATIONS:
        return types_pb2.Target(destination=_host(command))
    if kind == AGENT:
        return types_pb2.Target(agent=_fields(command, "agent")["agent"])
    if kind == SESSION:
        fields = _fields(command, "agent", "session")
        return types_pb2.Target(session=types_pb2.Target.Session(**fields))
    fields = _fields(command, "tool", any_of=("agent",), is_any_needed=False)
    if "agent" in fields:
        return types_pb2.Target(tool_at_agent=types_pb2.Target.ToolAtAgent(**fields))
    return types_pb2.Target(tool=fields["tool"])


def _host(command: Command) -> str:
    """Return the host that a destination names; a URI stands for its host, whatever its path."""
    value = command.target
    if type(value) is not str or not value.isascii() or not value.isprintable():
        raise _bad(f"{command.target_type} must be ASCII text")
    if command.target_type == "domain_name":
        if value.startswith("."):
            raise _bad("a domain name does not begin with a dot")
        return value
    if command.target_type == "ipv4_net":
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError:
            raise _bad("ipv4_net is not one") from None
        if network.prefixlen != 32:
            raise NotImplementedHereError(
                "only a single IPv4 address can be denied or allowed (/32)"
            )
        return str(network.network_address)
    try:
        parts = urlsplit(value)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    if not host or "@" in parts.netloc or "%" in parts.netloc:
        raise _bad("uri must name a host, and no user")
    return host


def _fields(
    command: Command, *needed: str, any_of: tuple[str, ...] = (), is_any_needed: bool = True
) -> dict[str, str]:
    """Return the fields of a target of our profile: all *needed* ones, and some of *any_of*."""
    value = command.target
    if type(value) is not dict or any(type(one) is not str or not one for one in value.values()):
        raise _bad(f"{command.target_type} must be an object of texts")
    extra = set(value) - set(needed)
    if set(needed) - set(value) or extra - set(any_of):
        raise _bad(f"{command.target_type} names {', '.join((*needed, *any_of))}")
    if any_of and is_any_needed and not extra:
        raise _bad(f"{command.target_type} names at least one of {', '.join(any_of)}")
    return dict(value)


def _epoch(command: Command) -> int:
    value = command.target
    epoch = value.get("epoch") if type(value) is dict and len(value) == 1 else None
    if type(epoch) is str and epoch.isascii() and epoch.isdigit() and len(epoch) < 20:
        epoch = int(epoch)
    if type(epoch) is not int or not 0 < epoch < 2**63:
        raise _bad(f"{DIRECTIVE} names an epoch")
    return epoch


def _request_id(command: Command) -> str:
    """Law 2."""
    if not command.id:
        raise _bad("a command that changes something needs a command_id, so that a retry is safe")
    return f"openc2:{command.id}"


def _reason(command: Command) -> str:
    return command.reason or f"ordered by the OpenC2 command {command.id}"


def _scope_agent(target: types_pb2.Target) -> str:
    """Return the agent that *target* is about, which limited tokens must say."""
    return target.agent or target.session.agent or target.tool_at_agent.agent


def _no_time(command: Command) -> None:
    if command.has_time:
        raise NotImplementedHereError(f"{command.action} has no beginning and no end")


def _no_level(command: Command) -> None:
    if command.level:
        raise _bad(f"{command.action} takes no level")


def _no_arguments(command: Command, what: str) -> None:
    _no_time(command)
    if command.has_own_arguments or command.response_requested != "complete":
        raise _bad(f"{what} takes no arguments but response_requested complete")


# -- what it is answered ----------------------------------------------------------------------------


def _proof(answer: containment_pb2.ContainResponse) -> str:
    """Return how a containment stands, as far as its receipt proves it (law 3)."""
    receipt = answer.receipt
    lacks = []
    if receipt.directive.state in _ENDED:
        lacks.append("it has ended since")
    elif not receipt.contained:
        lacks.append("a connected gate does not enforce it yet, or none does")
    if not receipt.durable:
        lacks.append("it is not durable: control's storage failed")
    if running := [one.subject for one in receipt.isolation if one.result == "FAILED"]:
        lacks.append(f"not stopped: {', '.join(running)}")
    if answer.unknown_agents:
        lacks.append(f"nothing declares or serves {', '.join(answer.unknown_agents)}")
    if lacks:
        return f"It was ordered, and is not proven: {'; '.join(lacks)}."
    return "It holds, and every connected gate has said so."


def _standing(operation: types_pb2.Operation) -> dict[str, Any]:
    """Return status and text of what humans were to decide (law 3)."""
    if operation.state in _LIVE:
        return {"status": 102, "text": "It waits for a human."}
    if operation.state == types_pb2.Operation.STATE_DONE:
        return {"status": 200}
    name = types_pb2.Operation.State.Name(operation.state).removeprefix("STATE_").lower()
    status = 500 if operation.state == types_pb2.Operation.STATE_FAILED else 403
    return {"status": status, "text": f"The operation was {name} and nothing was done."}


def _failure(error: HoldfastError | ApiError) -> _Outcome:
    if isinstance(error, NotImplementedHereError):
        return _Outcome(status=501, text=_sentence(error.message, error.hint))
    if isinstance(error, EnvironmentFailure):
        return _Outcome(status=503, text=_sentence(error.message, error.hint))
    code = error.code if isinstance(error, ApiError) else code_of(error)
    return _Outcome(status=_STATUS.get(code, 400), text=_sentence(error.message, error.hint))


def _sentence(message: str, hint: str) -> str:
    return f"{message} ({hint})" if hint else message


def _bad(message: str, *, hint: str = "") -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT, hint=hint)
