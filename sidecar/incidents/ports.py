# SPDX-License-Identifier: Apache-2.0
"""What incidents need from others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from sidecar.incidents.values import Incident

__all__ = ["AuditSink", "IncidentStore", "Position"]


class Position(Protocol):
    """Where an entry stands."""

    @property
    def index(self) -> int:
        """Its number in control's log."""


class AuditSink(Protocol):
    """Control's log."""

    async def append(self, kind: str, body: Mapping[str, Any]) -> Position:
        """Return where *body* stands, once it is durable."""


class IncidentStore(Protocol):
    """Keeps incidents; every method blocks, and what changes something is durable when it returns.

    Every method raises ``EnvironmentFailure`` if the store cannot be used.
    """

    def find_request(self, request_id: str) -> tuple[str, str] | None:
        """Return (fingerprint, incident id) of the order that used *request_id*."""

    def get(self, incident_id: str) -> Incident | None:
        """Return one incident."""

    def list(
        self,
        *,
        limit: int,
        before_seq: int | None,
        agents: Collection[str],
        open_only: bool,
    ) -> Sequence[Incident]:
        """Return incidents without their documents, newest first; of *agents*, or of all."""

    def insert(self, incident: Incident, *, request_id: str, fingerprint: str) -> bool:
        """Keep a new incident and the order that opened it; False if the request id is used."""

    def replace(
        self, incident: Incident, *, version: int, request_id: str, fingerprint: str
    ) -> bool:
        """Swap *incident* for what was read as *version*; False if it, or the request id, moved."""

    def close(self) -> None:
        """Let go of the file."""
