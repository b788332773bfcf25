# SPDX-License-Identifier: Apache-2.0
"""Wires investigations and incidents.

Neither may take the kill switch with it: a store of incidents that cannot be opened leaves a control
that does everything else.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import structlog

from sidecar.api.v1 import incident_pb2_grpc, investigation_pb2_grpc
from sidecar.clock import Clock
from sidecar.containment.service import ContainmentService
from sidecar.control.gates import GateRegistry
from sidecar.control.incidents import IncidentServicer
from sidecar.control.investigation import InvestigationServicer
from sidecar.control.logs import HostLogs
from sidecar.control.policies import ControlPolicy
from sidecar.control.tracing import Traces
from sidecar.errors import EnvironmentFailure
from sidecar.ids import RandomIds
from sidecar.incidents.ports import AuditSink, IncidentStore
from sidecar.incidents.service import Incidents, UnusableStore
from sidecar.incidents.store_sqlite import SqliteIncidents
from sidecar.settings import Settings

__all__ = ["Investigating"]

log = structlog.get_logger("holdfast.control")


class Investigating:
    """The servicers that look into what agents did."""

    def __init__(
        self, *, investigation: InvestigationServicer, incidents: IncidentServicer, traces: Traces
    ) -> None:
        self.traces = traces
        self._investigation = investigation
        self._incidents = incidents

    @classmethod
    def open(
        cls,
        settings: Settings,
        stack: AsyncExitStack,
        *,
        logs: HostLogs,
        gates: GateRegistry,
        policy: ControlPolicy,
        service: ContainmentService,
        audit: AuditSink,
        clock: Clock,
    ) -> Investigating:
        """Open the store of incidents, and close it with *stack*."""
        traces = Traces(
            logs=logs, gates=gates, policy=policy, containment=lambda: service.state, clock=clock
        )
        incidents = Incidents(
            store=_open_store(settings.layout.control / "incidents.db", stack),
            audit=audit,
            clock=clock,
            ids=RandomIds(),
        )
        return cls(
            investigation=InvestigationServicer(traces=traces),
            incidents=IncidentServicer(
                incidents=incidents,
                traces=traces,
                containment=service,
                policy_digest=lambda: policy.state.bundle.digest,
            ),
            traces=traces,
        )

    def register(self, server: Any) -> None:
        """Add both servicers to *server*, a gRPC server or ``Routes``."""
        investigation_pb2_grpc.add_InvestigationServiceServicer_to_server(
            self._investigation, server
        )
        incident_pb2_grpc.add_IncidentServiceServicer_to_server(self._incidents, server)


def _open_store(path: Path, stack: AsyncExitStack) -> IncidentStore:
    try:
        store = SqliteIncidents(path)
    except EnvironmentFailure as exc:
        log.error("incidents cannot be kept", problem=str(exc))
        return UnusableStore(exc)
    stack.callback(store.close)
    return store
