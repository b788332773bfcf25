# SPDX-License-Identifier: Apache-2.0
"""How the console is reached. Built by the composition root from settings; checked here once more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from sidecar.errors import ConfigurationError

__all__ = ["MAX_BODY_BYTES", "ConsoleConfig"]

MAX_BODY_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleConfig:
    """Where the console is, and what bounds it.

    Attributes:
        origin: The one origin that browsers know it by, ``https://holdfast.example``; no path.
        allowed_hosts: ``Host`` values that are answered; empty means only that of ``origin``. A name
            that is not here is refused, so a page of another name cannot be rebound to us.
        instance: What this installation is called, in the page's title; may be empty.
        is_dev: Shows a banner that nobody can miss.
        state_directory: Where the logs lie on control's host, for the commands that pages show.
        login_max_age_s: A grant at HIGH or above without a passkey needs a login this young.

    Raises:
        ConfigurationError: ``origin`` is not an origin.
    """

    origin: str
    allowed_hosts: frozenset[str] = frozenset()
    instance: str = ""
    is_dev: bool = False
    state_directory: str = "/var/lib/holdfast"
    login_max_age_s: int = 300
    event_heartbeat_s: float = 15.0
    max_event_streams: int = 256
    max_event_streams_per_session: int = 4
    read_gate_bytes: int = 8 * 1024
    """Content longer than this cannot be granted before its end was shown, at any tier."""
    read_gate_lines: int = 60
    hosts: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.origin)
        if (
            parts.scheme not in ("http", "https")
            or f"{parts.scheme}://{parts.netloc}" != self.origin
        ):
            raise ConfigurationError(
                "is not an origin such as https://holdfast.example",
                key="console_url",
                hint="scheme and host (and port), nothing after it",
            )
        hosts = self.allowed_hosts or frozenset({parts.netloc})
        object.__setattr__(self, "hosts", frozenset(host.lower() for host in hosts))

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach it over TLS."""
        return self.origin.startswith("https://")
