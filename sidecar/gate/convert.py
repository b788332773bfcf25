# SPDX-License-Identifier: Apache-2.0
"""Protobuf to values and back, for the data plane.

A message is taken only if its bytes are exactly what we would have written for it
(``sidecar.wire.is_exact``): a repeated singular field, an unknown field or trailing bytes mean that
another parser could read another call out of it than we do, and then we deny.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.authorize.question import Question
from sidecar.model import (
    NO_OBLIGATIONS,
    AgentId,
    Decision,
    Effect,
    Level,
    Reason,
    ReasonCode,
    ToolClass,
)
from sidecar.wire import is_exact

__all__ = [
    "MAX_BATCH",
    "Received",
    "decision_message",
    "decoder",
    "effect_message",
    "level_message",
    "question_of",
    "reason_message",
]

MAX_BATCH: Final = 1024
_M = TypeVar("_M", bound=Message)

_EFFECT: Final = {
    Effect.ALLOW: types_pb2.EFFECT_ALLOW,
    Effect.DENY: types_pb2.EFFECT_DENY,
    Effect.HOLD: types_pb2.EFFECT_HOLD,
}
_TOOL_CLASS: Final = {
    None: types_pb2.TOOL_CLASS_UNSPECIFIED,
    ToolClass.READ: types_pb2.TOOL_CLASS_READ,
    ToolClass.WRITE: types_pb2.TOOL_CLASS_WRITE,
    ToolClass.DESTRUCTIVE: types_pb2.TOOL_CLASS_DESTRUCTIVE,
    ToolClass.EXTERNAL: types_pb2.TOOL_CLASS_EXTERNAL,
}
_LEVEL: Final = {
    None: types_pb2.LEVEL_UNSPECIFIED,
    Level.OBSERVE: types_pb2.LEVEL_OBSERVE,
    Level.THROTTLE: types_pb2.LEVEL_THROTTLE,
    Level.HOLD: types_pb2.LEVEL_HOLD,
    Level.READ_ONLY: types_pb2.LEVEL_READ_ONLY,
    Level.FREEZE: types_pb2.LEVEL_FREEZE,
    Level.KILL: types_pb2.LEVEL_KILL,
}
_NS: Final = 1_000_000_000


class Received(NamedTuple):
    """A message as it came: ``message`` is None if its bytes were not exactly it."""

    message: Any
    problem: Reason | None


_NOT_PROTOBUF = Reason(ReasonCode.MALFORMED, "the request is not a protobuf message of this method")
_NOT_EXACT = Reason(
    ReasonCode.MALFORMED,
    "the request holds unknown fields, a field twice, or bytes that another reader could take for "
    "something else",
)


def decoder(message_type: type[_M]) -> Callable[[bytes], Received]:
    """Return a gRPC request deserializer that never raises: what is wrong becomes a denial."""

    def decode(data: bytes) -> Received:
        message = message_type()
        try:
            message.ParseFromString(data)
        except DecodeError:
            return Received(None, _NOT_PROTOBUF)
        if not is_exact(message, data):
            return Received(None, _NOT_EXACT)
        return Received(message, None)

    return decode


def question_of(agent: AgentId, request: guard_pb2.AuthorizeRequest) -> Question:
    """Return what *agent* (known from its socket) asks."""
    call = request.tool_call
    return Question(
        agent,
        call.tool,
        call.arguments,
        call.session_id,
        call.url,
        call.cwd,
        call.environment_digest,
        call.nonce,
        request.token,
    )


def reason_message(reason: Reason) -> types_pb2.Reason:
    """Return *reason* as protobuf."""
    return types_pb2.Reason(code=reason.code, text=reason.text, metadata=reason.metadata)


def level_message(level: Level | None) -> types_pb2.Level:
    """Return *level* as protobuf."""
    return _LEVEL[level]


def effect_message(effect: Effect) -> types_pb2.Effect:
    """Return *effect* as protobuf."""
    return _EFFECT[effect]


def decision_message(decision: Decision) -> types_pb2.Decision:
    """Return *decision* as protobuf."""
    message = types_pb2.Decision(
        effect=_EFFECT[decision.effect],
        decision_id=decision.decision_id,
        epoch=decision.epoch,
        fingerprint=decision.fingerprint,
        policy_digest=decision.policy_digest,
        tool_class=_TOOL_CLASS[decision.tool_class],
        cached=decision.is_cached,
    )
    for reason in decision.reasons:
        added = message.reasons.add(code=reason.code, text=reason.text)
        if reason.metadata:
            added.metadata.update(reason.metadata)
    message.valid_until.seconds, message.valid_until.nanos = divmod(decision.valid_until_ns, _NS)
    if decision.obligations is not NO_OBLIGATIONS:
        _fill_obligations(message.obligations, decision)
    return message


def _fill_obligations(message: types_pb2.Obligations, decision: Decision) -> None:
    obligations = decision.obligations
    message.addresses.extend(obligations.addresses)
    message.max_redirects = obligations.max_redirects
    for executable in obligations.executables:
        added = message.executables.add(
            path=executable.path,
            device=executable.device,
            inode=executable.inode,
            sha256=executable.sha256,
        )
        time = added.change_time
        time.seconds, time.nanos = divmod(executable.change_time_ns, _NS)
    message.approval = obligations.approval
    if decision.effect is Effect.HOLD:
        message.hold_reason = obligations.hold_reason
        message.hold_tier = obligations.hold_tier
        message.hold_approver_role = obligations.hold_approver_role
        message.hold_quorum = obligations.hold_quorum
        message.hold_expiry.seconds = obligations.hold_expiry_s
        message.hold_approvers.extend(obligations.hold_approvers)
        message.hold_url = obligations.hold_url
        if obligations.hold_expire_time_ns:
            expire = message.hold_expire_time
            expire.seconds, expire.nanos = divmod(obligations.hold_expire_time_ns, _NS)
