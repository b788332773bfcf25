# SPDX-License-Identifier: Apache-2.0
"""What a runner is: one platform's own way to run an action, as the conformance matrix calls it.

A runner hands the action to the platform's runner or SDK and reads the outcome from what *that*
reports. It never looks at our result behind the platform's back: if a platform turns a failure into
a success, the matrix must see a success.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

__all__ = ["Asset", "Outcome", "Runner"]


@dataclass(frozen=True)
class Asset:
    """What an administrator types into the platform to reach control; certificates are PEM texts."""

    endpoint: str
    api_token: str = field(default="", repr=False)
    ca_certificate: str = ""
    client_certificate: str = ""
    client_key: str = field(default="", repr=False)
    timeout_seconds: str = "10"

    def settings(self) -> dict[str, str]:
        """Return what is set, by the names that the actions know."""
        return {name: value for name, value in vars(self).items() if value}


@dataclass(frozen=True)
class Outcome:
    """How one action ended, as the platform tells it.

    Attributes:
        status: ``SUCCESS``, ``PENDING``, ``PARTIAL`` or ``FAILED``, read from the platform's result.
        reason: Control's or our stable code for why it failed, wherever the platform carries it.
        error_class: ``BAD_INPUT``, ``NOT_FOUND``, ``CONFLICT``, ``REFUSED``, ``UNAVAILABLE``,
            ``FAILED``; empty if it did not fail.
        is_retryable: Whether the platform was told that trying again can help; None if nowhere.
        data: The result's data as a playbook on the platform sees it.
        native: Everything that the platform printed, returned or stored, to search for secrets.
    """

    status: str
    reason: str = ""
    error_class: str = ""
    is_retryable: bool | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    native: str = ""


class Runner(Protocol):
    """Runs actions on one platform.

    Attributes:
        platform: The platform's folder below ``soar_actions/platforms``.
        runner: The platform's entry point with versions: ``splunk-soar-sdk 2.3.7 on Python 3.11:
            app.handle``.
        is_stand_in: Whether a stand-in of ours takes the place of the platform's library.
    """

    platform: str
    runner: str
    is_stand_in: bool

    def unavailable(self) -> str:
        """Return why it cannot be run on this machine; empty if it can."""

    def versions(self) -> Mapping[str, str]:
        """Return what it runs on: library or interpreter, and its version."""

    def run(self, slug: str, parameters: Mapping[str, str], *, asset: Asset, key: str) -> Outcome:
        """Run an action to its end, as a playbook on the platform would.

        Args:
            slug: The action: ``contain-agent``.
            parameters: As the playbook gives them.
            asset: What the administrator configured.
            key: What stands for the playbook's run: the same run, action and parameters must make
                the same idempotency key. Runners hand it to the platform as the run's identity
                where they can, and as the parameter ``idempotency_key`` of changing actions
                otherwise. A key among *parameters* wins: it is handed on as it is.
        """
