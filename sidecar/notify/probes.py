# SPDX-License-Identifier: Apache-2.0
"""The notifier's numbers, read when somebody scrapes. Channels are named by the configuration, so
the labels are bounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sidecar.notify.channel import ChannelHealth
from sidecar.observe.metrics import Sample

__all__ = ["samples_of"]


def samples_of(channels: Sequence[ChannelHealth], *, is_durable: bool) -> Iterator[Sample]:
    """Yield every sample.

    Args:
        channels: How each channel does.
        is_durable: Whether accepted notices outlive a crash.
    """
    yield (
        "counter",
        "holdfast_notifications_total",
        "Notices by channel and by how they ended.",
        [
            ((one.name, result), float(count))
            for one in channels
            for result, count in (
                ("sent", one.sent),
                ("failed", one.failed),
                ("dropped", one.dropped),
                ("superseded", one.superseded),
            )
        ],
        ("channel", "result"),
    )
    yield (
        "gauge",
        "holdfast_notification_channel_up",
        "1 if the channel works, 0 if not; absent while nothing was tried.",
        [((one.name,), float(one.is_up)) for one in channels if one.is_up is not None],
        ("channel",),
    )
    yield (
        "gauge",
        "holdfast_notifications_queued",
        "Notices that wait.",
        [((one.name,), float(one.queued)) for one in channels],
        ("channel",),
    )
    yield (
        "gauge",
        "holdfast_notifications_durable",
        "1 if accepted notices outlive a crash.",
        [((), float(is_durable))],
        (),
    )
