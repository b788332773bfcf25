# SPDX-License-Identifier: Apache-2.0
"""Protobuf to values and back, for the control plane. Whatever is malformed is refused by name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from google.protobuf import duration_pb2, timestamp_pb2

from sidecar.api.v1 import approval_pb2, investigation_pb2, token_pb2, types_pb2
from sidecar.approvals.challenge import grant_challenge
from sidecar.approvals.values import (
    Approval,
    ApprovalState,
    Channel,
    RequestKind,
    Verdict,
    Vote,
)
from sidecar.canonical import fingerprint_words
from sidecar.clock import NS_PER_SECOND
from sidecar.containment.acks import GateItem, GateStanding
from sidecar.containment.receipt import DirectiveState, SignedReceipt
from sidecar.errors import ErrorReason, UntrustedInputError
from sidecar.investigate.values import BlastRadius, Event
from sidecar.model import Directive, Effect, Level, Target, TargetKind, ToolClass
from sidecar.operations.values import Operation, OperationState
from sidecar.tokens.revocations import RevocationRule

__all__ = [
    "DIRECTIVE_STATES",
    "EFFECTS",
    "LEVELS",
    "TOOL_CLASSES",
    "approval_message",
    "blast_radius_message",
    "channel_of",
    "directive_message",
    "event_message",
    "instant_of",
    "level_of",
    "operation_message",
    "page_of",
    "receipt_message",
    "revocation_message",
    "seconds_of",
    "span_of",
    "target_message",
    "target_of",
    "timestamp",
    "verdict_of",
]

_MAX_PAGE: Final = 1000
_LAST_SECOND: Final = 253_402_300_799
"""Of the year 9999, in which protobuf's time ends."""
_DEFAULT_PAGE: Final = 100

LEVELS: Final = {
    None: types_pb2.LEVEL_UNSPECIFIED,
    Level.OBSERVE: types_pb2.LEVEL_OBSERVE,
    Level.THROTTLE: types_pb2.LEVEL_THROTTLE,
    Level.HOLD: types_pb2.LEVEL_HOLD,
    Level.READ_ONLY: types_pb2.LEVEL_READ_ONLY,
    Level.FREEZE: types_pb2.LEVEL_FREEZE,
    Level.KILL: types_pb2.LEVEL_KILL,
}
EFFECTS: Final = {
    Effect.ALLOW: types_pb2.EFFECT_ALLOW,
    Effect.DENY: types_pb2.EFFECT_DENY,
    Effect.HOLD: types_pb2.EFFECT_HOLD,
}
TOOL_CLASSES: Final = {
    None: types_pb2.TOOL_CLASS_UNSPECIFIED,
    ToolClass.READ: types_pb2.TOOL_CLASS_READ,
    ToolClass.WRITE: types_pb2.TOOL_CLASS_WRITE,
    ToolClass.DESTRUCTIVE: types_pb2.TOOL_CLASS_DESTRUCTIVE,
    ToolClass.EXTERNAL: types_pb2.TOOL_CLASS_EXTERNAL,
}
DIRECTIVE_STATES: Final = {
    DirectiveState.ACTIVE: types_pb2.Directive.STATE_ACTIVE,
    DirectiveState.RELEASED: types_pb2.Directive.STATE_RELEASED,
    DirectiveState.EXPIRED: types_pb2.Directive.STATE_EXPIRED,
}
_STANDINGS: Final = {
    GateStanding.ENFORCED: types_pb2.Receipt.GateItem.STATE_ENFORCED,
    GateStanding.LAGGARD: types_pb2.Receipt.GateItem.STATE_LAGGARD,
    GateStanding.DISCONNECTED: types_pb2.Receipt.GateItem.STATE_DISCONNECTED,
}
_APPROVAL_STATES: Final = {
    ApprovalState.PENDING: approval_pb2.Approval.STATE_PENDING,
    ApprovalState.GRANTED: approval_pb2.Approval.STATE_GRANTED,
    ApprovalState.CONSUMED: approval_pb2.Approval.STATE_CONSUMED,
    ApprovalState.REFUSED: approval_pb2.Approval.STATE_REFUSED,
    ApprovalState.EXPIRED: approval_pb2.Approval.STATE_EXPIRED,
    ApprovalState.CANCELLED: approval_pb2.Approval.STATE_CANCELLED,
}
_VERDICTS: Final = {
    Verdict.GRANT: approval_pb2.Approval.VERDICT_GRANT,
    Verdict.REFUSE: approval_pb2.Approval.VERDICT_REFUSE,
}
_VERDICT_OF: Final = {message: verdict for verdict, message in _VERDICTS.items()}
_CHANNEL_OF: Final = {"": Channel.API, "cli": Channel.CLI}
_OPERATION_STATES: Final = {
    OperationState.PENDING_APPROVAL: types_pb2.Operation.STATE_PENDING_APPROVAL,
    OperationState.RUNNING: types_pb2.Operation.STATE_RUNNING,
    OperationState.DONE: types_pb2.Operation.STATE_DONE,
    OperationState.REFUSED: types_pb2.Operation.STATE_REFUSED,
    OperationState.EXPIRED: types_pb2.Operation.STATE_EXPIRED,
    OperationState.CANCELLED: types_pb2.Operation.STATE_CANCELLED,
    OperationState.FAILED: types_pb2.Operation.STATE_FAILED,
}
_LEVEL_OF: Final = {message: level for level, message in LEVELS.items() if level is not None}


def _invalid(message: str, hint: str = "") -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT, hint=hint)


def page_of(page_size: int, page_token: str) -> tuple[int, int]:
    """Return (limit, offset) of a paged request."""
    if page_size < 0 or page_size > _MAX_PAGE:
        raise _invalid(f"page_size must be between 0 and {_MAX_PAGE}")
    if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) < 18):
        raise _invalid("page_token is not one that an earlier answer gave")
    return page_size or _DEFAULT_PAGE, int(page_token or 0)


def timestamp(wall_ns: int) -> timestamp_pb2.Timestamp:
    """Return *wall_ns* as protobuf."""
    seconds, nanos = divmod(wall_ns, NS_PER_SECOND)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos)


def instant_of(message: timestamp_pb2.Timestamp) -> int:
    """Return the wall nanoseconds of a request's instant.

    Raises:
        UntrustedInputError: It is before 1970 or after 9999, or no instant at all.
    """
    if not 0 <= message.seconds <= _LAST_SECOND or not 0 <= message.nanos < NS_PER_SECOND:
        raise _invalid("a time must be between the years 1970 and 9999")
    return message.seconds * NS_PER_SECOND + message.nanos


def seconds_of(message: timestamp_pb2.Timestamp) -> int:
    """Return the whole seconds of an instant that revokes: rounded up, so that it revokes more."""
    return message.seconds + (message.nanos > 0)


def span_of(message: duration_pb2.Duration) -> timedelta:
    """Return a span of a request.

    Raises:
        UntrustedInputError: It is out of any reasonable bound.
    """
    try:
        return timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
    except OverflowError as exc:
        raise _invalid("ttl is out of bounds", "1 second to 30 days") from exc


def level_of(message: types_pb2.Level) -> Level:
    """Return the level of a request."""
    level = _LEVEL_OF.get(message)
    if level is None:
        raise _invalid(
            "level is missing or unknown", "one of " + ", ".join(item.name for item in Level)
        )
    return level


def target_of(message: types_pb2.Target) -> Target:
    """Return the target of a request; whether it is well-formed is the order's to check."""
    match message.WhichOneof("kind"):
        case "agent":
            return Target(kind=TargetKind.AGENT, agent=message.agent)
        case "session":
            return Target(
                kind=TargetKind.SESSION,
                agent=message.session.agent,
                session=message.session.session,
            )
        case "tool":
            return Target(kind=TargetKind.TOOL, tool=message.tool)
        case "tool_at_agent":
            return Target(
                kind=TargetKind.TOOL_AT_AGENT,
                agent=message.tool_at_agent.agent,
                tool=message.tool_at_agent.tool,
            )
        case "destination":
            return Target(kind=TargetKind.DESTINATION, destination=message.destination)
        case "principal":
            return Target(kind=TargetKind.PRINCIPAL, principal=message.principal)
        case "labels":
            return Target(
                kind=TargetKind.LABELS, labels=tuple(sorted(message.labels.labels.items()))
            )
        case "all":
            return Target(kind=TargetKind.ALL)
        case _:
            raise _invalid(
                "target is missing",
                "name an agent, session, tool, destination, principal, … or all",
            )


def target_message(target: Target) -> types_pb2.Target:
    """Return *target* as protobuf."""
    match target.kind:
        case TargetKind.AGENT:
            return types_pb2.Target(agent=target.agent)
        case TargetKind.SESSION:
            return types_pb2.Target(
                session=types_pb2.Target.Session(agent=target.agent, session=target.session)
            )
        case TargetKind.TOOL:
            return types_pb2.Target(tool=target.tool)
        case TargetKind.TOOL_AT_AGENT:
            return types_pb2.Target(
                tool_at_agent=types_pb2.Target.ToolAtAgent(agent=target.agent, tool=target.tool)
            )
        case TargetKind.DESTINATION:
            return types_pb2.Target(destination=target.destination)
        case TargetKind.PRINCIPAL:
            return types_pb2.Target(principal=target.principal)
        case TargetKind.LABELS:
            return types_pb2.Target(labels=types_pb2.Target.Labels(labels=dict(target.labels)))
        case TargetKind.ALL:
            return types_pb2.Target(all=types_pb2.Target.All())


def directive_message(directive: Directive) -> types_pb2.Directive:
    """Return a standing *directive* as protobuf."""
    message = types_pb2.Directive(
        name=directive.name,
        epoch=directive.epoch,
        target=target_message(directive.target),
        level=LEVELS[directive.level],
        reason=directive.reason,
        author=directive.author,
        create_time=timestamp(directive.create_time_ns),
        throttle_calls_per_minute=directive.throttle_calls_per_minute,
        state=types_pb2.Directive.STATE_ACTIVE,
    )
    if directive.expire_time_ns is not None:
        message.expire_time.CopyFrom(timestamp(directive.expire_time_ns))
    return message


def receipt_message(signed: SignedReceipt) -> types_pb2.Receipt:
    """Return *signed* as protobuf; the bytes that were signed travel as they are."""
    receipt = signed.receipt
    message = types_pb2.Receipt(
        directive=directive_message(receipt.directive),
        durable=receipt.is_durable,
        gates=[_gate_message(item) for item in receipt.gates],
        contained=receipt.is_contained,
        isolation=[
            types_pb2.Receipt.IsolationItem(
                driver=item.driver,
                subject=item.subject,
                result=item.result.value,
                detail=item.detail,
            )
            for item in receipt.isolation
        ],
        log_index=receipt.log_index,
        checkpoint=receipt.checkpoint,
        signed_json=signed.signed_json,
        signature=signed.signature,
        key_id=receipt.key_id,
        issue_time=timestamp(receipt.issue_time_ns),
    )
    message.directive.state = DIRECTIVE_STATES[receipt.state]
    if receipt.last_allow_time_ns is not None:
        message.last_allow_time.CopyFrom(timestamp(receipt.last_allow_time_ns))
    return message


def _gate_message(item: GateItem) -> types_pb2.Receipt.GateItem:
    message = types_pb2.Receipt.GateItem(
        gate=item.gate, state=_STANDINGS[item.standing], applied_epoch=item.applied_epoch
    )
    if item.ack_time_ns is not None:
        message.ack_time.CopyFrom(timestamp(item.ack_time_ns))
    if item.last_allow_time_ns is not None:
        message.last_allow_time.CopyFrom(timestamp(item.last_allow_time_ns))
    return message


def revocation_message(rule: RevocationRule) -> token_pb2.Revocation:
    """Return *rule* as protobuf."""
    message = token_pb2.Revocation(
        epoch=rule.epoch,
        jti=rule.jti or "",
        agent=rule.agent or "",
        session=rule.session or "",
        issuer=rule.issuer or "",
        author=rule.author,
        reason=rule.reason,
        create_time=timestamp(rule.create_time_ns),
    )
    if rule.issued_before_s is not None:
        message.issued_before.seconds = rule.issued_before_s
    return message


def verdict_of(message: approval_pb2.Approval.Verdict) -> Verdict:
    """Return the verdict of a request."""
    verdict = _VERDICT_OF.get(message)
    if verdict is None:
        raise _invalid("verdict is missing or unknown", "VERDICT_GRANT or VERDICT_REFUSE")
    return verdict


def channel_of(text: str) -> Channel:
    """Return how a request says that its human decided; the console is not a caller's to claim."""
    channel = _CHANNEL_OF.get(text)
    if channel is None:
        raise _invalid("channel is neither `cli` nor empty", "leave it empty")
    return channel


def approval_message(
    approval: Approval,
    *,
    url: str,
    approvers: Iterable[str],
    is_shown: bool,
    has_reasons: bool = True,
) -> approval_pb2.Approval:
    """Return *approval* as protobuf.

    Args:
        approval: The approval.
        url: Where a human can decide it; may be empty.
        approvers: Operators who may decide it now.
        is_shown: Whether the caller may read what would be done; else the canonical form is left
            out, and the sentence about a call loses the agent's arguments.
        has_reasons: Whether the caller may read why people voted as they did: people quote.
    """
    request = approval.request
    is_call = request.kind is RequestKind.CALL
    is_pending = approval.state is ApprovalState.PENDING
    message = approval_pb2.Approval(
        name=approval.name,
        state=_APPROVAL_STATES[approval.state],
        fingerprint=request.fingerprint,
        agent=request.agent,
        tool=request.tool,
        reason=request.reason,
        tier=request.tier.name,
        create_time=timestamp(approval.create_time_ns),
        expire_time=timestamp(approval.expire_time_ns),
        summary=request.summary
        if is_shown or not is_call
        else f"agent {request.agent} wants to run {request.tool}",
        fingerprint_words=fingerprint_words(request.fingerprint),
        canonical=request.canonical if is_shown else b"",
        session=request.session,
        operation="" if is_call else f"operations/{approval.id}",
        requester=request.requester,
        approver_role=request.role.value,
        quorum=request.quorum,
        passkey_required=request.is_passkey_needed,
        reason_required=request.is_reason_needed,
        votes=[_vote_message(vote, has_reason=has_reasons) for vote in approval.votes],
        approvers=approvers,
        url=url,
        policy_digest=request.policy_digest,
        epoch=request.epoch,
        policies=request.policies,
        decision_id=request.decision_id,
        consuming_decision_id=approval.consuming_decision_id,
        detail=approval.detail,
        folded_count=approval.folded_count,
        passkey_challenge=grant_challenge(approval.id, request.fingerprint)
        if request.is_passkey_needed and is_pending
        else b"",
    )
    if approval.end_time_ns:
        message.end_time.CopyFrom(timestamp(approval.end_time_ns))
    return message


def _vote_message(vote: Vote, *, has_reason: bool) -> approval_pb2.Approval.Vote:
    return approval_pb2.Approval.Vote(
        operator=vote.operator,
        verdict=_VERDICTS[vote.verdict],
        reason=vote.reason if has_reason else "",
        create_time=timestamp(vote.time_ns),
        signed=bool(vote.assertion),
        channel=vote.channel.value,
    )


def operation_message(
    operation: Operation,
    *,
    url: str = "",
    approvers: Iterable[str] = (),
) -> types_pb2.Operation:
    """Return *operation* as protobuf; a receipt or a directive is the caller's to add."""
    message = types_pb2.Operation(
        name=operation.name,
        state=_OPERATION_STATES[operation.state],
        action=operation.action.value,
        summary=operation.summary,
        request_id=operation.request_id,
        requester=operation.requester,
        approval=operation.approval_name,
        fingerprint=operation.fingerprint,
        fingerprint_words=fingerprint_words(operation.fingerprint),
        create_time=timestamp(operation.create_time_ns),
        expire_time=timestamp(operation.expire_time_ns),
        detail=operation.detail,
        error_reason=operation.outcome.error_reason,
        policy_digest=operation.outcome.policy_digest,
        epoch=operation.outcome.epoch,
        approvers=approvers,
        url=url,
    )
    if operation.end_time_ns:
        message.end_time.CopyFrom(timestamp(operation.end_time_ns))
    return message


def event_message(event: Event) -> investigation_pb2.TimelineEvent:
    """Return *event* of a timeline as protobuf."""
    return investigation_pb2.TimelineEvent(
        time=timestamp(event.time_ns),
        kind=event.kind,
        log=event.log,
        index=event.index,
        session=event.session,
        tool=event.tool,
        tool_class=TOOL_CLASSES[event.tool_class],
        effect=types_pb2.EFFECT_UNSPECIFIED if event.effect is None else EFFECTS[event.effect],
        reason=event.reason,
        destination=event.destination,
        decision_id=event.decision_id,
        fingerprint=event.fingerprint,
        outcome=event.outcome,
        operator=event.operator,
        summary=event.summary,
    )


def blast_radius_message(found: BlastRadius) -> investigation_pb2.BlastRadius:
    """Return a blast radius as protobuf."""
    message = investigation_pb2.BlastRadius(
        agent=found.agent,
        since=timestamp(found.since_ns),
        until=timestamp(found.until_ns),
        data_classes=found.data_classes,
        destinations=found.destinations,
        credentials=found.credentials,
        humans=found.humans,
        sessions=found.sessions,
        decision_counts=dict(found.decision_counts),
        irreversible_count=found.irreversible_count,
        truncated=found.is_truncated,
        statement=found.statement,
    )
    if found.first_call_ns:
        message.first_call_time.CopyFrom(timestamp(found.first_call_ns))
    if found.last_allow_ns:
        message.last_allow_time.CopyFrom(timestamp(found.last_allow_ns))
    for use in found.tools:
        tool = message.tools.add(
            tool=use.tool,
            tool_class=TOOL_CLASSES[use.tool_class],
            data_class=use.data_class,
            undo=use.undo,
            allow_count=use.allow_count,
            deny_count=use.deny_count,
            hold_count=use.hold_count,
            destinations=use.destinations,
        )
        if use.last_allow_ns:
            tool.last_allow_time.CopyFrom(timestamp(use.last_allow_ns))
    return message
