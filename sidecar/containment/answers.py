# SPDX-License-Identifier: Apache-2.0
"""What the containment service needs from outside, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sidecar.containment.events import RevocationRule
from sidecar.containment.history import DirectiveEntry
from sidecar.containment.receipt import SignedReceipt
from sidecar.model import Directive

__all__ = [
    "AuditPosition",
    "AuditSink",
    "ContainmentAnswer",
    "ContainmentHealth",
    "ContainmentPreview",
    "DirectivePage",
    "ReleaseAnswer",
    "RevocationAnswer",
    "ServiceLimits",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPosition:
    """Where an entry is in control's log, and the signed checkpoint that covers it."""

    index: int
    checkpoint: str


class AuditSink(Protocol):
    """Control's log."""

    async def append(self, kind: str, body: Mapping[str, Any]) -> AuditPosition:
        """Return where the entry is, once it is durable.

        Raises:
            EnvironmentFailure: It is not.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceLimits:
    """How long one order may wait for others, in seconds.

    Attributes:
        ack_timeout_s: For the gates, before they are called laggards.
        durable_timeout_s: For the disk, before a receipt says "not durable (yet)".
        audit_timeout_s: For the log, before a receipt says that it was unavailable.
        unstable_clock_s: Nothing is released for so long after the wall clock stepped.
        max_clock_step_s: Less than this is no step.
    """

    ack_timeout_s: float = 1.0
    durable_timeout_s: float = 1.0
    audit_timeout_s: float = 1.0
    unstable_clock_s: float = 60.0
    max_clock_step_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentAnswer:
    """A containment, proved as far as it can be proved now.

    ``approval`` names the request for a human decision, if other humans had to agree to it.
    """

    receipt: SignedReceipt
    is_repeated: bool
    approval: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentPreview:
    """What an order would reach.

    Attributes:
        agents: Those it reaches, as far as they are known.
        is_wide: More of the fleet than one hand may reach.
        protected: The protected agents among them.
        is_consent_needed: Whether the caller may order it only with the consent of another human.
        unknown: Agents that the target names and that nothing declares or serves.
    """

    agents: tuple[str, ...]
    is_wide: bool
    protected: tuple[str, ...] = ()
    is_consent_needed: bool = False
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseAnswer:
    """A release. ``remaining`` are directives that still hold agents of the same target."""

    entry: DirectiveEntry
    epoch: int
    remaining: tuple[Directive, ...]
    is_repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationAnswer:
    """A revocation. ``laggards`` are gates that had not acknowledged it in time."""

    rule: RevocationRule
    laggards: tuple[str, ...]
    is_repeated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectivePage:
    """Directives, newest first. ``next_before_epoch`` is None on the last page.

    ``is_complete`` is False if the history could not be read: ended directives are missing.
    """

    entries: tuple[DirectiveEntry, ...]
    next_before_epoch: int | None
    epoch: int
    is_complete: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainmentHealth:
    """How containment is. Anything but ``is_ready`` with an empty ``problems`` needs a look."""

    is_ready: bool
    is_sealed: bool
    epoch: int
    problems: tuple[str, ...]
