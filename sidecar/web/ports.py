# SPDX-License-Identifier: Apache-2.0
"""What the console reads and does, as Protocols; the composition root puts the real things behind.

Laws:

1. Every value is frozen. A page shows one reading of the world, not a mixture of several.
2. Nothing here takes an identity from a request: what is done is done as the ``Operator`` that the
   session stands for, looked up anew at every request.
3. A port that cannot answer raises a ``HoldfastError``; the page then says so and shows nothing
   made up. Texts may be hostile (an agent wrote them): they are only ever shown as text.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sidecar.approvals.answers import Ballot, DecideAnswer
from sidecar.approvals.values import Approval, Request
from sidecar.audit.reader import EntryFilter
from sidecar.containment.orders import ContainmentOrder
from sidecar.containment.receipt import Receipt
from sidecar.model import Directive, Effect, Level, Operator, Reason, ToolClass

__all__ = [
    "AgentView",
    "ApprovalDesk",
    "ApprovalList",
    "AuditPage",
    "AuditSearch",
    "ConsolePorts",
    "Contained",
    "Containment",
    "Electors",
    "Explain",
    "Explanation",
    "Fleet",
    "Held",
    "LogEntry",
    "LogReport",
    "PasskeyBook",
    "PolicyView",
    "Timeline",
    "ToolUse",
    "ToolView",
    "VerifyReport",
]


# --- approvals ------------------------------------------------------------------------------------


class ApprovalList(Protocol):
    """One page of approvals, newest first."""

    @property
    def approvals(self) -> Sequence[Approval]:
        """Return the approvals."""

    @property
    def next_before(self) -> str | None:
        """Return what to ask with for the next page; None on the last one."""


class Electors(Protocol):
    """Who may decide a request at this moment."""

    @property
    def operators(self) -> Sequence[Operator]:
        """Return them by name."""


class ApprovalDesk(Protocol):
    """The part of ``sidecar.approvals.service.Approvals`` that pages need."""

    async def get(self, approval_id: str) -> Approval:
        """Return one; raises ``NotFoundError``."""

    async def list(
        self,
        *,
        pending_only: bool = False,
        agent: str = "",
        limit: int = 100,
        before: str | None = None,
    ) -> ApprovalList:
        """Return a page, newest first."""

    async def decide(self, ballot: Ballot, caller: Operator) -> DecideAnswer:
        """Count a vote as *caller*'s; raises ``HoldfastError``."""

    def may_see(self, approval: Approval, caller: Operator) -> bool:
        """Return whether *caller* may know that it exists."""

    def may_decide(self, approval: Approval, caller: Operator) -> bool:
        """Return whether *caller* may decide it now."""

    def electorate(self, request: Request) -> Electors:
        """Return who may decide *request* now."""

    def add_listener(self, listener: Callable[[Approval], None]) -> None:
        """Call *listener* in the loop after every durable change."""


# --- agents ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolView:
    """A tool as the bundle declares it; ``tool_class`` is None if it does not."""

    tool: str
    tool_class: ToolClass | None = None
    data_class: str = ""
    description: str = ""
    undo: str = ""
    """How its effect is taken back, if the bundle says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolUse:
    """What one agent was seen to ask of one tool since the gates started."""

    tool: ToolView
    call_count: int = 0
    last_call_time_ns: int = 0
    effects: Mapping[str, int] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """An agent as control knows it. ``level`` is None if no directive holds it."""

    agent: str
    owner: str = ""
    groups: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    is_declared: bool = True
    is_protected: bool = False
    gates: tuple[str, ...] = ()
    """Gates that serve it now; none means that it cannot call anything."""
    identity: str = ""
    """Its workload identity (socket or SPIFFE id), if known."""
    host: str = ""
    level: Level | None = None
    directives: tuple[Directive, ...] = ()
    last_call_time_ns: int = 0
    effects: Mapping[str, int] = field(default_factory=dict)
    """Decisions since the gates started, by effect."""
    tools: tuple[ToolUse, ...] = ()
    tokens: tuple[tuple[str, str], ...] = ()
    """(issuer, token id) of tokens it was last seen with; never a token."""


class Fleet(Protocol):
    """The inventory."""

    async def agents(self) -> Sequence[AgentView]:
        """Return every agent that is declared, served or contained, by id."""

    async def agent(self, agent: str) -> AgentView:
        """Return one; raises ``NotFoundError``."""

    async def tool(self, tool: str) -> ToolView:
        """Return one tool; a tool that is not declared comes back without a class."""

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Call *listener* in the loop with an agent's id when its containment changed."""


# --- the logs -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One entry, and where it is. ``fields`` as ``sidecar.audit.entry`` defines them."""

    log: str
    index: int
    fields: Mapping[str, Any]


class Timeline(Protocol):
    """The newest entries about something, from the gates' logs and control's, newest first."""

    async def of_agent(
        self, agent: str, *, session: str = "", limit: int = 50
    ) -> Sequence[LogEntry]:
        """Return decisions of *agent* (only those of *session*, if given)."""

    async def of_decision(self, decision_id: str) -> Sequence[LogEntry]:
        """Return the entry of a decision first, then those that refer to it; empty if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPage:
    """Entries, newest first. ``next_token`` is empty on the last page."""

    entries: tuple[LogEntry, ...]
    next_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReport:
    """What verifying one log gave."""

    log: str
    is_ok: bool
    size: int
    checkpoint_time: str = ""
    detail: str = ""
    """What is wrong, or what was checked, in a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What verifying every log gave."""

    logs: tuple[LogReport, ...]
    time_ns: int

    @property
    def is_ok(self) -> bool:
        """Whether there is a log and every one verifies."""
        return bool(self.logs) and all(log.is_ok for log in self.logs)


class AuditSearch(Protocol):
    """Search over the logs. ``log`` names one (``control`` or a gate's id); empty means control's."""

    def logs(self) -> Sequence[str]:
        """Return the names of the logs that can be read."""

    async def query(
        self, wanted: EntryFilter, *, log: str = "", limit: int = 100, token: str = ""
    ) -> AuditPage:
        """Return a page; raises ``UntrustedInputError`` for a token that is not of this query."""

    async def verify(self) -> VerifyReport:
        """Verify every log that can be read; changes nothing."""

    def export(self, wanted: EntryFilter, *, log: str = "") -> AsyncIterator[bytes]:
        """Yield canonical entries, each with its line break, oldest first."""


# --- policy ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """One policy. ``outcome``: ``matched``, ``head does not fit``, ``condition is false``,
    ``failed``, or empty if the call was not evaluated."""

    id: str
    file: str
    line: int
    effect: str
    text: str = ""
    """The policy as it stands in the file."""
    outcome: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a call is decided as it is, by the bundle that is in force now."""

    policy_digest: str
    policies: tuple[PolicyView, ...]
    reads: tuple[str, ...]
    """What the verdict can depend on."""
    effect: Effect | None = None
    reasons: tuple[Reason, ...] = ()


class Explain(Protocol):
    """The policy in force. Decides nothing."""

    async def explain(
        self, *, agent: str, tool: str, arguments: Mapping[str, Any], session: str, url: str
    ) -> Explanation:
        """Evaluate every policy that names *tool* for this call."""

    async def find(self, *, tool: str, policies: Collection[str]) -> Explanation:
        """Return the named *policies* and what *tool*'s verdicts can read, without a call."""


# --- containment ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Contained:
    """The order was carried out; ``receipt`` proves how far."""

    receipt: Receipt
    is_repeated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The order waits for a second human under this approval id."""

    approval_id: str


class Containment(Protocol):
    """The lever."""

    async def contain(self, order: ContainmentOrder, caller: Operator) -> Contained | Held:
        """Carry out *order*, idempotent by its request id; raises ``HoldfastError``."""

    async def receipt(self, epoch: int) -> Receipt:
        """Return the receipt of a directive as it stands now; raises ``NotFoundError``."""


class PasskeyBook(Protocol):
    """Who has which passkey (``sidecar.passkeys.Passkeys``)."""

    async def credential_ids(self, human_id: str) -> Sequence[str]:
        """Return the ids of a human's passkeys, base64url."""

    async def authentication_options(
        self, *, challenge: bytes, human_id: str = "", name: str = ""
    ) -> dict[str, Any]:
        """Return what ``navigator.credentials.get`` is asked for, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePorts:
    """Everything the console is given, but for signing in. ``operators`` is asked at every request;
    ``passkeys`` is None where passkeys are not set up."""

    approvals: ApprovalDesk
    fleet: Fleet
    timeline: Timeline
    audit: AuditSearch
    explain: Explain
    containment: Containment
    operators: Callable[[], Collection[Operator]]
    passkeys: PasskeyBook | None = None
