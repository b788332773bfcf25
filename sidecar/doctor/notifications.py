# SPDX-License-Identifier: Apache-2.0
"""Whether approvers hear of what waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from sidecar.approvals.values import Tier
from sidecar.doctor.result import CheckResult, Patient, failed, fine, warned
from sidecar.documents import DocumentErrors
from sidecar.notify.build import load_channels
from sidecar.notify.channel import Channel, DeliveryError, Routed

__all__ = ["check_notifications"]

_ONLY_BY_LOOKING = (
    "approvers hear of held calls only by looking at the console or `holdfast approvals watch`"
)


def check_notifications(patient: Patient) -> Iterator[CheckResult]:
    """The configuration is good, every channel could deliver, and every tier is announced."""
    path = patient.settings.notifications
    if path is None:
        yield warned("notifications", f"none is configured: {_ONLY_BY_LOOKING}",
                     "set notifications, where control runs; see deploy/notifications.md")  # fmt: skip
        return
    try:
        channels = load_channels(path, clock=patient.clock)
    except DocumentErrors as exc:
        for problem in exc.all:
            yield failed("notifications", problem.message, problem.hint or "correct the file")
        return
    if not channels:
        yield warned("notifications", f"{path} names no channel: {_ONLY_BY_LOOKING}", "name one")
        return
    yield from asyncio.run(_probe_all([routed.channel for routed in channels]))
    yield from _unannounced(channels)


def _unannounced(channels: Sequence[Routed]) -> Iterator[CheckResult]:
    missing = [
        tier.name for tier in Tier if not any(one.route.announces(tier.name) for one in channels)
    ]
    if missing:
        yield warned(
            "notifications",
            f"no channel announces requests of {', '.join(missing)}: {_ONLY_BY_LOOKING}",
            "give a channel these `tiers`, and `opened` among its `events`",
        )


async def _probe_all(channels: Sequence[Channel]) -> list[CheckResult]:
    return list(await asyncio.gather(*(_probe(channel) for channel in channels)))


async def _probe(channel: Channel) -> CheckResult:
    name = f"notifications to {channel.name}"
    try:
        async with asyncio.timeout(channel.timeout_s):
            await channel.probe()
    except TimeoutError:
        return failed(name, f"no answer within {channel.timeout_s:g} s", "is it reachable?")
    except DeliveryError as exc:
        return failed(
            name, exc.message, exc.hint or "is it reachable from here, and configured so?"
        )
    return fine(name, f"{channel.kind} answers")
