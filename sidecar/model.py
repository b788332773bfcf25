# SPDX-License-Identifier: Apache-2.0
"""The values every component speaks in. Frozen, without I/O, without protobuf.

One word per concept: a policy *allows* or *denies*, a human *grants* or *refuses*, a SOAR playbook
*contains*, *releases* and *revokes*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final, NewType

__all__ = [
    "NO_OBLIGATIONS",
    "AgentId",
    "Decision",
    "Destination",
    "Directive",
    "Effect",
    "Executable",
    "Fingerprint",
    "Level",
    "Obligations",
    "Operator",
    "OperatorKind",
    "Reason",
    "ReasonCode",
    "Role",
    "SessionId",
    "Subject",
    "Target",
    "TargetKind",
    "ToolCall",
    "ToolClass",
    "ToolName",
]

AgentId = NewType("AgentId", str)
SessionId = NewType("SessionId", str)
ToolName = NewType("ToolName", str)
Fingerprint = NewType("Fingerprint", str)
"""SHA-256 in lower-case hex of the RFC 8785 canonical form (``sidecar.canonical``)."""


class Effect(StrEnum):
    """What a decision says. ``HOLD`` means a human must decide; a held call is not allowed."""

    ALLOW = "ALLOW"
    DENY = "DENY"
    HOLD = "HOLD"


class ToolClass(StrEnum):
    """What a tool can do to the world, from the registry alone, never from the caller."""

    READ = "read"
    WRITE = "write"
    DESTRUCTIVE = "destructive"
    EXTERNAL = "external"


class Level(IntEnum):
    """How tightly a directive holds; a higher level contains every lower one."""

    OBSERVE = 1
    THROTTLE = 2
    HOLD = 3
    READ_ONLY = 4
    FREEZE = 5
    KILL = 6


class Role(StrEnum):
    """Disjoint roles of an operator. SOAR automation normally holds ``contain`` alone."""

    CONTAIN = "contain"
    RELEASE = "release"
    APPROVE = "approve"
    POLICY_AUTHOR = "policy-author"
    POLICY_APPROVE = "policy-approve"
    AUDIT_READ = "audit-read"
    ADMIN = "admin"
    BREAK_GLASS = "break-glass"


class OperatorKind(StrEnum):
    """Who stands behind an operator identity. Automation never counts as a human."""

    HUMAN = "human"
    AUTOMATION = "automation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Who calls the control plane, as its listener authenticated them. An agent is never one.

    ``human_id`` names the person: two operators with the same one are one human, and automation
    that acts for a person carries that person's. ``is_local`` is true on the root-only socket.
    ``emails`` are where the person is written to, and names under which they may own an agent;
    ``logins`` are their (issuer, subject) pairs at OpenID providers. Whoever calls with an API token
    has some of the operator's ``roles`` and counts as automation; ``token`` is its id, for the log,
    and ``agents`` the only ones it may act on or ask about (empty: all).
    """

    name: str
    kind: OperatorKind
    human_id: str
    roles: frozenset[Role]
    identity: str
    is_local: bool = False
    emails: tuple[str, ...] = ()
    logins: tuple[tuple[str, str], ...] = ()
    agents: frozenset[str] = frozenset()
    token: str = ""

    def may_touch(self, agent: str) -> bool:
        """Return whether *agent* is within what this caller is limited to."""
        return not self.agents or agent in self.agents


class ReasonCode(StrEnum):
    """Why a decision is what it is. Stable: names are part of the API; never rename or reuse."""

    # 1 identity, 2 shape
    MALFORMED = "MALFORMED"
    LIMITS = "LIMITS"
    TOO_LARGE = "TOO_LARGE"
    TOOL_NAME = "TOOL_NAME"
    SESSION_ID = "SESSION_ID"
    # 3 containment and freshness
    KILLED = "KILLED"
    FROZEN = "FROZEN"
    READ_ONLY = "READ_ONLY"
    THROTTLED = "THROTTLED"
    CONTAINMENT_HOLD = "CONTAINMENT_HOLD"
    OBSERVED = "OBSERVED"
    LATCH_UNREADABLE = "LATCH_UNREADABLE"
    NOT_READY = "NOT_READY"
    STALE = "STALE"
    # 4 token
    TOKEN_MISSING = "TOKEN_MISSING"  # noqa: S105 - a reason code, not a credential
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105
    TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105
    ISSUER_KEYS_STALE = "ISSUER_KEYS_STALE"
    # 5 registry
    UNKNOWN_AGENT = "UNKNOWN_AGENT"
    UNKNOWN_TOOL = "UNKNOWN_TOOL"
    MISSING_ARGUMENT = "MISSING_ARGUMENT"
    SCHEMA = "SCHEMA"
    # 6 destination
    URL = "URL"
    DESTINATION = "DESTINATION"
    DESTINATION_ADDRESS = "DESTINATION_ADDRESS"
    # 7 limits
    RATE_LIMITED = "RATE_LIMITED"
    BUDGET_EXHAUSTED = "BUDGET_EXHAUSTED"
    # 8 policy
    POLICY_ALLOW = "POLICY_ALLOW"
    POLICY_DENY = "POLICY_DENY"
    NO_POLICY_ALLOWS = "NO_POLICY_ALLOWS"
    POLICY_ERROR = "POLICY_ERROR"
    # 9 approval
    POLICY_HOLD = "POLICY_HOLD"
    APPROVAL_GRANTED = "APPROVAL_GRANTED"
    APPROVAL_REFUSED = "APPROVAL_REFUSED"
    APPROVAL_EXPIRED = "APPROVAL_EXPIRED"
    APPROVAL_CANCELLED = "APPROVAL_CANCELLED"
    APPROVAL_BINDING = "APPROVAL_BINDING"
    APPROVAL_LIMIT = "APPROVAL_LIMIT"
    APPROVAL_UNAVAILABLE = "APPROVAL_UNAVAILABLE"
    NO_APPROVER = "NO_APPROVER"
    NO_CHANNEL = "NO_CHANNEL"
    # 10 record, 11 epoch
    AUDIT_UNAVAILABLE = "AUDIT_UNAVAILABLE"
    EPOCH_UNSTABLE = "EPOCH_UNSTABLE"
    # anywhere
    OVERLOAD = "OVERLOAD"
    DEADLINE = "DEADLINE"
    INTERNAL = "INTERNAL"
    # said by the SDK when it cannot ask
    GATE_UNAVAILABLE = "GATE_UNAVAILABLE"
    SHUTTING_DOWN = "SHUTTING_DOWN"


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause of a decision: a stable code and a sentence that is safe to show to the agent.

    ``metadata`` holds the dynamic words of the sentence again (policy id, directive epoch, …).
    """

    code: ReasonCode
    text: str
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where a network tool wants to go, after the strict host rules.

    ``host`` is a lower-case ASCII name without trailing dot, or a canonical IP literal.
    """

    scheme: str
    host: str
    port: int
    is_ip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One intended action of an agent, already strictly parsed.

    ``arguments`` is the parsed JSON object; ``canonical_arguments`` its RFC 8785 bytes;
    ``fingerprint`` covers agent, session, tool, arguments, url, cwd, environment digest and nonce.
    """

    agent: AgentId
    session: SessionId
    tool: ToolName
    arguments: Mapping[str, Any]
    canonical_arguments: bytes
    fingerprint: Fingerprint
    url: str = ""
    cwd: str = ""
    environment_digest: str = ""
    nonce: str = ""


class TargetKind(StrEnum):
    """What a directive can hold."""

    AGENT = "agent"
    SESSION = "session"
    TOOL = "tool"
    TOOL_AT_AGENT = "tool_at_agent"
    DESTINATION = "destination"
    PRINCIPAL = "principal"
    LABELS = "labels"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What of a tool call a directive can match on."""

    agent: str
    session: str = ""
    tool: str = ""
    hosts: frozenset[str] = frozenset()
    principals: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom or what a directive holds. Only the fields that its kind names are set.

    A session is named together with its agent: a session id alone is the agent's own claim.
    ``destination`` is an exact host, or ``.example.com`` for a domain and everything below it.
    """

    kind: TargetKind
    agent: str = ""
    session: str = ""
    tool: str = ""
    destination: str = ""
    principal: str = ""
    labels: tuple[tuple[str, str], ...] = ()

    def matches(self, subject: Subject) -> bool:
        """Return whether *subject* is held by a directive with this target."""
        match self.kind:
            case TargetKind.AGENT:
                return subject.agent == self.agent
            case TargetKind.SESSION:
                return subject.agent == self.agent and subject.session == self.session
            case TargetKind.TOOL:
                return subject.tool == self.tool
            case TargetKind.TOOL_AT_AGENT:
                return subject.agent == self.agent and subject.tool == self.tool
            case TargetKind.DESTINATION:
                return any(self._covers(host) for host in subject.hosts)
            case TargetKind.PRINCIPAL:
                return self.principal in subject.principals
            case TargetKind.LABELS:
                return bool(self.labels) and all(
                    subject.labels.get(key) == value for key, value in self.labels
                )
            case TargetKind.ALL:
                return True

    def _covers(self, host: str) -> bool:
        if self.destination.startswith("."):
            return host == self.destination[1:] or host.endswith(self.destination)
        return host == self.destination

    def describe(self) -> str:
        """Return the target as people write it: ``agent banking``, ``labels env=prod``, ``all``."""
        match self.kind:
            case TargetKind.AGENT:
                return f"agent {self.agent}"
            case TargetKind.SESSION:
                return f"session {self.session} of agent {self.agent}"
            case TargetKind.TOOL:
                return f"tool {self.tool}"
            case TargetKind.TOOL_AT_AGENT:
                return f"tool {self.tool} of agent {self.agent}"
            case TargetKind.DESTINATION:
                return f"destination {self.destination}"
            case TargetKind.PRINCIPAL:
                return f"principal {self.principal}"
            case TargetKind.LABELS:
                return "labels " + ",".join(f"{key}={value}" for key, value in self.labels)
            case TargetKind.ALL:
                return "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Directive:
    """A standing containment order. Its number is the epoch that it created.

    Times are wall nanoseconds, for people; only control decides that a TTL has passed.
    """

    epoch: int
    target: Target
    level: Level
    reason: str
    author: str
    create_time_ns: int
    expire_time_ns: int | None = None
    request_id: str = ""
    request_fingerprint: str = ""
    throttle_calls_per_minute: int = 6

    @property
    def name(self) -> str:
        """The directive's resource name."""
        return f"directives/{self.epoch}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Executable:
    """What a program was when the decision was made; another file of its name is not it."""

    path: str
    device: int
    inode: int
    change_time_ns: int
    """Tells apart files that got the same inode one after the other, and contents of one file."""
    sha256: str = ""
    """Lower-case hex; empty if the content is not pinned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligations:
    """What the caller must do for an ALLOW to hold, or what a HOLD waits for."""

    addresses: tuple[str, ...] = ()
    """Addresses the name resolved to; dial one of these, do not resolve again (DNS rebinding)."""
    max_redirects: int = 0
    hold_reason: str = ""
    hold_tier: str = ""
    hold_approver_role: str = ""
    hold_quorum: int = 0
    hold_expiry_s: int = 0
    executables: tuple[Executable, ...] = ()
    """Programs that the call's commands name; one that is another at use must not be run."""
    approval: str = ""
    """``approvals/<id>`` of the request that waits (HOLD) or of the grant that was used (ALLOW)."""
    hold_expire_time_ns: int = 0
    hold_approvers: tuple[str, ...] = ()
    hold_url: str = ""


NO_OBLIGATIONS: Final = Obligations()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The answer to one ``Authorize``. A DENY is a value, never an exception."""

    effect: Effect
    reasons: tuple[Reason, ...]
    decision_id: str
    epoch: int
    valid_until_ns: int
    fingerprint: str = ""
    policy_digest: str = ""
    tool_class: ToolClass | None = None
    obligations: Obligations = NO_OBLIGATIONS
    is_cached: bool = False
