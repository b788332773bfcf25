# SPDX-License-Identifier: Apache-2.0
"""Makes events of orders. No I/O; epoch and time are arguments.

A KILL carries revocations of the tokens of every agent that it reaches, under the epochs right after
its own. They are as final as any: a release brings the agent back, not the tokens it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

from sidecar.clock import NS_PER_SECOND
from sidecar.containment.consent import Consent
from sidecar.containment.events import (
    Contained,
    Expired,
    Released,
    RevocationRule,
    TokensRevoked,
    Unsealed,
)
from sidecar.containment.orders import (
    ContainmentOrder,
    ReleaseOrder,
    RevocationOrder,
    UnsealOrder,
)
from sidecar.model import Directive, Level, Operator, TargetKind

__all__ = [
    "Moment",
    "draft_containment",
    "draft_expiry",
    "draft_release",
    "draft_revocation",
    "draft_token_rules",
    "draft_unsealing",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When an event happens: its epoch, both clocks, and which boot."""

    epoch: int
    wall_ns: int
    boot_ns: int
    boot_id: str


class _Selectors(TypedDict, total=False):
    agent: str
    session: str
    issued_before_s: int


def draft_containment(
    order: ContainmentOrder, caller: Operator, moment: Moment, consent: Consent | None = None
) -> Contained:
    """Return the directive that *order* asks for."""
    ttl_ns = order.ttl_ns
    return Contained(
        directive=Directive(
            epoch=moment.epoch,
            target=order.target,
            level=order.level,
            reason=order.reason,
            author=caller.name,
            create_time_ns=moment.wall_ns,
            expire_time_ns=None if ttl_ns is None else moment.wall_ns + ttl_ns,
            request_id=order.request_id,
            request_fingerprint=order.fingerprint(),
            throttle_calls_per_minute=order.throttle,
        ),
        author_human_id=caller.human_id,
        author_kind=caller.kind,
        ttl_ns=ttl_ns,
        deadline_boot_ns=None if ttl_ns is None else moment.boot_ns + ttl_ns,
        boot_id="" if ttl_ns is None else moment.boot_id,
        approval=consent.approval if consent is not None else "",
        approvers=consent.humans if consent is not None else (),
    )


def draft_token_rules(contained: Contained, agents: Sequence[str]) -> tuple[TokensRevoked, ...]:
    """Return the revocations that a KILL of *agents* carries; none for any other directive."""
    directive = contained.directive
    target = directive.target
    if directive.level is not Level.KILL:
        return ()
    wanted: list[_Selectors]
    match target.kind:
        case TargetKind.ALL:
            wanted = [{"issued_before_s": directive.create_time_ns // NS_PER_SECOND}]
        case TargetKind.SESSION:
            wanted = [{"agent": target.agent, "session": target.session}]
        case TargetKind.AGENT | TargetKind.PRINCIPAL | TargetKind.LABELS:
            wanted = [{"agent": agent} for agent in agents]
        case _:
            return ()
    return tuple(
        TokensRevoked(
            rule=RevocationRule(
                **selectors,
                author=directive.author,
                reason=f"{directive.name} holds {target.describe()} at level KILL",
                epoch=directive.epoch + number,
                create_time_ns=directive.create_time_ns,
            )
        )
        for number, selectors in enumerate(wanted, start=1)
    )


def draft_revocation(order: RevocationOrder, caller: Operator, moment: Moment) -> TokensRevoked:
    """Return the revocation that *order* asks for."""
    return TokensRevoked(
        rule=RevocationRule(
            jti=order.jti or None,
            agent=order.agent or None,
            session=order.session or None,
            issuer=order.issuer or None,
            issued_before_s=order.issued_before_s,
            author=caller.name,
            reason=order.reason,
            epoch=moment.epoch,
            create_time_ns=moment.wall_ns,
        ),
        request_id=order.request_id,
        request_fingerprint=order.fingerprint(),
    )


def draft_release(
    order: ReleaseOrder, caller: Operator, moment: Moment, consent: Consent | None = None
) -> Released:
    """Return the release that *order* asks for."""
    return Released(
        epoch=moment.epoch,
        directive_epoch=order.directive_epoch,
        releaser=caller.name,
        releaser_human_id=caller.human_id,
        reason=order.reason,
        create_time_ns=moment.wall_ns,
        request_id=order.request_id,
        request_fingerprint=order.fingerprint(),
        approval=consent.approval if consent is not None else "",
        approvers=consent.humans if consent is not None else (),
    )


def draft_expiry(contained: Contained, moment: Moment) -> Expired:
    """Return the end of a directive whose TTL has passed."""
    return Expired(
        epoch=moment.epoch, directive_epoch=contained.epoch, create_time_ns=moment.wall_ns
    )


def draft_unsealing(order: UnsealOrder, caller: Operator, moment: Moment) -> Unsealed:
    """Return the unsealing that *order* asks for."""
    return Unsealed(
        epoch=moment.epoch,
        author=caller.name,
        author_human_id=caller.human_id,
        reason=order.reason,
        create_time_ns=moment.wall_ns,
        request_id=order.request_id,
        request_fingerprint=order.fingerprint(),
    )
