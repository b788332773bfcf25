# SPDX-License-Identifier: Apache-2.0
"""What operators ask for, checked before anything happens.

Laws:

1. Reject, never normalise: no trimming, no lower-casing, no globs. ``*`` names nothing; everything
   has its own kind of target, and its own role.
2. A target sets exactly the fields that its kind names.
3. A fingerprint is over the whole order but its request id, so the same id with anything else in it
   is a conflict. Who asks is no part of it: a colleague's retry is the same order.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from sidecar.canonical import canonical_control, fingerprint_control
from sidecar.containment.events import target_to_json
from sidecar.errors import ErrorReason, UntrustedInputError
from sidecar.identifiers import (
    check_agent_id,
    check_label_key,
    check_label_value,
    check_request_id,
    check_session_id,
    check_tool_name,
)
from sidecar.model import Fingerprint, Level, Target, TargetKind

__all__ = [
    "DEFAULT_THROTTLE",
    "MAX_REASON",
    "MAX_TTL",
    "ContainmentOrder",
    "ReleaseOrder",
    "RevocationOrder",
    "UnsealOrder",
    "check_target",
]

MAX_REASON: Final = 1000
"""Characters."""
MAX_TTL: Final = timedelta(days=30)
MIN_TTL: Final = timedelta(seconds=1)
DEFAULT_THROTTLE: Final = 6
MAX_THROTTLE: Final = 6000
_MAX_LABELS: Final = 16
_MAX_HOST: Final = 253
_MAX_SECONDS: Final = 2**53

_HOST: Final = re.compile(
    r"\.?[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
).fullmatch
_PRINCIPAL: Final = re.compile(r"[!-~]{1,320}").fullmatch
_TOKEN_TEXT: Final = re.compile(r"[!-~]{1,512}").fullmatch
_UNPRINTABLE: Final = re.compile("[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]").search
_FIELDS: Final = {
    TargetKind.AGENT: {"agent"},
    TargetKind.SESSION: {"agent", "session"},
    TargetKind.TOOL: {"tool"},
    TargetKind.TOOL_AT_AGENT: {"agent", "tool"},
    TargetKind.DESTINATION: {"destination"},
    TargetKind.PRINCIPAL: {"principal"},
    TargetKind.LABELS: {"labels"},
    TargetKind.ALL: set[str](),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentOrder:
    """Asks for a directive. ``throttle_calls_per_minute`` 0 means ``DEFAULT_THROTTLE``.

    Raises:
        UntrustedInputError: A field is not what it must be.
    """

    request_id: str
    target: Target
    level: Level
    reason: str
    ttl: timedelta | None = None
    throttle_calls_per_minute: int = 0

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        check_target(self.target)
        _check_reason(self.reason)
        if type(self.level) is not Level:
            raise _bad("a directive needs a level")
        if self.ttl is not None and not MIN_TTL <= self.ttl <= MAX_TTL:
            raise _bad("a directive's ttl is 1 second to 30 days")
        if not 0 <= self.throttle_calls_per_minute <= MAX_THROTTLE:
            raise _bad(f"a throttle is 1 to {MAX_THROTTLE} calls per minute")

    @property
    def throttle(self) -> int:
        """Calls per minute under THROTTLE."""
        return self.throttle_calls_per_minute or DEFAULT_THROTTLE

    @property
    def ttl_ns(self) -> int | None:
        """The life of the directive; None if it stands until released."""
        return None if self.ttl is None else self.ttl // timedelta(microseconds=1) * 1000

    def canonical(self) -> bytes:
        """Return the order's canonical form: what is hashed, and what a human is shown."""
        return canonical_control(
            action="contain",
            body={
                "target": target_to_json(self.target),
                "level": self.level.name,
                "reason": self.reason,
                "ttl_ns": str(self.ttl_ns or 0),
                "throttle_calls_per_minute": self.throttle,
            },
        )

    def fingerprint(self) -> Fingerprint:
        """Return what makes this order this order (law 3)."""
        return Fingerprint(sha256(self.canonical()).hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseOrder:
    """Asks to end one directive, named by its epoch.

    Raises:
        UntrustedInputError: A field is not what it must be.
    """

    request_id: str
    directive_epoch: int
    reason: str

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        _check_reason(self.reason)
        if not 0 < self.directive_epoch < 2**63:
            raise _bad("a release names the epoch of a directive")

    def fingerprint(self) -> str:
        """Return what makes this order this order (law 3)."""
        return fingerprint_control(
            action="release",
            body={"directive_epoch": str(self.directive_epoch), "reason": self.reason},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationOrder:
    """Asks to revoke every token that matches all selectors that are not empty.

    Raises:
        UntrustedInputError: A field is not what it must be.
    """

    request_id: str
    reason: str
    jti: str = ""
    agent: str = ""
    session: str = ""
    issuer: str = ""
    issued_before_s: int | None = None

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        _check_reason(self.reason)
        selectors = (self.jti, self.agent, self.session, self.issuer)
        if not any(selectors) and self.issued_before_s is None:
            raise _bad("a revocation selects something")
        if self.agent:
            check_agent_id(self.agent)
        if not all(_TOKEN_TEXT(text) for text in selectors if text):
            raise _bad("a revocation's selectors are printable ASCII without spaces")
        if self.jti and not self.issuer:
            raise _bad("a token id means nothing without its issuer")
        if self.issued_before_s is not None and not 0 <= self.issued_before_s <= _MAX_SECONDS:
            raise _bad("issued_before is a time since 1970")

    @property
    def is_everything(self) -> bool:
        """Whether it selects tokens by their age alone."""
        return not (self.jti or self.agent or self.session or self.issuer)

    def fingerprint(self) -> str:
        """Return what makes this order this order (law 3)."""
        body = {
            "jti": self.jti,
            "agent": self.agent,
            "session": self.session,
            "issuer": self.issuer,
            "issued_before_s": "" if self.issued_before_s is None else str(self.issued_before_s),
            "reason": self.reason,
        }
        return fingerprint_control(action="revoke_tokens", body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsealOrder:
    """Asks to take the seal off the latch after its storage failed or was lost.

    Raises:
        UntrustedInputError: A field is not what it must be.
    """

    request_id: str
    reason: str

    def __post_init__(self) -> None:
        check_request_id(self.request_id)
        _check_reason(self.reason)

    def fingerprint(self) -> str:
        """Return what makes this order this order (law 3)."""
        return fingerprint_control(action="unseal", body={"reason": self.reason})


def check_target(target: Target) -> Target:
    """Return *target* if it is well-formed (laws 1 and 2).

    Raises:
        UntrustedInputError: It is not.
    """
    wanted = _FIELDS[target.kind]
    for name in ("agent", "session", "tool", "destination", "principal", "labels"):
        if bool(getattr(target, name)) is not (name in wanted):
            raise _bad(f"a target of kind {target.kind.value} names {_list(wanted)}, nothing else")
    if target.agent:
        check_agent_id(target.agent)
    if target.session:
        check_session_id(target.session)
    if target.tool:
        check_tool_name(target.tool)
    if target.principal and not _PRINCIPAL(target.principal):
        raise _bad("a principal is 1 to 320 printable ASCII characters without spaces")
    if target.destination and not _is_destination(target.destination):
        raise _bad(
            "a destination is a host name in lower case, .a-domain with everything below it, "
            "or an IP address in its usual form"
        )
    if len(target.labels) > _MAX_LABELS or len(dict(target.labels)) != len(target.labels):
        raise _bad(f"a label selector names at most {_MAX_LABELS} labels, each once")
    for key, value in target.labels:
        check_label_key(key)
        check_label_value(value)
    return target


def _is_destination(text: str) -> bool:
    if len(text) > _MAX_HOST:
        return False
    try:
        return str(ipaddress.ip_address(text)) == text
    except ValueError:
        # What ends in a number is an address to some parser, and then not a canonical one.
        return _HOST(text) is not None and not text.rsplit(".", 1)[-1][:1].isdigit()


def _check_reason(reason: str) -> None:
    if not reason or reason.isspace() or len(reason) > MAX_REASON:
        raise _bad(f"a reason is needed, of at most {MAX_REASON} characters")
    if _UNPRINTABLE(reason):
        raise _bad("a reason is text without control characters")


def _list(names: set[str]) -> str:
    return " and ".join(sorted(names)) or "no further field"


def _bad(message: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT)
