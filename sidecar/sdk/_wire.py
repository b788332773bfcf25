# SPDX-License-Identifier: Apache-2.0
"""Values to protobuf and back; the only reader of what the gate answers.

Laws:

1. Whatever the gate sends, reading it raises nothing: it becomes a decision, and a local denial
   unless it is beyond doubt.
2. An ALLOW is believed only if it names its decision and a reason, lies in the future, and is of an
   effect this version knows. It is believed for ``MAX_ALLOW_LIFE_NS`` at most.
3. No field of a question can make its message unsendable for the other questions in it.
4. A state of an approval that is not spelt exactly as in the contract is UNKNOWN.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from sidecar.api.v1 import guard_pb2, types_pb2
from sidecar.sdk._arguments import Unfit
from sidecar.sdk._local import LOCAL_PREFIX, Cause, local_denial
from sidecar.sdk.values import (
    NO_OBLIGATIONS,
    ApprovalState,
    ApprovalStatus,
    Containment,
    Decision,
    Effect,
    Executable,
    LogConfirmation,
    Obligations,
    Reason,
    Result,
)

__all__ = [
    "MAX_ALLOW_LIFE_NS",
    "approval_status_of",
    "confirmation_of",
    "containment_of",
    "decision_of",
    "outcome_message",
    "question_of",
    "unused_id",
]

Question = guard_pb2.AuthorizeStreamRequest.Item

MAX_ALLOW_LIFE_NS: Final = 30_000_000_000
"""Longer than any gate lets an ALLOW live: a wrong clock must not make one eternal."""
_MAX_TEXT: Final = 8 * 1024
_MAX_TOKEN: Final = 16 * 1024
_MAX_DETAIL: Final = 512
_NS: Final = 1_000_000_000
_DECISION_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}").fullmatch

_EFFECTS: Final = {
    types_pb2.EFFECT_ALLOW: Effect.ALLOW,
    types_pb2.EFFECT_DENY: Effect.DENY,
    types_pb2.EFFECT_HOLD: Effect.HOLD,
}
_TOOL_CLASSES: Final = {
    types_pb2.TOOL_CLASS_READ: "read",
    types_pb2.TOOL_CLASS_WRITE: "write",
    types_pb2.TOOL_CLASS_DESTRUCTIVE: "destructive",
    types_pb2.TOOL_CLASS_EXTERNAL: "external",
}
_STATES: Final = {state.value: state for state in ApprovalState}
_BEGIN: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LEVELS: Final = {
    types_pb2.LEVEL_OBSERVE: "OBSERVE",
    types_pb2.LEVEL_THROTTLE: "THROTTLE",
    types_pb2.LEVEL_HOLD: "HOLD",
    types_pb2.LEVEL_READ_ONLY: "READ_ONLY",
    types_pb2.LEVEL_FREEZE: "FREEZE",
    types_pb2.LEVEL_KILL: "KILL",
}
_RESULTS: Final = {
    Result.SUCCESS: guard_pb2.Outcome.RESULT_SUCCESS,
    Result.ERROR: guard_pb2.Outcome.RESULT_ERROR,
    Result.AMBIGUOUS: guard_pb2.Outcome.RESULT_AMBIGUOUS,
    Result.CANCELLED: guard_pb2.Outcome.RESULT_CANCELLED,
}


def question_of(
    tool: str,
    arguments: bytes,
    session: str,
    url: str | None,
    cwd: str | None,
    nonce: str | None,
    token: str,
) -> Question:
    """Return one question, still without id.

    Raises:
        Unfit: a field can't be carried.
    """
    url, cwd, nonce = url or "", cwd or "", nonce or ""
    if len(tool) + len(session) + len(url) + len(cwd) + len(nonce) > _MAX_TEXT:
        raise Unfit(Cause.TEXT_TOO_LARGE)
    item = Question()
    call = item.request.tool_call
    try:
        call.tool = tool
        call.arguments = arguments
        if session:
            call.session_id = session
        if url:
            call.url = url
        if cwd:
            call.cwd = cwd
        if nonce:
            call.nonce = nonce
    except ValueError:
        # A lone surrogate; the exception holds the text.
        raise Unfit(Cause.TEXT_NOT_UNICODE) from None
    if token:
        try:
            if len(token) > _MAX_TOKEN:
                raise Unfit(Cause.TOKEN_UNREADABLE)
            item.request.token = token
        except (TypeError, ValueError):
            raise Unfit(Cause.TOKEN_UNREADABLE) from None
    return item


def decision_of(message: types_pb2.Decision, *, now_ns: int) -> Decision:
    """Return what the gate decided, or a local denial if that is in doubt."""
    effect = _EFFECTS.get(message.effect)
    decision_id = message.decision_id
    # By index: iterating over a repeated field costs more than all the rest of a reason.
    given = message.reasons
    reasons = tuple([_reason(given[index]) for index in range(len(given))])
    if (
        effect is None
        or not reasons
        or not _DECISION_ID(decision_id)
        or decision_id.startswith(LOCAL_PREFIX)
    ):
        return local_denial(Cause.NOT_UNDERSTOOD)
    valid_until_ns = _nanoseconds(message.valid_until)
    if effect is Effect.ALLOW:
        if valid_until_ns <= now_ns:
            return local_denial(Cause.LAPSED)
        valid_until_ns = min(valid_until_ns, now_ns + MAX_ALLOW_LIFE_NS)
    return Decision(
        effect=effect,
        reasons=reasons,
        decision_id=decision_id,
        epoch=message.epoch,
        valid_until_ns=valid_until_ns,
        fingerprint=message.fingerprint,
        policy_digest=message.policy_digest,
        tool_class=_TOOL_CLASSES.get(message.tool_class, ""),
        obligations=(
            _obligations(message.obligations) if message.HasField("obligations") else NO_OBLIGATIONS
        ),
        is_cached=message.cached,
    )


_known_reasons: Final[dict[bytes, Reason]] = {}
_MAX_KNOWN_REASONS: Final = 256


def _reason(message: types_pb2.Reason) -> Reason:
    """Return *message* as a value; the few that come again and again are made once."""
    data = message.SerializeToString()
    reason = _known_reasons.get(data)
    if reason is None:
        reason = Reason(message.code, message.text, dict(message.metadata))
        if len(_known_reasons) >= _MAX_KNOWN_REASONS:
            _known_reasons.clear()
        if len(data) <= _MAX_DETAIL:
            _known_reasons[data] = reason
    return reason


def unused_id(message: types_pb2.Decision) -> str:
    """Return the id of an ALLOW that nobody will act on, or an empty string for anything else."""
    if message.effect != types_pb2.EFFECT_ALLOW or not _DECISION_ID(message.decision_id):
        return ""
    return message.decision_id


def _obligations(message: types_pb2.Obligations) -> Obligations:
    return Obligations(
        addresses=tuple(message.addresses),
        max_redirects=max(0, message.max_redirects),
        hold_reason=message.hold_reason,
        hold_tier=message.hold_tier,
        hold_approver_role=message.hold_approver_role,
        hold_quorum=message.hold_quorum,
        hold_expiry=timedelta(seconds=min(max(0, message.hold_expiry.seconds), 10**9)),
        executables=tuple(
            Executable(
                path=program.path,
                device=program.device,
                inode=program.inode,
                change_time_ns=_nanoseconds(program.change_time),
                sha256=program.sha256,
            )
            for program in message.executables
        ),
        approval=message.approval,
        hold_expire_time=_instant(message.hold_expire_time),
        hold_approvers=tuple(message.hold_approvers),
        hold_url=message.hold_url,
    )


def _instant(time: Timestamp) -> datetime | None:
    """Return *time*, or None if the gate did not say it or said none that exists."""
    if time.seconds <= 0:
        return None
    try:
        return _BEGIN + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)
    except OverflowError:
        return None


def _nanoseconds(time: Timestamp) -> int:
    return time.seconds * _NS + time.nanos


def containment_of(message: guard_pb2.WatchContainmentResponse) -> Containment:
    """Return how the gate says that the agent is held."""
    reason = message.reason
    return Containment(
        # A level this version does not know is still one: it must not read as "not held".
        level=_LEVELS.get(message.level, f"LEVEL_{message.level}" if message.level else ""),
        epoch=message.epoch,
        cancel_in_flight=message.cancel_in_flight or message.level >= types_pb2.LEVEL_FREEZE,
        reason=_reason(reason) if reason.code else None,
        apply_time_ns=_nanoseconds(message.apply_time),
    )


def approval_status_of(
    message: guard_pb2.WaitApprovalResponse | guard_pb2.CancelApprovalResponse,
) -> ApprovalStatus:
    """Return how the gate says that a request for a human's decision stands."""
    state = _STATES.get(message.state, ApprovalState.UNKNOWN)
    if isinstance(message, guard_pb2.CancelApprovalResponse):
        return ApprovalStatus(state=state)
    return ApprovalStatus(
        state=state,
        reason=_reason(message.reason) if message.HasField("reason") else None,
        expire_time=_instant(message.expire_time),
    )


def outcome_message(
    decision_id: str,
    result: Result,
    *,
    detail: str,
    duration: timedelta | None,
    response_digest: str,
) -> guard_pb2.Outcome:
    """Return an outcome; the detail is clipped and made encodable, never refused."""
    message = guard_pb2.Outcome(
        decision_id=decision_id,
        result=_RESULTS[result],
        detail=detail[:_MAX_DETAIL].encode("utf-8", "replace").decode("utf-8"),
        response_digest=response_digest,
    )
    if duration is not None:
        message.duration.FromTimedelta(max(timedelta(0), duration))
    return message


def confirmation_of(item: guard_pb2.LogStreamResponse.Item) -> LogConfirmation:
    """Return what the gate says about one report."""
    refusal = item.refusal
    return LogConfirmation(
        log_index=item.log_index,
        mark=item.mark,
        refusal=Reason(refusal.code, refusal.text) if item.HasField("refusal") else None,
    )
