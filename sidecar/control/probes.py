# SPDX-License-Identifier: Apache-2.0
"""Control's numbers, read when somebody scrapes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sidecar.approvals.service import Approvals
from sidecar.audit.log import AuditLog
from sidecar.containment.service import ContainmentService
from sidecar.control.gates import GateRegistry
from sidecar.latch.writer import LatchWriter
from sidecar.notify.notifier import Notifier
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
        approvals: Approvals,
        notifier: Notifier,
    ) -> None:
        self._service = service
        self._approvals = approvals
        self._notifier = notifier
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
        yield from self._approval_samples()
        yield from self._notifier.samples()

    def _approval_samples(self) -> Iterator[Sample]:
        stats = self._approvals.waits()
        for name, text, value in (
            ("holdfast_approvals_pending", "Requests that wait for humans.", stats.pending),
            ("holdfast_approvals_granted", "Grants that wait for their use.", stats.granted),
            (
                "holdfast_approvals_oldest_wait_seconds",
                "How long the oldest request has waited.",
                stats.oldest_wait_s,
            ),
            (
                "holdfast_approvals_unlogged",
                "Changes of approvals that the log has not taken yet.",
                stats.unlogged,
            ),
        ):
            yield ("gauge", name, text, [((), float(value))], ())
        yield (
            "counter",
            "holdfast_approvals_ended",
            "Requests that ended since control started, by how.",
            [((state.value,), float(count)) for state, count in stats.ended.items()],
            ("state",),
        )
        for name, text, value in (
            ("holdfast_approvals_decided", "Requests that waited no more.", stats.decided_count),
            (
                "holdfast_approvals_decided_wait_seconds",
                "How long those had waited, together.",
                stats.decided_wait_s,
            ),
        ):
            yield ("counter", name, text, [((), float(value))], ())
