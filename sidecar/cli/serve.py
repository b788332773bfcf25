# SPDX-License-Identifier: Apache-2.0
"""``holdfast control`` and ``holdfast gate``: the two processes, as a service manager runs them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import click

from sidecar.cli.command import command, setting
from sidecar.cli.endpoint import published_address
from sidecar.cli.exits import Exit
from sidecar.cli.output import talk
from sidecar.cli.tuning import event_loop_factory, settle_memory, tune_this_process
from sidecar.documents import short
from sidecar.errors import ConfigurationError, UntrustedInputError
from sidecar.identifiers import check_agent_id
from sidecar.safe_paths import ensure_private_directory
from sidecar.settings import Settings

__all__ = ["check_agents", "control", "gate"]

_OWN_DIRECTORY_MODE = 0o711
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@command(
    name="control",
    has_output=False,
    examples=(
        "holdfast control --config /etc/holdfast/holdfast.yaml",
        "holdfast control --dev --state-dir ./state",
    ),
)
@click.option(
    "--dev",
    "is_dev",
    is_flag=True,
    help="Make certificates by itself, use the built-in bundle. Never in production.",
)
@click.option(
    "--accept-policy",
    metavar="DIGEST",
    default="",
    help="Once, if the bundle in force is lost: let this one decide, without a second human.",
)
@setting(
    "state_dir", "runtime_dir", "bundle", "listen", "tls_certificate", "tls_key", "client_ca",
    "ack_timeout_s", "wide_blast_share", "isolation_grace_s", "log_style", "log_level",
    "metrics_listen", "anchor_file", "console_listen", "console_url", "console_certificate",
    "console_key", "oidc_issuer", "oidc_client_id", "oidc_client_secret_file", "notifications",
    "max_pending_approvals", "api_listen", "token_listen",
)  # fmt: skip
def control(is_dev: bool, accept_policy: str, config: Path | None, **flags: Any) -> Exit:
    """Run control until SIGTERM: containment, revocation, policy and audit of this host."""
    if accept_policy and not _DIGEST.fullmatch(accept_policy):
        raise ConfigurationError(
            f"{short(accept_policy)} is no digest of a bundle",
            key="--accept-policy",
            hint="give all 64 hexadecimal digits, as control's message names them",
        )
    settings = Settings.load(flags=flags, config=config, is_dev=is_dev)
    settings.check_for_control(is_dev=is_dev)
    log = _start_logging(settings, "control")
    if is_dev:
        talk("warning: development mode: certificates of our own making; never in production")
    log.info("control starts", settings_digest=settings.digest(), is_dev=is_dev)
    ensure_private_directory(settings.state_dir, _OWN_DIRECTORY_MODE)
    from sidecar.compose.control import run_control

    with published_address(settings.layout, settings.listen):
        asyncio.run(run_control(settings, is_dev=is_dev, accept_policy=accept_policy))
    return Exit.OK


@command(
    name="gate",
    has_output=False,
    examples=(
        "holdfast gate --agent banking",
        "holdfast gate --agent banking --agent travel --gate-id office",
    ),
)
@click.option("--agent", "agents", multiple=True, required=True, help="An agent to serve.")
@setting(
    "state_dir", "runtime_dir", "gate_id", "max_staleness_s", "max_in_flight",
    "outcomes_per_minute", "log_style", "log_level", "metrics_listen", "anchor_file",
)  # fmt: skip
def gate(agents: tuple[str, ...], config: Path | None, **flags: Any) -> Exit:
    """Run a gate until SIGTERM: it answers, for every tool call of its agents, whether it may be."""
    settings = Settings.load(flags=flags, config=config)
    check_agents(agents)
    log = _start_logging(settings, f"gate {settings.gate_name(agents)}")
    log.info("gate starts", settings_digest=settings.digest(), agents=list(agents))
    tune_this_process()
    from sidecar.compose.gate import run_gate

    settle_memory()
    with asyncio.Runner(loop_factory=event_loop_factory()) as runner:
        runner.run(run_gate(settings, agents=agents))
    return Exit.OK


def check_agents(agents: tuple[str, ...]) -> None:
    """Refuse names that no agent can have, and one agent twice.

    Raises:
        ConfigurationError: Naming the flag.
    """
    for agent in agents:
        try:
            check_agent_id(agent)
        except UntrustedInputError as exc:
            raise ConfigurationError(
                f"{short(agent)}: {exc.message}", key="--agent", hint="use the name in agents.yaml"
            ) from exc
    if len(set(agents)) != len(agents):
        raise ConfigurationError("names an agent twice", key="--agent", hint="name it once")


def _start_logging(settings: Settings, process: str) -> Any:
    import structlog

    from sidecar.observe.logging import configure_logging

    configure_logging(style=settings.log_style, level=settings.log_level, process=process)
    return structlog.get_logger("holdfast")
