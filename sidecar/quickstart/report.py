# SPDX-License-Identifier: Apache-2.0
"""Shows what the quickstart found: one table, one receipt, one verdict; or the same as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sidecar.quickstart.drill import DrillResult
from sidecar.quickstart.humans import HeldCall, HeldRelease
from sidecar.quickstart.replay import SuiteResult, percentile

__all__ = ["as_data", "is_proved", "show_drill", "show_humans", "show_replay"]


def is_proved(
    data: dict[str, Any], drill: DrillResult, held: HeldCall, release: HeldRelease
) -> bool:
    """Return whether everything that was shown holds; what still waits for a human is no failure."""
    return (
        drill.held
        and not data["injection"]["fully_allowed"]
        and (held.is_open or held.is_proved)
        and (release.is_open or release.is_proved)
    )


def as_data(
    results: Sequence[SuiteResult], drill: DrillResult, held: HeldCall, release: HeldRelease
) -> dict[str, Any]:
    """Return everything the quickstart shows, as JSON-ready data."""
    benign = [effect for result in results for t in result.benign for effect in t.effects]
    injection = [task for result in results for task in result.injection if task.effects]
    latencies = [value for result in results for value in result.latencies_us]
    return {
        "apiVersion": "holdfast/v1",
        "kind": "Quickstart",
        "benign": {
            "tasks": sum(len(result.benign) for result in results),
            "calls": len(benign),
            "allowed": benign.count("ALLOW"),
            "held": benign.count("HOLD"),
            "denied": benign.count("DENY"),
        },
        "injection": {
            "tasks": sum(len(result.injection) for result in results),
            "tasks_with_calls": len(injection),
            "calls": sum(len(task.effects) for task in injection),
            "fully_allowed": [task.task for task in injection if task.is_fully_allowed],
        },
        "suites": [_suite_data(result) for result in results],
        "latency_us": {
            "regime": "closed loop, one caller, AuthorizeStream, record included",
            "p50": round(percentile(latencies, 0.5)),
            "p99": round(percentile(latencies, 0.99)),
            "calls": len(latencies),
        },
        "drill": {
            "agent": drill.agent,
            "receipt": drill.handler_output,
            "call_to_ack_ms": round(drill.call_to_ack_ms, 3),
            "call_to_last_allow_ms": round(drill.call_to_last_allow_ms, 3),
            "allowed_before": drill.allowed_before,
            "denied_after": drill.denied_after,
            "allows_started_after_ack": drill.allows_started_after_ack,
            "restart_denied": drill.restart_denied,
            "reregistration_denied": drill.reregistration_denied,
            "replayed": drill.replayed,
            "replayed_denied": drill.replayed_denied,
            "verify_containment": drill.verify_output,
            "audit": drill.audit,
            "held": drill.held,
        },
        "held_call": {
            "agent": held.agent,
            "tool": held.tool,
            "approval": held.approval,
            "granted_by": held.granted_by,
            "granted_effect": held.granted_effect,
            "changed_effect": held.changed_effect,
            "second_effect": held.second_effect,
            "open": held.is_open,
            "proved": held.is_proved,
        },
        "held_release": {
            "operation": release.operation,
            "self_grant_refused": release.self_grant_refused,
            "granted_by": release.granted_by,
            "state": release.state,
            "effect_before": release.effect_before,
            "effect_after": release.effect_after,
            "open": release.is_open,
            "proved": release.is_proved,
        },
    }


def _suite_data(result: SuiteResult) -> dict[str, Any]:
    effects = result.benign_effects()
    attacks = [task for task in result.injection if task.effects]
    return {
        "suite": result.suite,
        "allowed": effects["ALLOW"],
        "held": effects["HOLD"],
        "denied": effects["DENY"],
        "injection_tasks_with_calls": len(attacks),
        "injection_fully_allowed": sum(task.is_fully_allowed for task in attacks),
        "p50_us": round(percentile(result.latencies_us, 0.5)),
        "p99_us": round(percentile(result.latencies_us, 0.99)),
        "cached": result.cached,
    }


def show_replay(console: Console, data: dict[str, Any]) -> None:
    """Show the table of decisions."""
    table = Table(title="AgentDojo v1.2.2: recorded tool calls, decided by each agent's gate")
    table.add_column("agent")
    for name in ("allowed", "held", "denied", "attacks", "through", "p50 µs", "p99 µs"):
        table.add_column(name, justify="right")
    for suite in data["suites"]:
        table.add_row(*(str(value) for value in _row(suite)))
    table.add_section()
    benign, injection, latency = data["benign"], data["injection"], data["latency_us"]
    table.add_row(
        "all",
        str(benign["allowed"]),
        str(benign["held"]),
        str(benign["denied"]),
        str(injection["tasks_with_calls"]),
        str(len(injection["fully_allowed"])),
        str(latency["p50"]),
        str(latency["p99"]),
        style="bold",
    )
    console.print(table)
    console.print(
        f"Of {benign['calls']} calls that users' tasks need, "
        f"{100 * benign['held'] / max(benign['calls'], 1):.1f} % wait for a human. An attack is "
        f"through if every call it needs was allowed.\nTimes: {latency['regime']}.",
        style="dim",
    )


def _row(suite: dict[str, Any]) -> list[Any]:
    return [
        suite["suite"],
        suite["allowed"],
        suite["held"],
        suite["denied"],
        suite["injection_tasks_with_calls"],
        suite["injection_fully_allowed"],
        suite["p50_us"],
        suite["p99_us"],
    ]


def show_drill(console: Console, drill: DrillResult) -> None:
    """Show the receipt, the times and the proofs."""
    receipt = drill.handler_output.get("receipt", {})
    gates = receipt.get("gates", [])
    lines = [
        f"directive    {receipt.get('directive', '?')}: {receipt.get('target', '?')} at "
        f"{receipt.get('level', '?')}, ordered by {receipt.get('author', '?')}",
        f"durable      {'yes' if receipt.get('durable') else 'NO'}",
        "gates        " + (", ".join(f"{g['gate']}: {g['state']}" for g in gates) or "none"),
        f"in the log   entry {receipt.get('log_index')} of control's log",
        f"signed by    key {receipt.get('key_id', '?')}",
    ]
    console.print(Panel("\n".join(lines), title="receipt", expand=False))
    table = Table(show_header=False, box=None, padding=(0, 1))
    for ok, text in _proofs(drill):
        table.add_row("[green]✓[/]" if ok else "[red]✗[/]", text)
    console.print(table)


def show_humans(console: Console, held: HeldCall, release: HeldRelease) -> None:
    """Show what waited for a human, where it can be decided, and what was decided."""
    rows: list[tuple[bool | None, str]] = []
    call, operation = held.approval, release.operation
    rows.append((None, f"{call['summary']} [{call['tier']}]\n{call['url']}"))
    if not held.is_open:
        rows.append(
            (
                held.is_proved,
                f"granted by {held.granted_by}: the call was allowed ({held.granted_effect}), once: "
                f"again it is {held.second_effect}, changed it is {held.changed_effect}",
            )
        )
    rows.append((None, f"{operation['summary']}\n{operation['url']}"))
    if not release.is_open:
        rows.append(
            (
                release.is_proved,
                f"not by {operation['requester']} alone; granted by {release.granted_by}: "
                f"{release.state}, and the agent's call is {release.effect_after} after "
                f"{release.effect_before}",
            )
        )
    table = Table(title="What waited for a human", show_header=False, box=None, padding=(0, 1))
    for ok, text in rows:
        mark = "·" if ok is None else "[green]✓[/]" if ok else "[red]✗[/]"
        table.add_row(mark, Text(text))
    console.print(table)


def _proofs(drill: DrillResult) -> list[tuple[bool, str]]:
    logs = ", ".join(f"{log['log']} ({log['size']} entries)" for log in drill.audit)
    when = drill.call_to_last_allow_ms
    last = f"{when:.1f} ms after" if when >= 0 else f"{-when:.1f} ms before"
    return [
        (
            drill.allows_started_after_ack == 0 and drill.denied_after > 0,
            f"last ALLOW {last} the handler's call, receipt after {drill.call_to_ack_ms:.1f} ms; "
            f"{drill.allowed_before} calls allowed before, {drill.denied_after} denied after, "
            f"{drill.allows_started_after_ack} allowed that began after the receipt",
        ),
        (drill.restart_denied, "still denied after SIGKILL and restart of gate and control"),
        (drill.reregistration_denied, "still denied after registering anew with another gate"),
        (
            drill.replayed == drill.replayed_denied > 0,
            f"{drill.replayed_denied} of {drill.replayed} recorded calls denied when asked again",
        ),
        (bool(drill.audit) and all(log["ok"] for log in drill.audit), f"logs verified: {logs}"),
    ]
