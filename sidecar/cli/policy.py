# SPDX-License-Identifier: Apache-2.0
"""``holdfast policy``: check, test and explain a bundle here; show and reload the one in force."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from sidecar.api.v1 import policy_pb2
from sidecar.cli.arguments import arguments_mapping
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.contain import parse_duration
from sidecar.cli.exits import Exit
from sidecar.cli.held import (
    operation_data,
    operation_exit,
    rehearsal,
    show_operation,
    until_ended,
)
from sidecar.cli.output import Page, emit
from sidecar.cli.views import policy_set_data
from sidecar.clock import SystemClock
from sidecar.errors import NotFoundError
from sidecar.ids import RandomIds
from sidecar.model import Effect

__all__ = ["EXIT_OF_EFFECT", "policy"]

EXIT_OF_EFFECT = {Effect.ALLOW: Exit.OK, Effect.DENY: Exit.DENIED, Effect.HOLD: Exit.HELD}
_BUNDLE = click.Path(path_type=Path)
_MARK = {"error": False, "warning": None, "note": None}


@group(name="policy")
def policy() -> None:
    """Check, test, explain and reload the policy bundle."""


@policy.command(
    name="check", examples=("holdfast policy check ./bundle", "holdfast policy check . --strict")
)
@click.argument("path", type=_BUNDLE)
@click.option("--strict", is_flag=True, help="Let warnings fail too.")
def check(path: Path, strict: bool) -> Exit:
    """Say what is wrong, doubtful or worth knowing about the bundle in PATH.

    Exits 1 if the bundle does not load.
    """
    from sidecar.policy.check import check_bundle

    report = check_bundle(path)
    is_good = report.ok and not (strict and report.warnings)
    rows = [
        {
            "severity": problem.severity,
            "code": problem.code,
            "path": problem.path,
            "line": problem.line,
            "key": problem.key or None,
            "message": problem.message,
            "hint": problem.hint or None,
        }
        for problem in report.problems
    ]

    def show(page: Page) -> None:
        for problem in report.problems:
            page.mark(_MARK[problem.severity], str(problem))
        if report.bundle is not None:
            bundle = report.bundle
            page.mark(
                True,
                f"{path}: {len(bundle.policies)} policies, {len(bundle.tools)} tools, "
                f"{len(bundle.agents)} agents, {len(bundle.tests)} tests",
            )
            page.line(f"digest {bundle.digest}")

    digest = report.bundle.digest if report.bundle is not None else None
    emit("PolicyCheck", {"ok": is_good, "digest": digest, "problems": rows}, show)
    return Exit.OK if is_good else Exit.FAILURE


@policy.command(name="test", examples=("holdfast policy test ./bundle",))
@click.argument("path", type=_BUNDLE)
def test(path: Path) -> Exit:
    """Run the bundle's own tests. Exits 1 if any disagrees, or if there is none."""
    from sidecar.policy.bundle import load_bundle
    from sidecar.policy.check import run_tests

    report = run_tests(load_bundle(path))
    results = report.results
    rows = [
        {
            "name": result.case.name,
            "path": result.case.path,
            "line": result.case.line,
            "passed": result.ok,
            "failure": result.failure or None,
            "effect": result.verdict.effect.value,
            "policies": list(result.verdict.policy_ids),
        }
        for result in results
    ]

    def show(page: Page) -> None:
        for result in report.failures:
            case = result.case
            page.mark(False, f"{case.path}:{case.line}: {case.name}: {result.failure}")
        passed = len(results) - report.failed
        if results:
            page.mark(report.ok, f"{passed} of {len(results)} tests passed")
        else:
            page.mark(False, "the bundle has no tests (add tests/*.yaml)")

    is_good = bool(results) and report.ok
    emit("PolicyTest", {"ok": is_good, "tests": rows}, show)
    return Exit.OK if is_good else Exit.FAILURE


@policy.command(
    name="explain",
    examples=(
        "holdfast policy explain ./bundle send_money --agent banking --arg recipient=GB29 "
        "--arg amount=50",
    ),
)
@click.argument("path", type=_BUNDLE)
@click.argument("tool")
@click.option("--agent", required=True, help="Who would call.")
@click.option("--arg", "pairs", multiple=True, metavar="KEY=VALUE", help="An argument.")
@click.option("--json-args", metavar="JSON", help="All arguments: JSON, @file, or - for stdin.")
@click.option("--session", default="explain", show_default=True)
@click.option("--url", default="", help="Where a network tool would go.")
def explain(
    path: Path,
    tool: str,
    agent: str,
    pairs: tuple[str, ...],
    json_args: str | None,
    session: str,
    url: str,
) -> Exit:
    """Say how the bundle in PATH would decide a call, and which policies say so.

    Containment, limits and tokens are not asked: `holdfast try` asks a gate for all of it. Exits 0
    for ALLOW, 3 for DENY, 4 for HOLD.
    """
    from sidecar.policy.bundle import load_bundle
    from sidecar.policy.check import explain as explain_call

    arguments = arguments_mapping(pairs, json_args)
    found = explain_call(
        load_bundle(path), agent=agent, tool=tool, arguments=arguments, session=session, url=url
    )
    verdict = found.verdict
    rows: list[dict[str, Any]] = [
        {
            "id": outcome.policy.id,
            "path": outcome.policy.path,
            "line": outcome.policy.line,
            "effect": outcome.policy.effect,
            "outcome": outcome.outcome,
            "error": outcome.error or None,
        }
        for outcome in found.policies
    ]

    def show(page: Page) -> None:
        page.line(f"{verdict.effect.value} {verdict.reason.value}: {verdict.text}")
        if rows:
            page.table(
                ("POLICY", "EFFECT", "OUTCOME", "PLACE"),
                [
                    (
                        row["id"],
                        row["effect"],
                        row["outcome"] + (f": {row['error']}" if row["error"] else ""),
                        f"{row['path']}:{row['line']}",
                    )
                    for row in rows
                ],
            )
        page.line(f"depends on: {', '.join(found.reads) or 'nothing of the call'}")

    data = {
        "effect": verdict.effect.value,
        "reason": verdict.reason.value,
        "text": verdict.text,
        "deciding_policies": list(verdict.policy_ids),
        "shadow_policies": list(verdict.shadow_ids),
        "policies": rows,
        "reads": list(found.reads),
    }
    emit("PolicyExplanation", data, show)
    return EXIT_OF_EFFECT[verdict.effect]


@policy.command(
    name="show",
    examples=("holdfast policy show", "holdfast policy show --file policies/banking.cedar"),
)
@click.option("--file", "file_name", help="Print this file of the bundle.")
@connected
def show_policy(options: ClientOptions, file_name: str | None) -> Exit:
    """Show the bundle in force at control."""
    return asyncio.run(_show(options, file_name))


async def _show(options: ClientOptions, file_name: str | None) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.policy.GetPolicySet, policy_pb2.GetPolicySetRequest())
    policy_set = answer.policy_set
    data = policy_set_data(policy_set)
    if file_name is not None:
        if file_name not in policy_set.files:
            raise NotFoundError(
                "the bundle in force has no such file",
                hint="there are: " + ", ".join(sorted(policy_set.files)),
            )
        text = policy_set.files[file_name].decode("utf-8", errors="replace")
        emit("PolicyFile", {"file": file_name, "text": text}, lambda page: page.block(text))
        return Exit.OK

    def show(page: Page) -> None:
        page.fields(
            [
                ("digest", data["digest"]),
                ("in force since", data["activate_time"] or "-"),
                ("epoch", data["epoch"] or "in force when control started"),
                ("policies", data["policy_count"]),
            ]
        )
        page.table(("FILE", "BYTES"), list(data["files"].items()))

    emit("PolicySet", data, show)
    return Exit.OK


@policy.command(
    name="reload",
    examples=(
        "holdfast policy reload --dry-run",
        "holdfast policy reload --as carol",
        "holdfast policy reload --as carol --wait 30m",
    ),
)
@click.option("--dry-run", is_flag=True, help="Read and check the bundle, and change nothing.")
@click.option("--request-id", help="Makes a retry the same order; default: a fresh one.")
@click.option(
    "--wait", metavar="DURATION", help="If a human must grant it, wait this long (90s, 30m, …)."
)
@connected
def reload(options: ClientOptions, dry_run: bool, request_id: str | None, wait: str | None) -> Exit:
    """Let control read its bundle again.

    A bundle that is invalid, or whose own tests disagree, changes nothing and exits 2. One that may
    permit more than the bundle in force is held until another human grants it, and exits 4.
    """
    request = policy_pb2.ReloadPolicySetRequest(
        request_id=request_id or RandomIds().new("cli"), validate_only=dry_run
    )
    return asyncio.run(_reload(options, request, parse_duration(wait) if wait else None))


async def _reload(
    options: ClientOptions, request: policy_pb2.ReloadPolicySetRequest, wait: timedelta | None
) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.policy.ReloadPolicySet, request)
        is_held = answer.HasField("operation")
        if is_held and not request.validate_only:
            answer.operation.CopyFrom(await until_ended(client, answer.operation, wait))
    data = {
        "policy_set": policy_set_data(answer.policy_set),
        "changed": answer.changed,
        "dry_run": request.validate_only,
        "operation": operation_data(answer.operation) if is_held else None,
    }

    def show(page: Page) -> None:
        if is_held and request.validate_only:
            page.mark(None, rehearsal(answer.operation))
        elif is_held:
            show_operation(page, answer.operation, now_ns=SystemClock().wall_ns())
            return
        done = "would be in force" if request.validate_only else "is in force"
        what = f"digest {answer.policy_set.digest}"
        page.mark(True, f"{what} {done}" if answer.changed else f"{what}: nothing had changed")

    emit("PolicyReload", data, show)
    is_over = not is_held or request.validate_only
    return Exit.OK if is_over else operation_exit(answer.operation)
