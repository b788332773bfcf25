# SPDX-License-Identifier: Apache-2.0
"""``holdfast try``: ask a gate about one call by hand, as the agent would, and see why."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from sidecar.api.v1 import guard_pb2, policy_pb2
from sidecar.cli.arguments import arguments_bytes
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import command
from sidecar.cli.contain import parse_duration
from sidecar.cli.exits import Exit
from sidecar.cli.output import Page, emit
from sidecar.cli.terminal import escape
from sidecar.cli.views import directive_data, effect_name, show_directives
from sidecar.documents import did_you_mean
from sidecar.errors import ConfigurationError, EnvironmentFailure, ErrorReason, HoldfastError
from sidecar.layout import StateLayout
from sidecar.safe_paths import read_secret_file
from sidecar.sdk import Decision, Effect, GateUnavailable, Guard, Result

__all__ = ["try_"]

_EXITS: Final = {Effect.ALLOW: Exit.OK, Effect.DENY: Exit.DENIED, Effect.HOLD: Exit.HELD}
_NS: Final = 1_000_000_000
_LOCAL_SESSION: Final = "holdfast-try"
_OUTCOME_TIMEOUT_S: Final = 2.0


@command(
    name="try",
    examples=(
        "holdfast try get_balance --agent banking",
        "holdfast try send_money --agent banking --arg recipient=GB29NWBK60161331926819 "
        "--arg amount=50",
        'holdfast try shell.exec --json-args \'{"cmd": "rm -rf ./x"}\' --json',
    ),
)
@click.argument("tool")
@click.option("--agent", help="As which agent; default: the only one that has a socket here.")
@click.option("--arg", "pairs", multiple=True, metavar="KEY=VALUE",
              help="An argument; JSON if it reads as JSON, else text.")  # fmt: skip
@click.option("--json-args", metavar="JSON", help="All arguments: JSON, @file, or - for stdin.")
@click.option("--session", default=_LOCAL_SESSION, show_default=True)
@click.option("--url", default="", help="Where a network tool would go.")
@click.option("--token-file", type=click.Path(path_type=Path), help="For tools that need a token.")
@click.option("--wait", metavar="DURATION", help="If a human must decide, wait for them this long.")
@connected
def try_(
    options: ClientOptions,
    tool: str,
    agent: str | None,
    pairs: tuple[str, ...],
    json_args: str | None,
    session: str,
    url: str,
    token_file: Path | None,
    wait: str | None,
) -> Exit:
    """Ask a gate whether TOOL may be called. Exits 0 for ALLOW, 3 for DENY, 4 for HOLD.

    It is a real question: the gate records it, and it counts against limits. Nothing is called; an
    ALLOW is reported back as not used. A call that a human must decide is a real request, which
    stays open: once it is granted, the same question is answered ALLOW, once. Where this user may
    ask control, the policies that apply are shown too.
    """
    wait_s = parse_duration(wait).total_seconds() if wait is not None else 0.0
    arguments = arguments_bytes(pairs, json_args)
    layout, _ = options.locate()
    address = _address(layout, agent)
    call = guard_pb2.ToolCall(tool=tool, arguments=arguments, session_id=session, url=url)
    decision, explanation = asyncio.run(_ask(options, address, agent, call, token_file, wait_s))
    emit("Decision", _data(decision, explanation), lambda page: _show(page, decision, explanation))
    if decision.is_local:
        return Exit.UNAVAILABLE
    return _EXITS[decision.effect]


def _address(layout: StateLayout, agent: str | None) -> str:
    """Return the address of the agent's socket; what ``holdfast run`` set counts as well."""
    inherited = os.environ.get("HOLDFAST_ADDRESS", "")
    if agent is None and inherited.startswith("unix:/"):
        return inherited
    try:
        found = sorted(path.parent.name for path in layout.agents.glob("*/guard.sock"))
    except OSError:
        found = []
    if agent is None:
        if len(found) == 1:
            return f"unix:{layout.agent_socket(found[0])}"
        raise ConfigurationError(
            "is needed",
            key="--agent",
            hint=f"there are: {', '.join(map(escape, found))}" if found else "no gate serves here",
        )
    path = layout.agent_socket(agent)
    if agent in found or os.path.lexists(path):
        return f"unix:{path}"
    raise EnvironmentFailure(
        f"no gate of agent {escape(agent)} serves here: {path} is missing",
        reason=ErrorReason.SOCKET_UNAVAILABLE,
        hint=did_you_mean(agent, found) or f"start one: holdfast gate --agent {escape(agent)}",
    )


async def _ask(
    options: ClientOptions,
    address: str,
    agent: str | None,
    call: guard_pb2.ToolCall,
    token_file: Path | None,
    wait_s: float,
) -> tuple[Decision, policy_pb2.ExplainDecisionResponse | None]:
    token = _token(token_file) if token_file is not None else ""
    guard = Guard(
        address,
        session=call.session_id,
        deadline=timedelta(seconds=min(options.timeout_s, 60)),
        token_provider=(lambda: token) if token else None,
    )
    async with guard:
        decision = await guard.authorize(
            call.tool, call.arguments, url=call.url or None, hold_timeout=wait_s
        )
        if decision.effect is Effect.ALLOW:
            await _report_unused(guard, decision)
    name = agent or Path(address.removeprefix("unix:")).parent.name
    return decision, await _explain(options, name, call)


def _token(path: Path) -> str:
    try:
        return read_secret_file(path).decode("ascii").strip()
    except UnicodeDecodeError as exc:
        raise ConfigurationError(f"{path} holds no token", key="--token-file") from exc


async def _report_unused(guard: Guard, decision: Decision) -> None:
    try:
        await guard.log(
            decision.decision_id,
            Result.CANCELLED,
            detail="asked by hand, not called",
            timeout=_OUTCOME_TIMEOUT_S,
        )
    except GateUnavailable:
        return  # the decision stands in the log either way


async def _explain(
    options: ClientOptions, agent: str, call: guard_pb2.ToolCall
) -> policy_pb2.ExplainDecisionResponse | None:
    """Ask control why, if it can be asked and this user may; the decision does not depend on it."""
    request = policy_pb2.ExplainDecisionRequest(agent=agent, tool_call=call)
    try:
        async with connect(options) as client:
            answer: policy_pb2.ExplainDecisionResponse = await client.ask(
                client.policy.ExplainDecision, request
            )
    except HoldfastError:
        return None
    return answer


def _data(
    decision: Decision, explanation: policy_pb2.ExplainDecisionResponse | None
) -> dict[str, Any]:
    obligations = decision.obligations
    return {
        "effect": decision.effect.value,
        "reasons": [
            {"code": reason.code, "text": reason.text, "metadata": dict(reason.metadata)}
            for reason in decision.reasons
        ],
        "decision_id": decision.decision_id,
        "epoch": decision.epoch,
        "valid_until": _valid_until(decision),
        "fingerprint": decision.fingerprint or None,
        "policy_digest": decision.policy_digest or None,
        "tool_class": decision.tool_class or None,
        "cached": decision.is_cached,
        "local": decision.is_local,
        "obligations": {
            "addresses": list(obligations.addresses),
            "hold_reason": obligations.hold_reason or None,
            "hold_tier": obligations.hold_tier or None,
            "hold_approver_role": obligations.hold_approver_role or None,
            "hold_quorum": obligations.hold_quorum or None,
            "hold_expiry_s": obligations.hold_expiry.total_seconds() or None,
            "hold_expire_time": _text(obligations.hold_expire_time),
            "hold_approvers": list(obligations.hold_approvers),
            "hold_url": obligations.hold_url or None,
            "approval": obligations.approval or None,
        },
        "explanation": None if explanation is None else _explanation_data(explanation),
    }


def _valid_until(decision: Decision) -> str | None:
    if decision.effect is not Effect.ALLOW:
        return None
    return _text(datetime.fromtimestamp(decision.valid_until_ns / _NS, tz=UTC))


def _text(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _explanation_data(explanation: policy_pb2.ExplainDecisionResponse) -> dict[str, Any]:
    return {
        "effect": effect_name(explanation.effect),
        "reasons": [{"code": item.code, "text": item.text} for item in explanation.reasons],
        "policies": [
            {
                "id": policy.id,
                "file": policy.file,
                "line": policy.line,
                "effect": policy.effect,
                "matched": policy.matched,
                "annotations": dict(sorted(policy.annotations.items())),
            }
            for policy in explanation.policies
        ],
        "projection": list(explanation.projection),
        "directives": [directive_data(directive) for directive in explanation.directives],
    }


def _show(
    page: Page, decision: Decision, explanation: policy_pb2.ExplainDecisionResponse | None
) -> None:
    mark = {Effect.ALLOW: True, Effect.DENY: False, Effect.HOLD: None}[decision.effect]
    page.mark(mark, decision.effect.value)
    for reason in decision.reasons:
        page.line(f"  {reason.code}: {reason.text}")
    obligations = decision.obligations
    if obligations.hold_reason:
        page.line(
            f"  a human decides ({obligations.hold_tier}, {obligations.hold_quorum} of role "
            f"{obligations.hold_approver_role}): {obligations.hold_reason}"
        )
    if decision.effect is Effect.HOLD and obligations.approval:
        page.line(f"  {' or '.join(obligations.hold_approvers)} may decide until "
                  f"{_text(obligations.hold_expire_time) or '-'}")  # fmt: skip
        if obligations.hold_url:
            page.line(f"  {obligations.hold_url}")
        page.line(f"  holdfast approvals show {obligations.approval}")
    if obligations.addresses:
        page.line(f"  dial one of: {', '.join(obligations.addresses)}")
    page.fields(
        [
            ("  decision", decision.decision_id),
            ("  epoch", decision.epoch),
            ("  policy", decision.policy_digest or "-"),
            ("  fingerprint", decision.fingerprint or "-"),
        ]
    )
    if explanation is None:
        return
    rows = [
        (
            policy.id,
            policy.effect,
            "matched" if policy.matched else "did not match",
            f"{policy.file}:{policy.line}",
        )
        for policy in explanation.policies
    ]
    if rows:
        page.table(("POLICY", "EFFECT", "OUTCOME", "PLACE"), rows)
    if explanation.directives:
        page.line("held by:")
        show_directives(page, explanation.directives)
