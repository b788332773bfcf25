# SPDX-License-Identifier: Apache-2.0
"""``holdfast contain`` and ``holdfast release``: the lever, and the careful way back."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import Final

import click

from sidecar.api.v1 import containment_pb2, types_pb2
from sidecar.cli.client import ClientOptions, ControlClient, connect, connected
from sidecar.cli.command import command
from sidecar.cli.exits import Exit
from sidecar.cli.held import (
    operation_data,
    operation_exit,
    rehearsal,
    show_operation,
    until_ended,
)
from sidecar.cli.output import Page, emit, talk
from sidecar.cli.targets import (
    confirm_by_name,
    confirm_simply,
    parse_target,
)
from sidecar.cli.views import (
    directive_data,
    laggards_of,
    level_name,
    receipt_data,
    show_directives,
    show_receipt,
    target_text,
)
from sidecar.clock import SystemClock
from sidecar.ids import RandomIds

__all__ = ["contain", "parse_duration", "release"]

_LEVELS: Final = ("observe", "throttle", "hold", "read-only", "freeze", "kill")
_DURATION: Final = re.compile(r"([1-9][0-9]{0,6})(s|m|h|d)", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_WAIT: Final = click.option(
    "--wait", metavar="DURATION", help="If a human must grant it, wait this long (90s, 30m, …)."
)
_BY_AGENT: Final = {"agent", "session", "tool_at_agent", "principal", "labels"}


def parse_duration(text: str) -> timedelta:
    """Return the span that *text* (``90s``, ``15m``, ``8h``, ``2d``) names.

    Raises:
        click.UsageError: It names none.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise click.UsageError("a duration is a number and s, m, h or d, for example 15m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@command(
    name="contain",
    examples=(
        'holdfast contain agent banking --level kill --reason "wires money at night"',
        'holdfast contain session banking s-42 --level freeze --reason "prompt injection" --yes',
        'holdfast contain tool send_money --level hold --ttl 2h --reason "fraud wave"',
        'holdfast contain labels env=prod --level read-only --reason "INC-7" --dry-run',
        'holdfast contain agent banking --level kill --reason "INC-7" --confirm banking --local',
    ),
)
@click.argument("target", nargs=-1, required=True)
@click.option(
    "--level",
    type=click.Choice(_LEVELS, case_sensitive=False),
    required=True,
    help="How tightly: mark calls, slow them, hold them, pass reads only, deny all, stop it too.",
)
@click.option("--reason", required=True, help="Why; goes into the log and the receipt.")
@click.option("--ttl", metavar="DURATION", help="Lapses by itself after 15m, 8h, 2d, …")
@click.option(
    "--calls-per-minute", type=click.IntRange(1, 6000), help="With --level throttle; default 6."
)
@click.option("--dry-run", is_flag=True, help="Say whom it would cover, and order nothing.")
@click.option("--yes", "is_yes", is_flag=True, help="Do not ask.")
@click.option("--confirm", metavar="NAME", help="Do not ask; refuse unless NAME is the target.")
@click.option("--request-id", help="Makes a retry the same order; default: a fresh one.")
@_WAIT
@connected
def contain(
    options: ClientOptions,
    target: tuple[str, ...],
    level: str,
    reason: str,
    ttl: str | None,
    calls_per_minute: int | None,
    dry_run: bool,
    is_yes: bool,
    confirm: str | None,
    request_id: str | None,
    wait: str | None,
) -> Exit:
    """Contain an agent, a session, a tool, a destination, a principal, agents by label, or all.

    It holds from the moment this command returns, survives restarts, and stands until it is
    released or its --ttl is over. The answer is a signed receipt.

    What would hit much of the fleet, or an agent that is protected, is held until another human
    grants it, unless you hold break-glass: then nothing holds yet, and it exits 4.

    \b
    Targets:
      agent NAME · session AGENT SESSION · tool NAME · tool-at-agent AGENT TOOL
      destination HOST · principal IDENTITY · labels KEY=VALUE,… · all
    """
    if level == "throttle" or calls_per_minute is None:
        request = containment_pb2.ContainRequest(
            request_id=request_id or RandomIds().new("cli"),
            target=parse_target(target),
            level=f"LEVEL_{level.upper().replace('-', '_')}",
            reason=reason,
            throttle_calls_per_minute=calls_per_minute or 0,
        )
    else:
        raise click.UsageError("--calls-per-minute belongs to --level throttle")
    if ttl is not None:
        request.ttl.FromTimedelta(parse_duration(ttl))
    return asyncio.run(
        _contain(
            options,
            request,
            is_dry_run=dry_run,
            is_yes=is_yes,
            confirm=confirm,
            wait=parse_duration(wait) if wait else None,
        )
    )


async def _contain(
    options: ClientOptions,
    request: containment_pb2.ContainRequest,
    *,
    is_dry_run: bool,
    is_yes: bool,
    confirm: str | None,
    wait: timedelta | None,
) -> Exit:
    async with connect(options) as client:
        if is_dry_run:
            request.validate_only = True
            answer = await client.ask(client.containment.Contain, request)
            return _tell_dry_run(request, answer)
        await _confirm(client, request, is_yes=is_yes, confirm=confirm)
        answer = await client.ask(client.containment.Contain, request)
        if answer.HasField("operation"):
            answer.operation.CopyFrom(await until_ended(client, answer.operation, wait))
    if answer.HasField("operation") and answer.operation.HasField("receipt"):
        answer.receipt.CopyFrom(answer.operation.receipt)
    return _tell(request, answer)


async def _confirm(
    client: ControlClient,
    request: containment_pb2.ContainRequest,
    *,
    is_yes: bool,
    confirm: str | None,
) -> None:
    kind = request.target.WhichOneof("kind")
    name = target_text(request.target).partition(" ")[2] or "all"
    if kind == "all" and confirm is None and is_yes:
        raise click.UsageError("`all` stops every agent: --yes is not enough, add --confirm all")
    if confirm is None and not is_yes:
        # Whoever is asked must see whom it hits. A script said that it knows.
        rehearsal = containment_pb2.ContainRequest()
        rehearsal.CopyFrom(request)
        rehearsal.validate_only = True
        answer = await client.ask(client.containment.Contain, rehearsal)
        talk(_blast(request, answer))
    if request.level >= types_pb2.LEVEL_KILL or kind == "all" or confirm is not None:
        confirm_by_name(name, given=confirm, is_yes=is_yes)
    elif request.level > types_pb2.LEVEL_OBSERVE:
        confirm_simply("Go on?", is_yes=is_yes)


def _blast(request: containment_pb2.ContainRequest, answer: containment_pb2.ContainResponse) -> str:
    what = f"{level_name(request.level)} for {target_text(request.target)}"
    agents = list(answer.agents)
    if not agents:
        return f"{what} covers no agent that is known now."
    return f"{what} covers {len(agents)} agent(s): {', '.join(agents[:20])}" + (
        f" and {len(agents) - 20} more" if len(agents) > 20 else ""
    )


def _is_unmatched(
    request: containment_pb2.ContainRequest, answer: containment_pb2.ContainResponse
) -> bool:
    return not answer.agents and request.target.WhichOneof("kind") in _BY_AGENT


def _tell_dry_run(
    request: containment_pb2.ContainRequest, answer: containment_pb2.ContainResponse
) -> Exit:
    def show(page: Page) -> None:
        page.line(f"dry run, nothing was ordered: {_blast(request, answer)}")
        if answer.HasField("operation"):
            page.mark(None, rehearsal(answer.operation))
        for item in answer.receipt.gates:
            page.line(f"  gate {item.gate}")

    data = {
        "level": level_name(request.level),
        "target": target_text(request.target),
        "agents": list(answer.agents),
        "gates": [item.gate for item in answer.receipt.gates],
        "held": answer.HasField("operation"),
        "held_reason": answer.operation.detail or None,
    }
    emit("ContainmentDryRun", data, show)
    return Exit.FAILURE if _is_unmatched(request, answer) else Exit.OK


def _tell(request: containment_pb2.ContainRequest, answer: containment_pb2.ContainResponse) -> Exit:
    receipt = answer.receipt
    is_held, is_done = answer.HasField("operation"), answer.HasField("receipt")
    laggards = laggards_of(receipt)
    data = {
        "receipt": receipt_data(receipt) if is_done else None,
        "repeated_request": answer.repeated_request,
        "agents": list(answer.agents),
        "request_id": request.request_id,
        "operation": operation_data(answer.operation) if is_held else None,
    }

    def show(page: Page) -> None:
        if is_done:
            show_receipt(page, receipt)
        else:
            show_operation(page, answer.operation, now_ns=SystemClock().wall_ns())

    emit("Containment", data, show)
    if answer.repeated_request:
        talk("an earlier request with this id had ordered it; nothing new was done")
    if is_held and not is_done:
        return operation_exit(answer.operation)
    if not receipt.durable:
        talk("it holds in memory but is not durable: the gates are sealed; look at the disk")
        return Exit.UNAVAILABLE
    if laggards:
        talk(
            f"not acknowledged yet by: {', '.join(laggards)}; "
            f"look again with `holdfast receipt show {receipt.directive.epoch}`"
        )
        return Exit.FAILURE
    if _is_unmatched(request, answer):
        talk("it stands, but covers no agent that is known: is the name right?")
        return Exit.FAILURE
    return Exit.OK


@command(
    name="release",
    examples=(
        'holdfast release 17 --reason "false alarm, INC-7" --as bob',
        'holdfast release 17 --reason "INC-7 closed" --address control:7443 --cert bob.pem '
        "--key bob.key --ca ca.pem",
    ),
)
@click.argument("epoch", type=click.IntRange(1, 2**63 - 1))
@click.option("--reason", required=True, help="Why; goes into the log.")
@click.option("--request-id", help="Makes a retry the same order; default: a fresh one.")
@_WAIT
@connected
def release(
    options: ClientOptions, epoch: int, reason: str, request_id: str | None, wait: str | None
) -> Exit:
    """Ask to end the directive that EPOCH numbers, and only that.

    Loosening takes two humans: one asks, another one grants. Until then the directive holds, and
    this exits 4; with --wait, as the decision says.
    """
    request = containment_pb2.ReleaseRequest(
        request_id=request_id or RandomIds().new("cli"), epoch=epoch, reason=reason
    )
    return asyncio.run(_release(options, request, parse_duration(wait) if wait else None))


async def _release(
    options: ClientOptions, request: containment_pb2.ReleaseRequest, wait: timedelta | None
) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.containment.Release, request)
        is_told = answer.HasField("directive")
        if answer.HasField("operation"):
            answer.operation.CopyFrom(await until_ended(client, answer.operation, wait))
    is_held = answer.HasField("operation")
    if is_held and not is_told and answer.operation.HasField("directive"):
        answer.directive.CopyFrom(answer.operation.directive)
        answer.epoch = answer.operation.epoch
    is_done = answer.HasField("directive")

    def show(page: Page) -> None:
        if not is_done:
            show_operation(page, answer.operation, now_ns=SystemClock().wall_ns())
            return
        page.line(
            f"released directive {answer.directive.epoch} "
            f"({level_name(answer.directive.level)} for {target_text(answer.directive.target)}); "
            f"epoch {answer.epoch}"
        )
        if answer.remaining:
            page.line("still held by:")
            show_directives(page, answer.remaining)
        elif not is_told:
            page.line("what else holds: `holdfast directives list`")

    data = {
        "directive": directive_data(answer.directive) if is_done else None,
        "epoch": answer.epoch or None,
        "remaining": [directive_data(directive) for directive in answer.remaining]
        if is_told
        else None,
        "request_id": request.request_id,
        "operation": operation_data(answer.operation) if is_held else None,
    }
    emit("Release", data, show)
    return Exit.OK if is_done else operation_exit(answer.operation)
