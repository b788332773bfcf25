# SPDX-License-Identifier: Apache-2.0
"""A control action as humans are shown it: canonical bytes, one sentence, and the order in them.

Laws:

1. What is shown is what is hashed, and what is carried out is read from those very bytes.
2. A form says everything that matters about the action: for a release also what the directive
   holds, why and by whom. A directive never changes, so the form of a release is one with its order.
3. A sentence holds words of whoever asks: they are one line in quotation marks that they cannot
   end, everything in it can be seen, and they are clipped, and text wherever they are shown.

Compatibility: forms are stored with the approval they were made for. A key may be added to a form
(it makes another fingerprint), none may change its meaning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any, Final

from sidecar.approvals.values import Approval, Request, RequestKind
from sidecar.audit.safetext import escape_text
from sidecar.canonical import canonical_control
from sidecar.clock import datetime_of
from sidecar.containment.events import Contained, target_from_json, target_to_json
from sidecar.containment.orders import ContainmentOrder, ReleaseOrder
from sidecar.errors import HoldfastError, IntegrityError
from sidecar.model import Level, Target, TargetKind
from sidecar.operations.changes import BundleChange
from sidecar.operations.values import Action

__all__ = [
    "MAX_WORDS",
    "NO_QUOTES",
    "Activation",
    "activation_form",
    "activation_in",
    "activation_sentence",
    "agent_in",
    "containment_in",
    "containment_sentence",
    "directive_sentence",
    "release_form",
    "release_in",
    "release_sentence",
]

MAX_WORDS: Final = 160
"""Characters of somebody's words in a sentence."""
NO_QUOTES: Final = str.maketrans({"“": '"', "”": '"'})
"""Makes words unable to end the quotation that they stand in."""
_DIGEST_SHOWN: Final = 16
_FILES_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """Which bundle is to come into force in place of which."""

    digest: str
    digest_in_force: str


def release_form(order: ReleaseOrder, contained: Contained) -> bytes:
    """Return the canonical form of the release *order* of the directive *contained* (law 2)."""
    directive = contained.directive
    shown: dict[str, Any] = {
        "name": directive.name,
        "epoch": str(directive.epoch),
        "target": target_to_json(directive.target),
        "level": directive.level.name,
        "reason": directive.reason,
        "author": directive.author,
        "author_kind": contained.author_kind.value,
        "create_time": datetime_of(directive.create_time_ns).isoformat(),
    }
    if directive.level is Level.THROTTLE:
        shown["throttle_calls_per_minute"] = directive.throttle_calls_per_minute
    if directive.expire_time_ns is not None:
        shown["expire_time"] = datetime_of(directive.expire_time_ns).isoformat()
    return canonical_control(
        action=Action.RELEASE.value, body={"directive": shown, "reason": order.reason}
    )


def activation_form(change: BundleChange) -> bytes:
    """Return the canonical form of letting a bundle come into force."""
    return canonical_control(
        action=Action.ACTIVATE_POLICY.value,
        body={
            "digest": change.digest,
            "digest_in_force": change.digest_in_force,
            "may_permit_more": list(change.reasons),
            "files": [
                {"path": file.path, "change": file.change, "diff": file.diff}
                for file in change.files
            ],
        },
    )


def containment_in(approval: Approval) -> ContainmentOrder:
    """Return the order that was granted (law 1).

    Raises:
        IntegrityError: The approval holds no such order, or not the one that was hashed.
    """
    body = _body(approval, Action.CONTAIN)
    try:
        ttl_ns = int(body["ttl_ns"])
        order = ContainmentOrder(
            request_id=approval.request.request_id,
            target=target_from_json(body["target"]),
            level=Level[body["level"]],
            reason=body["reason"],
            ttl=timedelta(microseconds=ttl_ns // 1000) if ttl_ns else None,
            throttle_calls_per_minute=body["throttle_calls_per_minute"],
        )
    except (KeyError, TypeError, ValueError, HoldfastError) as exc:
        raise _unreadable(approval) from exc
    if order.fingerprint() != approval.request.fingerprint:
        raise _unreadable(approval)
    return order


def release_in(approval: Approval) -> ReleaseOrder:
    """Return the order that was granted (law 1).

    Raises:
        IntegrityError: The approval holds no such order, or not the one that was hashed.
    """
    body = _body(approval, Action.RELEASE)
    try:
        return ReleaseOrder(
            request_id=approval.request.request_id,
            directive_epoch=int(body["directive"]["epoch"]),
            reason=body["reason"],
        )
    except (KeyError, TypeError, ValueError, HoldfastError) as exc:
        raise _unreadable(approval) from exc


def activation_in(approval: Approval) -> Activation:
    """Return the activation that was granted (law 1).

    Raises:
        IntegrityError: The approval holds no such thing, or not the one that was hashed.
    """
    body = _body(approval, Action.ACTIVATE_POLICY)
    digest, in_force = body.get("digest"), body.get("digest_in_force")
    if not isinstance(digest, str) or not isinstance(in_force, str):
        raise _unreadable(approval)
    return Activation(digest=digest, digest_in_force=in_force)


def agent_in(request: Request) -> str:
    """Return the one agent that *request* is about; empty if it is about none, or about several.

    Never raises: what cannot be read is about nobody.
    """
    if request.agent or request.kind is not RequestKind.ACTION:
        return request.agent
    try:
        body = json.loads(request.canonical)["body"]
        target = target_from_json((body.get("directive") or body)["target"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, HoldfastError):
        return ""
    return target.agent


def containment_sentence(requester: str, order: ContainmentOrder) -> str:
    """Return ``soar asks to contain labels env=prod at KILL (“it sends money”)``."""
    span = f" for {order.ttl}" if order.ttl is not None else ""
    return (
        f"{requester} asks to contain {_named(order.target)} at {order.level.name}{span} "
        f"(“{_words(order.reason)}”)"
    )


def release_sentence(requester: str, order: ReleaseOrder, contained: Contained) -> str:
    """Return ``alice asks to release directives/7: agent banking at KILL (“a false alarm”)``."""
    directive = contained.directive
    return (
        f"{requester} asks to release {directive.name}: {_named(directive.target)} at "
        f"{directive.level.name} (“{_words(order.reason)}”)"
    )


def activation_sentence(requester: str, change: BundleChange) -> str:
    """Return ``alice asks to activate policy bundle 0f1e…: 2 files differ (…)``."""
    paths = [file.path for file in change.files]
    more = ", …" if len(paths) > _FILES_SHOWN else ""
    count = (
        f"{len(paths)} file{'s' if len(paths) != 1 else ''} differ{'' if len(paths) != 1 else 's'}"
    )
    return (
        f"{requester} asks to activate policy bundle {change.digest[:_DIGEST_SHOWN]}: {count} "
        f"({', '.join(paths[:_FILES_SHOWN])}{more})"
    )


def directive_sentence(contained: Contained) -> str:
    """Return ``directives/7 (agent banking at KILL)``."""
    directive = contained.directive
    return f"{directive.name} ({_named(directive.target)} at {directive.level.name})"


def _named(target: Target) -> str:
    return "everything" if target.kind is TargetKind.ALL else target.describe()


def _words(text: str) -> str:
    """Return *text* as one line of at most so many characters (law 3)."""
    line = escape_text(" ".join(text.split())).translate(NO_QUOTES)
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 1]}…"


def _body(approval: Approval, action: Action) -> Mapping[str, Any]:
    """Return the body of the form, if it is of *action* and the bytes that were granted."""
    request = approval.request
    if sha256(request.canonical).hexdigest() != request.fingerprint:
        raise _unreadable(approval)
    try:
        form = json.loads(request.canonical)
        body = form["body"]
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise _unreadable(approval) from exc
    if form.get("action") != action.value or not isinstance(body, dict):
        raise _unreadable(approval)
    return body


def _unreadable(approval: Approval) -> IntegrityError:
    return IntegrityError(
        f"{approval.name} does not hold the action that its fingerprint is of",
        hint="ask again with a fresh request id, and look into control's log",
    )
