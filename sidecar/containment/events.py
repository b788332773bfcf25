# SPDX-License-Identifier: Apache-2.0
"""What happened, as the latch journal and control's history keep it.

Compatibility. The payload of a record is canonical JSON with ``"v":1``.

1. A kind is never renumbered and never reused; new kinds go at the end.
2. A key may be added only if a program that ignores it holds no less than one that knows it;
   anything else needs a new kind. Unknown keys are ignored.
3. A kind or ``v`` that is not known denies everything (``IntegrityError``): nobody can say what it
   would have held.
4. Epochs and nanoseconds are decimal texts: canonical JSON has no integers beyond 2^53.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, TypeAlias, TypeVar

from sidecar.canonical import canonicalise
from sidecar.errors import HoldfastError, IntegrityError
from sidecar.latch.format import Record
from sidecar.model import Directive, Level, OperatorKind, Target, TargetKind
from sidecar.tokens.revocations import RevocationRule

__all__ = [
    "Contained",
    "Event",
    "EventKind",
    "Expired",
    "PolicyActivated",
    "Released",
    "RevocationRule",
    "TokensRevoked",
    "Unsealed",
    "decode_event",
    "decode_rule",
    "directive_from_json",
    "directive_to_json",
    "encode_event",
    "encode_rule",
    "rule_to_json",
    "target_from_json",
    "target_to_json",
]

_VERSION: Final = 1
_T = TypeVar("_T")


class EventKind(IntEnum):
    """Numbers of the kinds in the journal (laws 1 and 3)."""

    CONTAINED = 1
    RELEASED = 2
    EXPIRED = 3
    TOKENS_REVOKED = 4
    POLICY_ACTIVATED = 5
    UNSEALED = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Contained:
    """A directive stands from now on.

    ``deadline_boot_ns`` is on the boot clock of the boot ``boot_id``; ``directive.expire_time_ns``
    is for people. ``approval`` and ``approvers`` (human ids) are set if other humans had to agree.
    """

    directive: Directive
    author_human_id: str = ""
    author_kind: OperatorKind = OperatorKind.AUTOMATION
    ttl_ns: int | None = None
    deadline_boot_ns: int | None = None
    boot_id: str = ""
    approval: str = ""
    approvers: tuple[str, ...] = ()

    @property
    def epoch(self) -> int:
        """The epoch that numbers the directive."""
        return self.directive.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """A directive was ended, asked for by ``releaser`` and agreed to by ``approvers`` (human ids)."""

    epoch: int
    directive_epoch: int
    releaser: str
    releaser_human_id: str
    reason: str
    create_time_ns: int
    request_id: str = ""
    request_fingerprint: str = ""
    approval: str = ""
    approvers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """A directive's TTL passed, by control's boot clock."""

    epoch: int
    directive_epoch: int
    create_time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokensRevoked:
    """Tokens were revoked; there is no way back."""

    rule: RevocationRule
    request_id: str = ""
    request_fingerprint: str = ""

    @property
    def epoch(self) -> int:
        """The epoch of the revocation."""
        return self.rule.epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyActivated:
    """Another policy bundle decides from now on."""

    epoch: int
    digest: str
    author: str
    create_time_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsealed:
    """A person took the seal off a latch whose storage had failed or was lost."""

    epoch: int
    author: str
    author_human_id: str
    reason: str
    create_time_ns: int
    request_id: str = ""
    request_fingerprint: str = ""


Event: TypeAlias = Contained | Released | Expired | TokensRevoked | PolicyActivated | Unsealed


def encode_event(event: Event) -> Record:
    """Return *event* as a journal record."""
    match event:
        case Contained():
            kind, body = EventKind.CONTAINED, _contained_to_json(event)
        case Released():
            kind, body = (
                EventKind.RELEASED,
                _ended_to_json(event)
                | {
                    "releaser": event.releaser,
                    "releaser_human_id": event.releaser_human_id,
                    "reason": event.reason,
                    "request_id": event.request_id,
                    "request_fingerprint": event.request_fingerprint,
                }
                | _consent_to_json(event),
            )
        case Expired():
            kind, body = EventKind.EXPIRED, _ended_to_json(event)
        case TokensRevoked():
            kind, body = (
                EventKind.TOKENS_REVOKED,
                {
                    "rule": rule_to_json(event.rule),
                    "request_id": event.request_id,
                    "request_fingerprint": event.request_fingerprint,
                },
            )
        case PolicyActivated():
            kind, body = (
                EventKind.POLICY_ACTIVATED,
                {
                    "epoch": str(event.epoch),
                    "digest": event.digest,
                    "author": event.author,
                    "create_time_ns": str(event.create_time_ns),
                },
            )
        case Unsealed():
            kind, body = (
                EventKind.UNSEALED,
                {
                    "epoch": str(event.epoch),
                    "author": event.author,
                    "author_human_id": event.author_human_id,
                    "reason": event.reason,
                    "create_time_ns": str(event.create_time_ns),
                    "request_id": event.request_id,
                    "request_fingerprint": event.request_fingerprint,
                },
            )
    return Record(kind, event.epoch, canonicalise({"v": _VERSION, **body}))


def decode_event(record: Record) -> Event:
    """Return the event of *record*.

    Raises:
        IntegrityError: It is of an unknown kind or version, or not what ``encode_event`` made
            (law 3): deny everything.
    """
    decode = _DECODERS.get(record.kind)
    if decode is None:
        raise IntegrityError(
            f"the journal holds an event of kind {record.kind}, which this version does not know",
            hint="run the version that wrote it",
        )
    event = _decoded(record.payload, decode)
    if event.epoch != record.epoch:
        raise IntegrityError("an event in the journal names another epoch than its record")
    return event


def encode_rule(rule: RevocationRule) -> bytes:
    """Return *rule* as canonical JSON."""
    return canonicalise({"v": _VERSION, "rule": rule_to_json(rule)})


def decode_rule(payload: bytes) -> RevocationRule:
    """Return the rule of *payload*.

    Raises:
        IntegrityError: It is not what ``encode_rule`` made.
    """
    return _decoded(payload, lambda body: _rule_from_json(_Fields(body.object("rule"))))


def directive_to_json(directive: Directive) -> dict[str, Any]:
    """Return *directive* as a JSON object."""
    body: dict[str, Any] = {
        "epoch": str(directive.epoch),
        "target": target_to_json(directive.target),
        "level": directive.level.name,
        "reason": directive.reason,
        "author": directive.author,
        "create_time_ns": str(directive.create_time_ns),
        "request_id": directive.request_id,
        "request_fingerprint": directive.request_fingerprint,
        "throttle_calls_per_minute": directive.throttle_calls_per_minute,
    }
    if directive.expire_time_ns is not None:
        body["expire_time_ns"] = str(directive.expire_time_ns)
    return body


def directive_from_json(body: Mapping[str, Any]) -> Directive:
    """Return the directive of *body*.

    Raises:
        IntegrityError: It is not what ``directive_to_json`` made.
    """
    fields = _Fields(body)
    level = fields.text("level")
    if level not in Level.__members__:
        raise IntegrityError("a directive has a level that this version does not know")
    return Directive(
        epoch=fields.number("epoch"),
        target=target_from_json(fields.object("target")),
        level=Level[level],
        reason=fields.text("reason"),
        author=fields.text("author"),
        create_time_ns=fields.number("create_time_ns"),
        expire_time_ns=fields.number_or_none("expire_time_ns"),
        request_id=fields.text("request_id"),
        request_fingerprint=fields.text("request_fingerprint"),
        throttle_calls_per_minute=fields.integer("throttle_calls_per_minute"),
    )


def target_to_json(target: Target) -> dict[str, Any]:
    """Return *target* as a JSON object that holds what its kind names."""
    body: dict[str, Any] = {"kind": target.kind.value}
    for name in ("agent", "session", "tool", "destination", "principal"):
        value = getattr(target, name)
        if value:
            body[name] = value
    if target.labels:
        body["labels"] = dict(target.labels)
    return body


def target_from_json(body: Mapping[str, Any]) -> Target:
    """Return the target of *body*.

    Raises:
        IntegrityError: It is not what ``target_to_json`` made.
    """
    fields = _Fields(body)
    kind = fields.text("kind")
    if kind not in set(TargetKind):
        raise IntegrityError("a directive has a target that this version does not know")
    labels = fields.object("labels") if "labels" in body else {}
    if not all(isinstance(value, str) for value in labels.values()):
        raise IntegrityError("a target's labels are not texts")
    return Target(
        kind=TargetKind(kind),
        agent=fields.text("agent", ""),
        session=fields.text("session", ""),
        tool=fields.text("tool", ""),
        destination=fields.text("destination", ""),
        principal=fields.text("principal", ""),
        labels=tuple(sorted(labels.items())),
    )


def rule_to_json(rule: RevocationRule) -> dict[str, Any]:
    """Return *rule* as a JSON object that holds the selectors it has."""
    body: dict[str, Any] = {
        "author": rule.author,
        "reason": rule.reason,
        "epoch": str(rule.epoch),
        "create_time_ns": str(rule.create_time_ns),
    }
    for name in ("jti", "agent", "session", "issuer"):
        value = getattr(rule, name)
        if value is not None:
            body[name] = value
    for name in ("issued_before_s", "expire_time_s"):
        value = getattr(rule, name)
        if value is not None:
            body[name] = str(value)
    return body


class _Fields:
    """Typed access to a JSON object; anything unexpected is an ``IntegrityError``."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self._body = body

    def text(self, name: str, default: str | None = None) -> str:
        value = self._body.get(name, default)
        if not isinstance(value, str):
            raise IntegrityError(f"a stored event has no text {name}")
        return value

    def text_or_none(self, name: str) -> str | None:
        return self.text(name) if name in self._body else None

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._body.get(name, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise IntegrityError(f"a stored event has no texts {name}")
        return tuple(value)

    def number(self, name: str) -> int:
        text = self.text(name)
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise IntegrityError(f"a stored event has no number {name}")
        return int(text)

    def number_or_none(self, name: str) -> int | None:
        return self.number(name) if name in self._body else None

    def integer(self, name: str) -> int:
        value = self._body.get(name)
        if type(value) is not int:
            raise IntegrityError(f"a stored event has no integer {name}")
        return value

    def object(self, name: str) -> Mapping[str, Any]:
        value = self._body.get(name)
        if not isinstance(value, dict):
            raise IntegrityError(f"a stored event has no object {name}")
        return value


def _decoded(payload: bytes, decode: Callable[[_Fields], _T]) -> _T:
    try:
        body = json.loads(payload)
        if not isinstance(body, dict) or body.get("v") != _VERSION:
            raise IntegrityError("a stored event has a version that is not known")
        return decode(_Fields(body))
    except IntegrityError:
        raise
    except (ValueError, RecursionError, HoldfastError) as exc:
        raise IntegrityError("a stored event cannot be read") from exc


def _contained_to_json(event: Contained) -> dict[str, Any]:
    body: dict[str, Any] = {
        "directive": directive_to_json(event.directive),
        "author_human_id": event.author_human_id,
        "author_kind": event.author_kind.value,
    }
    if event.ttl_ns is not None and event.deadline_boot_ns is not None:
        body["ttl_ns"] = str(event.ttl_ns)
        body["deadline_boot_ns"] = str(event.deadline_boot_ns)
        body["boot_id"] = event.boot_id
    return body | _consent_to_json(event)


def _consent_to_json(event: Contained | Released) -> dict[str, Any]:
    """Return who agreed; nothing where nobody had to, so that such records stay as they were."""
    if not event.approval:
        return {}
    return {"approval": event.approval, "approvers": list(event.approvers)}


def _contained_from_json(body: _Fields) -> Contained:
    return Contained(
        directive=directive_from_json(body.object("directive")),
        author_human_id=body.text("author_human_id"),
        author_kind=OperatorKind(body.text("author_kind")),
        ttl_ns=body.number_or_none("ttl_ns"),
        deadline_boot_ns=body.number_or_none("deadline_boot_ns"),
        boot_id=body.text("boot_id", ""),
        approval=body.text("approval", ""),
        approvers=body.texts("approvers"),
    )


def _ended_to_json(event: Released | Expired) -> dict[str, Any]:
    return {
        "epoch": str(event.epoch),
        "directive_epoch": str(event.directive_epoch),
        "create_time_ns": str(event.create_time_ns),
    }


def _released_from_json(body: _Fields) -> Released:
    return Released(
        epoch=body.number("epoch"),
        directive_epoch=body.number("directive_epoch"),
        releaser=body.text("releaser"),
        releaser_human_id=body.text("releaser_human_id"),
        reason=body.text("reason"),
        create_time_ns=body.number("create_time_ns"),
        request_id=body.text("request_id"),
        request_fingerprint=body.text("request_fingerprint"),
        approval=body.text("approval", ""),
        approvers=body.texts("approvers"),
    )


def _expired_from_json(body: _Fields) -> Expired:
    return Expired(
        epoch=body.number("epoch"),
        directive_epoch=body.number("directive_epoch"),
        create_time_ns=body.number("create_time_ns"),
    )


def _revoked_from_json(body: _Fields) -> TokensRevoked:
    return TokensRevoked(
        rule=_rule_from_json(_Fields(body.object("rule"))),
        request_id=body.text("request_id"),
        request_fingerprint=body.text("request_fingerprint"),
    )


def _activated_from_json(body: _Fields) -> PolicyActivated:
    return PolicyActivated(
        epoch=body.number("epoch"),
        digest=body.text("digest"),
        author=body.text("author"),
        create_time_ns=body.number("create_time_ns"),
    )


def _unsealed_from_json(body: _Fields) -> Unsealed:
    return Unsealed(
        epoch=body.number("epoch"),
        author=body.text("author"),
        author_human_id=body.text("author_human_id"),
        reason=body.text("reason"),
        create_time_ns=body.number("create_time_ns"),
        request_id=body.text("request_id"),
        request_fingerprint=body.text("request_fingerprint"),
    )


def _rule_from_json(body: _Fields) -> RevocationRule:
    return RevocationRule(
        jti=body.text_or_none("jti"),
        agent=body.text_or_none("agent"),
        session=body.text_or_none("session"),
        issuer=body.text_or_none("issuer"),
        issued_before_s=body.number_or_none("issued_before_s"),
        author=body.text("author"),
        reason=body.text("reason"),
        epoch=body.number("epoch"),
        create_time_ns=body.number("create_time_ns"),
        expire_time_s=body.number_or_none("expire_time_s"),
    )


_DECODERS: Final[Mapping[int, Callable[[_Fields], Event]]] = {
    EventKind.CONTAINED: _contained_from_json,
    EventKind.RELEASED: _released_from_json,
    EventKind.EXPIRED: _expired_from_json,
    EventKind.TOKENS_REVOKED: _revoked_from_json,
    EventKind.POLICY_ACTIVATED: _activated_from_json,
    EventKind.UNSEALED: _unsealed_from_json,
}
