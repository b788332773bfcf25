# SPDX-License-Identifier: Apache-2.0
"""A real console on loopback: real pages, sessions, passkeys and approvals, over ports that are fakes.

    async with console() as c:
        approval = await c.hold(agent="billing-bot", tool="payments.refund", arguments={"amount": 5})
        c.url, c.cookie("alice"), c.headers("alice"), await c.link("alice")

By hand, with demo data and somebody signed in behind a link that only this server has:

    python -m tests.support.console [--port 8900] [--as alice]

``spy`` notes everything that would change something; what only looks is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from jinja2.bccache import Bucket, BytecodeCache

from sidecar.approvals.answers import Ballot, DecideAnswer, Pending
from sidecar.approvals.service import Approvals
from sidecar.approvals.store_sqlite import SqliteApprovals
from sidecar.approvals.tiers import DEFAULT_TIERS
from sidecar.approvals.values import (
    Approval,
    Binding,
    Channel,
    Request,
    RequestKind,
    Tier,
    Verdict,
)
from sidecar.audit.reader import EntryFilter
from sidecar.canonical import CallParser, canonical_call, canonicalise
from sidecar.clock import NS_PER_SECOND, Clock, SystemClock
from sidecar.containment.orders import ContainmentOrder
from sidecar.containment.receipt import Receipt
from sidecar.errors import EnvironmentFailure, NotFoundError
from sidecar.ids import RandomIds
from sidecar.model import Effect, Fingerprint, Operator, OperatorKind, Reason, ReasonCode, Role
from sidecar.passkeys.accounts import Accounts
from sidecar.passkeys.passkeys import Passkeys
from sidecar.passkeys.store_sqlite import PasskeyStore
from sidecar.web.app import HUB, build_app, make_pages
from sidecar.web.config import ConsoleConfig
from sidecar.web.login import login_routes
from sidecar.web.loginports import LoginPorts
from sidecar.web.oidc import OidcConfig
from sidecar.web.ports import (
    AgentView,
    AuditPage,
    ConsolePorts,
    Contained,
    Explanation,
    Held,
    LogEntry,
    LogReport,
    PolicyView,
    ToolView,
    VerifyReport,
)
from sidecar.web.render import Pages
from sidecar.web.sessions import Session, Sessions, SignInMethod

__all__ = ["Arrival", "Console", "OffsetClock", "console", "operators"]

DIGEST: Final = "9c1d" * 16
EPOCH: Final = 41


class OffsetClock:
    """The host's clocks, or others, some seconds off; a test or the demo moves ``offset_s``."""

    def __init__(self, base: Clock | None = None) -> None:
        self._base = base or SystemClock()
        self.offset_s = 0.0

    def wall_ns(self) -> int:
        return self._base.wall_ns() + round(self.offset_s * NS_PER_SECOND)

    def boot_ns(self) -> int:
        return self._base.boot_ns() + round(self.offset_s * NS_PER_SECOND)

    def advance(self, *, seconds: float) -> None:
        """Let both clocks pass *seconds*."""
        self.offset_s += seconds


def _operator(name: str, *roles: Role, kind: str = "human", email: str = "") -> Operator:
    is_human = kind == "human"
    return Operator(
        name=name,
        kind=OperatorKind(kind),
        human_id=f"{name}@corp.example" if is_human else "",
        roles=frozenset(roles),
        identity=f"spiffe://corp.example/operator/{name}",
        emails=(email or f"{name}@corp.example",) if is_human else (),
    )


def operators() -> dict[str, Operator]:
    """Return the people (and a robot) of a demo: by name."""
    deciders = (Role.APPROVE, Role.RELEASE, Role.POLICY_APPROVE)
    people = (
        _operator("alice", *deciders, Role.CONTAIN, Role.AUDIT_READ),
        _operator("bob", *deciders),
        _operator("carol", Role.APPROVE, Role.AUDIT_READ, Role.ADMIN),
        _operator("dave", Role.AUDIT_READ),
        _operator("erin", Role.CONTAIN, Role.RELEASE),
        _operator("olga", Role.APPROVE),
        _operator("nobody", Role.POLICY_AUTHOR),
        _operator("soar", Role.CONTAIN, kind="automation"),
    )
    return {person.name: person for person in people}


class _Compiled(BytecodeCache):
    """Templates that were compiled once: tests make many consoles."""

    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


_COMPILED: Final = _Compiled()


@dataclass
class Directory:
    """Who is an operator now."""

    people: dict[str, Operator]
    is_broken: bool = False

    def operators(self) -> Collection[Operator]:
        if self.is_broken:
            raise EnvironmentFailure("the operators cannot be read")
        return self.people.values()


class Log:
    """Control's log."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, Any]]] = []

    async def append(self, kind: str, body: Mapping[str, Any]) -> None:
        self.entries.append((kind, dict(body)))


class _Reach:
    def refusal(self, request: Request) -> str:
        return ""


class _Announcer:
    def announce(self, approval: Approval, kind: str) -> None: ...

    def alert(self, agent: str, text: str) -> None: ...


@dataclass
class FakeFleet:
    """The inventory; a test fills it."""

    known: dict[str, AgentView] = field(default_factory=dict)
    tools: dict[str, ToolView] = field(default_factory=dict)
    listeners: list[Callable[[str], None]] = field(default_factory=list)
    is_broken: bool = False

    async def agents(self) -> Sequence[AgentView]:
        self._check()
        return [self.known[name] for name in sorted(self.known)]

    async def agent(self, agent: str) -> AgentView:
        self._check()
        if agent not in self.known:
            raise NotFoundError("no such agent is declared, served or contained")
        return self.known[agent]

    async def tool(self, tool: str) -> ToolView:
        self._check()
        return self.tools.get(tool, ToolView(tool=tool))

    def add_listener(self, listener: Callable[[str], None]) -> None:
        self.listeners.append(listener)

    def changed(self, agent: str) -> None:
        """Tell that *agent*'s containment changed."""
        for listener in self.listeners:
            listener(agent)

    def _check(self) -> None:
        if self.is_broken:
            raise EnvironmentFailure("the inventory cannot be read")


@dataclass
class FakeLogs:
    """The logs, as ``Timeline`` and ``AuditSearch``; ``entries`` newest last."""

    entries: list[LogEntry] = field(default_factory=list)
    reports: list[LogReport] = field(default_factory=list)
    now_ns: int = 0
    verify_count: int = 0
    is_broken: bool = False
    breaks_after: int | None = None
    """An export fails after so many lines."""
    breaks_with: Exception = field(default_factory=lambda: EnvironmentFailure("the disk is gone"))

    def add(self, log: str = "control", **fields: Any) -> LogEntry:
        """Append an entry."""
        index = sum(entry.log == log for entry in self.entries)
        entry = LogEntry(log=log, index=index, fields={"v": 1, "seq": index, **fields})
        self.entries.append(entry)
        return entry

    async def of_agent(
        self, agent: str, *, session: str = "", limit: int = 50
    ) -> Sequence[LogEntry]:
        self._check()
        found = [
            entry
            for entry in reversed(self.entries)
            if entry.fields.get("kind") == "decision"
            and entry.fields.get("agent") == agent
            and (not session or entry.fields.get("session") == session)
        ]
        return found[:limit]

    async def of_decision(self, decision_id: str) -> Sequence[LogEntry]:
        self._check()
        found = [item for item in self.entries if item.fields.get("decision_id") == decision_id]
        return sorted(found, key=lambda item: item.fields.get("kind") != "decision")

    def logs(self) -> Sequence[str]:
        return sorted({"control", *(entry.log for entry in self.entries)})

    async def query(
        self, wanted: EntryFilter, *, log: str = "", limit: int = 100, token: str = ""
    ) -> AuditPage:
        self._check()
        found = [
            entry
            for entry in reversed(self.entries)
            if entry.log == (log or "control") and wanted.matches(entry.fields)
        ]
        start = int(token) if token.isdecimal() else 0
        end = start + limit
        return AuditPage(
            entries=tuple(found[start:end]), next_token=str(end) if end < len(found) else ""
        )

    async def verify(self) -> VerifyReport:
        self.verify_count += 1
        return VerifyReport(logs=tuple(self.reports), time_ns=self.now_ns)

    async def export(self, wanted: EntryFilter, *, log: str = "") -> AsyncIterator[bytes]:
        self._check()
        chosen = [entry for entry in self.entries if entry.log == (log or "control")]
        for count, entry in enumerate(chosen):
            if self.breaks_after is not None and count >= self.breaks_after:
                raise self.breaks_with
            if wanted.matches(entry.fields):
                yield json.dumps(entry.fields, sort_keys=True).encode() + b"\n"

    def _check(self) -> None:
        if self.is_broken:
            raise EnvironmentFailure("the log cannot be read")


@dataclass
class FakeExplain:
    """The policies."""

    policies: dict[str, PolicyView] = field(default_factory=dict)
    digest: str = DIGEST
    reads: tuple[str, ...] = ("agent", "args.amount")
    is_broken: bool = False

    async def explain(
        self, *, agent: str, tool: str, arguments: Mapping[str, Any], session: str, url: str
    ) -> Explanation:
        if self.is_broken:
            raise EnvironmentFailure("the policies cannot be asked")
        return Explanation(
            policy_digest=self.digest,
            policies=tuple(replace(item, outcome="matched") for item in self.policies.values()),
            reads=self.reads,
            effect=Effect.HOLD,
            reasons=(Reason(ReasonCode.POLICY_HOLD, "a human must decide"),),
        )

    async def find(self, *, tool: str, policies: Collection[str]) -> Explanation:
        if self.is_broken:
            raise EnvironmentFailure("the policies cannot be asked")
        found = tuple(item for name, item in self.policies.items() if name in policies)
        return Explanation(policy_digest=self.digest, policies=found, reads=self.reads)


@dataclass
class FakeContainment:
    """The lever; notes each pull."""

    orders: list[tuple[ContainmentOrder, Operator]] = field(default_factory=list)
    receipts: dict[int, Receipt] = field(default_factory=dict)
    answer: Callable[[ContainmentOrder, Operator], Contained | Held] | None = None
    error: Exception | None = None

    async def contain(self, order: ContainmentOrder, caller: Operator) -> Contained | Held:
        self.orders.append((order, caller))
        if self.error is not None:
            raise self.error
        if self.answer is None:
            raise EnvironmentFailure("this test gave no answer")
        return self.answer(order, caller)

    async def receipt(self, epoch: int) -> Receipt:
        if epoch not in self.receipts:
            raise NotFoundError("there is no such directive")
        return self.receipts[epoch]


class SpyDesk:
    """Approvals, noting every vote."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals
        self.ballots: list[tuple[Ballot, Operator]] = []

    async def decide(self, ballot: Ballot, caller: Operator) -> DecideAnswer:
        self.ballots.append((ballot, caller))
        return await self._approvals.decide(ballot, caller)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._approvals, name)


@dataclass(frozen=True)
class Arrival:
    """A request that reached the console, and how it was answered."""

    method: str
    path: str
    status: int
    headers: Mapping[str, str]


@dataclass
class Console:
    """A running console and everything behind it."""

    url: str
    app: web.Application
    config: ConsoleConfig
    clock: OffsetClock
    people: dict[str, Operator]
    directory: Directory
    pages: Pages
    sessions: Sessions
    approvals: Approvals
    store: SqliteApprovals
    desk: SpyDesk
    fleet: FakeFleet
    logs: FakeLogs
    explain: FakeExplain
    containment: FakeContainment
    passkeys: Passkeys
    passkey_store: PasskeyStore
    accounts: Accounts
    log: Log
    arrivals: list[Arrival] = field(default_factory=list)
    _sessions_of: dict[str, tuple[str, Session]] = field(default_factory=dict)
    _count: int = 0

    # -- who is signed in -----------------------------------------------------------------------

    def sign_in(self, name: str, *, age_s: float = 0) -> tuple[str, Session]:
        """Return the cookie of a fresh session of *name* who signed in *age_s* ago, and it."""
        response = web.Response()
        session = self.sessions.open(
            make_mocked_request("GET", "/"),
            response,
            self.people[name],
            method=SignInMethod.PASSKEY,
            auth_time_ns=self.clock.wall_ns() - round(age_s * NS_PER_SECOND),
        )
        token = response.cookies[self.sessions.cookie_name].value
        self._sessions_of[name] = (token, session)
        return token, session

    def session(self, name: str) -> Session:
        """Return the session of *name*, opening one if there is none."""
        return (self._sessions_of.get(name) or self.sign_in(name))[1]

    def headers(self, name: str) -> dict[str, str]:
        """Return the headers that *name*'s browser sends with a form of ours."""
        token = (self._sessions_of.get(name) or self.sign_in(name))[0]
        return {
            "Cookie": f"{self.sessions.cookie_name}={token}",
            "Origin": self.config.origin,
            "Sec-Fetch-Site": "same-origin",
        }

    def cookie(self, name: str) -> dict[str, Any]:
        """Return the session's cookie as Playwright's ``add_cookies`` takes it."""
        token = (self._sessions_of.get(name) or self.sign_in(name))[0]
        return {
            "name": self.sessions.cookie_name,
            "value": token,
            "url": self.url,
            "httpOnly": True,
            "sameSite": "Strict",
        }

    async def link(self, name: str, *, by: str = "carol") -> str:
        """Return the address at which *name* enrols a passkey."""
        self._count += 1
        link = await self.accounts.issue(
            operator=name, caller=self.people[by], request_id=f"console-link-{self._count}"
        )
        return link.url

    def watchers(self) -> int:
        """Return how many people have a page open."""
        return self.app[HUB].watchers()

    # -- what waits -----------------------------------------------------------------------------

    async def hold(
        self,
        *,
        arguments: Mapping[str, Any] | bytes,
        agent: str = "billing-bot",
        tool: str = "payments.refund",
        session: str = "s-1",
        owner: str = "olga@corp.example",
        tier: Tier = Tier.MEDIUM,
        reason: str = "A refund above €500 is decided by a human.",
        policies: tuple[str, ...] = ("hold-large-refunds",),
        url: str = "",
        cwd: str = "",
        nonce: str = "",
        **changes: Any,
    ) -> Approval:
        """Have *agent* held with a call, and return the approval that waits."""
        raw = arguments if isinstance(arguments, bytes) else json.dumps(arguments).encode()
        call = CallParser().parse(
            agent=agent, tool=tool, arguments=raw, session=session, url=url, cwd=cwd, nonce=nonce
        )
        rule = DEFAULT_TIERS[tier]
        self._count += 1
        decision_id = f"dec_{self._count:032x}"
        request = Request(
            kind=RequestKind.CALL,
            fingerprint=call.fingerprint,
            canonical=canonical_call(call),
            summary=f"{agent} wants to run {tool}",
            reason=reason,
            tier=tier,
            role=Role.APPROVE,
            quorum=rule.quorum,
            is_passkey_needed=rule.is_passkey_needed,
            is_reason_needed=rule.is_reason_needed,
            expiry_s=rule.expiry_s,
            grant_life_s=rule.grant_life_s,
            policy_digest=DIGEST,
            epoch=EPOCH,
            agent=agent,
            owner=owner,
            session=session,
            tool=tool,
            decision_id=decision_id,
            policies=policies,
        )
        request = replace(request, **changes)
        answer = await self.approvals.hold(
            request, binding_of(request), decision_id=request.decision_id
        )
        assert isinstance(answer, Pending), answer
        return answer.approval

    async def use(self, approval: Approval) -> None:
        """Have the agent make its granted call."""
        self._count += 1
        await self.approvals.hold(
            approval.request, binding_of(approval.request), decision_id=f"dec_{self._count:032x}"
        )

    async def ask(
        self,
        *,
        action: str,
        body: Mapping[str, Any],
        summary: str = "",
        sentence: str = "",
        requester: str = "erin",
        role: Role = Role.RELEASE,
        tier: Tier = Tier.MEDIUM,
        reason: str = "Loosening takes a second human.",
        **changes: Any,
    ) -> Approval:
        """Have *requester* ask for a control action, and return the approval that waits.

        The sentence about it is *sentence*, or says that *requester* asks to *summary*.
        """
        canonical = canonicalise({"v": 1, "action": action, "body": dict(body)})
        rule = DEFAULT_TIERS[tier]
        self._count += 1
        request = Request(
            kind=RequestKind.ACTION,
            fingerprint=fingerprint_of(canonical),
            canonical=canonical,
            summary=sentence or f"{requester} asks to {summary}",
            reason=reason,
            tier=tier,
            role=role,
            quorum=1,
            is_passkey_needed=False,
            is_reason_needed=rule.is_reason_needed,
            expiry_s=rule.expiry_s,
            grant_life_s=rule.grant_life_s,
            policy_digest=DIGEST,
            epoch=EPOCH,
            action=action,
            requester=requester,
            requester_human=self.people[requester].human_id,
            request_id=f"console-request-{self._count}",
        )
        return await self.approvals.open_action(replace(request, **changes))

    async def vote(
        self, approval: Approval, name: str, verdict: Verdict = Verdict.GRANT, reason: str = "ok"
    ) -> Approval:
        """Have *name* vote from the command line; tiers that need a passkey cannot be granted so."""
        self._count += 1
        answer = await self.approvals.decide(
            Ballot(
                approval_id=approval.id,
                verdict=verdict,
                fingerprint=approval.request.fingerprint,
                reason=reason,
                request_id=f"console-vote-{self._count}",
                channel=Channel.CLI,
            ),
            self.people[name],
        )
        return answer.approval


def fingerprint_of(canonical: bytes) -> Fingerprint:
    """Return the SHA-256 of *canonical*."""
    from hashlib import sha256

    return Fingerprint(sha256(canonical).hexdigest())


def binding_of(request: Request) -> Binding:
    """Return what a use of *request*'s grant must match."""
    return Binding(
        fingerprint=request.fingerprint,
        agent=request.agent,
        session=request.session,
        policy_digest=request.policy_digest,
        epoch=request.epoch,
    )


@asynccontextmanager
async def console(
    *,
    clock: Clock | None = None,
    port: int = 0,
    people: dict[str, Operator] | None = None,
    directory: Path | None = None,
    oidc: Sequence[OidcConfig] = (),
    **config: Any,
) -> AsyncIterator[Console]:
    """Serve a console on loopback until the block ends.

    Args:
        clock: Time underneath an ``OffsetClock``; the host's unless given.
        port: 0 for a free one.
        people: Operators by name; the block may change them while it runs.
        directory: Where databases go; a temporary one unless given.
        oidc: Providers that sign in too.
        config: Fields of ``ConsoleConfig``.
    """
    place = directory or Path(tempfile.mkdtemp(prefix="holdfast-console-"))
    listener = socket.create_server(("127.0.0.1", port))
    origin = f"http://localhost:{listener.getsockname()[1]}"
    built = _build(place, origin, OffsetClock(clock), people or operators(), config, oidc)
    built.app.on_response_prepare.append(_noting(built.arrivals))
    runner = web.AppRunner(built.app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
    try:
        await built.approvals.start()
        await runner.setup()
        await web.SockSite(runner, listener).start()
        yield built
    finally:
        await runner.cleanup()
        await built.approvals.close()
        built.store.close()
        built.passkey_store.close()
        listener.close()
        if directory is None:
            shutil.rmtree(place)


def _build(
    place: Path,
    origin: str,
    clock: OffsetClock,
    people: dict[str, Operator],
    config: Mapping[str, Any],
    oidc: Sequence[OidcConfig],
) -> Console:
    log = Log()
    ids = RandomIds()
    known = Directory(people)
    passkey_store = PasskeyStore(place / "passkeys.db")
    passkeys = Passkeys(store=passkey_store, rp_id="localhost", origins=[origin], clock=clock)
    accounts = Accounts(
        store=passkey_store,
        passkeys=passkeys,
        audit=log,
        operators=known.operators,
        console_url=origin,
        clock=clock,
    )
    store = SqliteApprovals(place / "approvals.db")

    approvals = Approvals(
        store=store,
        directory=known,
        audit=log,
        passkeys=passkeys,
        reach=_Reach(),
        announcer=_Announcer(),
        clock=clock,
        boot_id="boot-1",
        ids=ids,
        epoch=lambda: EPOCH,
        policy_digest=lambda: DIGEST,
    )
    desk = SpyDesk(approvals)
    fleet, logs, explain, containment = FakeFleet(), FakeLogs(), FakeExplain(), FakeContainment()
    console_config = ConsoleConfig(origin=origin, **config)
    sessions = Sessions(clock=clock, is_secure=console_config.is_secure)
    pages = make_pages(console_config, clock=clock)
    pages._environment.bytecode_cache = _COMPILED
    ports = ConsolePorts(
        approvals=desk,  # type: ignore[arg-type]  # delegates by name
        fleet=fleet,
        timeline=logs,
        audit=logs,
        explain=explain,
        containment=containment,
        operators=known.operators,
        passkeys=passkeys,
    )
    login = LoginPorts(
        operators=known.operators,
        audit=log,
        origin=origin,
        clock=clock,
        sessions=sessions,
        passkeys=passkeys,
        accounts=accounts,
        page=pages,
        oidc=oidc,
    )
    app = build_app(
        ports,
        console_config,
        clock=clock,
        ids=ids,
        sessions=sessions,
        pages=pages,
        login_routes=login_routes(login),
    )
    return Console(
        url=origin,
        app=app,
        config=console_config,
        clock=clock,
        people=people,
        directory=known,
        pages=pages,
        sessions=sessions,
        approvals=approvals,
        store=store,
        desk=desk,
        fleet=fleet,
        logs=logs,
        explain=explain,
        containment=containment,
        passkeys=passkeys,
        passkey_store=passkey_store,
        accounts=accounts,
        log=log,
    )


def _noting(
    arrivals: list[Arrival],
) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    async def note(request: web.Request, response: web.StreamResponse) -> None:
        arrivals.append(
            Arrival(request.method, request.path_qs, response.status, dict(request.headers))
        )

    return note


async def _serve(port: int, name: str) -> None:
    from tests.support.console_demo import fill

    async with console(port=port, instance="demo", is_dev=True) as running:
        shown = await fill(running)
        cookie = running.cookie(name)
        print(f"console:  {running.url}")
        print(f"cookie:   {cookie['name']}={cookie['value']}   (signed in as {name})")
        print(f"passkey:  {await running.link(name)}   (opens the page that makes one)")
        for title, path in shown.items():
            print(f"  {title:24} {running.url}{path}")
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


def main() -> None:
    """Serve the demo until interrupted."""
    parser = argparse.ArgumentParser(description="A console with demo data, on loopback.")
    parser.add_argument("--port", type=int, default=8900)
    parser.add_argument("--as", dest="name", default="alice")
    chosen = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(chosen.port, chosen.name))


if __name__ == "__main__":
    main()
