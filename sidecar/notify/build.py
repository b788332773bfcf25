# SPDX-License-Identifier: Apache-2.0
"""Makes channels of what the configuration says. The one place that knows every kind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import assert_never

from sidecar.clock import Clock
from sidecar.notify.channel import Channel, Routed
from sidecar.notify.config import (
    ChannelSpec,
    SlackSpec,
    SmtpSpec,
    TeamsSpec,
    WebhookSpec,
    load_notifications,
)
from sidecar.notify.endpoint import Endpoint, tls_context
from sidecar.notify.slack import SlackChannel
from sidecar.notify.smtp import MailServer, SmtpChannel
from sidecar.notify.teams import TeamsChannel
from sidecar.notify.webhook import WebhookChannel

__all__ = ["build_channels", "load_channels"]

_TEAMS_TIMEOUT_S = 10.0  # a workflow takes its time


def load_channels(path: Path, *, clock: Clock) -> tuple[Routed, ...]:
    """Return the channels that the file *path* names.

    Raises:
        DocumentErrors: Naming for every problem file, line, key and remedy.
    """
    return build_channels(load_notifications(path), clock=clock)


def build_channels(specs: Iterable[ChannelSpec], *, clock: Clock) -> tuple[Routed, ...]:
    """Return a channel for each of *specs*."""
    return tuple(Routed(channel=_build(spec, clock), route=spec.route) for spec in specs)


def _build(spec: ChannelSpec, clock: Clock) -> Channel:
    match spec:
        case WebhookSpec():
            return WebhookChannel(
                name=spec.name,
                endpoint=Endpoint(address=spec.address, clock=clock, ca_file=spec.ca_file),
                secrets=spec.secrets,
                clock=clock,
                is_pinged=spec.is_pinged,
            )
        case SmtpSpec():
            server = MailServer(
                host=spec.host,
                port=spec.port,
                security=spec.security,
                tls=tls_context(spec.ca_file),
                user=spec.user,
                password=spec.password,
            )
            return SmtpChannel(
                name=spec.name,
                server=server,
                sender=spec.sender,
                recipients=spec.recipients,
                is_for_approvers=spec.is_for_approvers,
                clock=clock,
            )
        case SlackSpec():
            api = Endpoint(address=spec.api, clock=clock, ca_file=spec.ca_file)
            return SlackChannel(name=spec.name, api=api, token=spec.token, channel=spec.channel)
        case TeamsSpec():
            endpoint = Endpoint(
                address=spec.address,
                clock=clock,
                ca_file=spec.ca_file,
                timeout_s=_TEAMS_TIMEOUT_S,
            )
            return TeamsChannel(name=spec.name, endpoint=endpoint)
        case _:
            assert_never(spec)
