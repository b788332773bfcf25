# SPDX-License-Identifier: Apache-2.0
"""Control's numbers, read when somebody scrapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sidecar.audit.log import AuditLog
from sidecar.containment.service import ContainmentService
from sidecar.control.gates import GateRegistry
from sidecar.latch.writer import LatchWriter
from sidecar.observe.metrics import Sample

__all__ = ["ControlMetrics"]


class ControlMetrics:
    """Collects the samples of control."""

    def __init__(
        self,
        *,
        service: ContainmentService,
        writer: LatchWriter,
        audit: AuditLog,
        gates: GateRegistry,
    ) -> None:
        self._service = service
        self._writer = writer
        self._audit = audit
        self._gates = gates

    def samples(self) -> Iterator[Sample]:
        """Yield every sample as of now."""
        levels = Counter(directive.level.name for directive in self._service.state.directives)
        yield (
            "gauge",
            "holdfast_directives",
            "Standing directives.",
            [((level,), float(count)) for level, count in levels.items()],
            ("level",),
        )
        for name, text, value in (
            ("holdfast_epoch", "Containment epoch.", self._writer.epoch),
            ("holdfast_latch_sealed", "1 if the latch denies everything.", self._writer.is_sealed),
            ("holdfast_gates_connected", "Connected gates.", len(self._gates.connected())),
            ("holdfast_audit_healthy", "1 if the log takes entries.", self._audit.is_healthy),
            ("holdfast_audit_entries", "Entries in the log.", self._audit.size),
        ):
            yield ("gauge", name, text, [((), float(value))], ())
