# SPDX-License-Identifier: Apache-2.0
"""Reads and proves the logs of this host: control's own and its gates'.

Laws:

1. Every read of the disk happens off the event loop.
2. Logs are verified by the offline verifier, one at a time: whoever asks often waits, and nobody else
   waits for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf import timestamp_pb2

from sidecar.api.v1 import audit_pb2, audit_pb2_grpc
from sidecar.audit.log import AuditLog
from sidecar.audit.reader import (
    EntryFilter,
    checkpoint_text,
    consistency_proof,
    inclusion_proof,
    read_entries,
    signed_size,
)
from sidecar.clock import Clock
from sidecar.control.convert import timestamp
from sidecar.control.evidence import EvidenceSource
from sidecar.control.gates import GateRegistry
from sidecar.control.logs import HostLogs
from sidecar.errors import (
    ErrorReason,
    HoldfastError,
    NotFoundError,
    UntrustedInputError,
)
from sidecar.identifiers import CONTROL_LOG

__all__ = ["AuditServicer"]

_T = TypeVar("_T")
_MAX_PAGE = 1000
_MAX_PROBLEMS = 10


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Answers ``AuditService``.

    Args:
        audit: Control's own log.
        logs: The logs of this host.
        gates: The gates that wrote the others.
        evidence: Takes evidence out of them.
        clock: Time.
    """

    def __init__(
        self,
        *,
        audit: AuditLog,
        logs: HostLogs,
        gates: GateRegistry,
        evidence: EvidenceSource,
        clock: Clock,
    ) -> None:
        self._audit = audit
        self._logs = logs
        self._gates = gates
        self._evidence = evidence
        self._clock = clock
        self._verifying = asyncio.Lock()

    async def ListEntries(  # noqa: N802 - the names are the proto's
        self, request: audit_pb2.ListEntriesRequest, context: grpc.aio.ServicerContext
    ) -> audit_pb2.ListEntriesResponse:
        """List entries, newest first."""
        log, _directory = self._logs.directory(request.log)
        if not 0 <= request.page_size <= _MAX_PAGE:
            raise _invalid(f"page_size must be between 0 and {_MAX_PAGE}")
        wanted = EntryFilter(
            agent=request.agent or None,
            tool=request.tool or None,
            decision_id=request.decision_id or None,
            kind=request.kind or None,
            effect=request.effect or None,
            since=_moment(request.since) if request.HasField("since") else None,
            until=_moment(request.until) if request.HasField("until") else None,
        )
        page = await self._logs.query(
            wanted, log=log, limit=request.page_size or 100, page_token=request.page_token
        )
        return audit_pb2.ListEntriesResponse(
            entries=[
                audit_pb2.Entry(log=log, index=entry.seq, json=entry.line) for entry in page.entries
            ],
            next_page_token=page.next_page_token,
        )

    async def GetCheckpoint(  # noqa: N802
        self, request: audit_pb2.GetCheckpointRequest, context: grpc.aio.ServicerContext
    ) -> audit_pb2.GetCheckpointResponse:
        """Return a tree head that covers every durable entry."""
        log, directory = self._logs.directory(request.log)
        if log == CONTROL_LOG:
            return audit_pb2.GetCheckpointResponse(
                checkpoint=await self._audit.checkpoint(), verifier_key=self._audit.vkey
            )
        gate = self._gates.known(log)
        return audit_pb2.GetCheckpointResponse(
            checkpoint=await self._read(checkpoint_text, directory),
            verifier_key=gate.verifier_key if gate else "",
        )

    async def GetInclusionProof(  # noqa: N802
        self, request: audit_pb2.GetInclusionProofRequest, context: grpc.aio.ServicerContext
    ) -> audit_pb2.GetInclusionProofResponse:
        """Prove that an entry is in the tree."""
        log, directory = self._logs.directory(request.log)

        def read() -> audit_pb2.GetInclusionProofResponse:
            checkpoint = "" if request.tree_size else checkpoint_text(directory)
            size = request.tree_size or signed_size(directory)
            entries = read_entries(directory, request.index, 1)
            if not entries or request.index >= size:
                raise NotFoundError(f"the tree of {size} entries has no entry {request.index}")
            return audit_pb2.GetInclusionProofResponse(
                entry=audit_pb2.Entry(log=log, index=request.index, json=entries[0].line),
                tree_size=size,
                hashes=inclusion_proof(directory, request.index, size),
                checkpoint=checkpoint,
            )

        return await self._read(read)

    async def GetConsistencyProof(  # noqa: N802
        self, request: audit_pb2.GetConsistencyProofRequest, context: grpc.aio.ServicerContext
    ) -> audit_pb2.GetConsistencyProofResponse:
        """Prove that a tree extends an earlier one."""
        _log, directory = self._logs.directory(request.log)

        def read() -> audit_pb2.GetConsistencyProofResponse:
            checkpoint = "" if request.second_tree_size else checkpoint_text(directory)
            second = request.second_tree_size or signed_size(directory)
            return audit_pb2.GetConsistencyProofResponse(
                second_tree_size=second,
                hashes=consistency_proof(directory, request.first_tree_size, second),
                checkpoint=checkpoint,
            )

        return await self._read(read)

    async def VerifyLogs(  # noqa: N802
        self, request: audit_pb2.VerifyLogsRequest, context: grpc.aio.ServicerContext
    ) -> audit_pb2.VerifyLogsResponse:
        """Verify one log, or all of them, from their files (law 2)."""
        names = [self._logs.directory(request.log)[0]] if request.log else self._logs.names()
        async with self._verifying:
            reports = [await self._verified(name) for name in sorted(names)]
        response = audit_pb2.VerifyLogsResponse(
            reports=reports, ok=all(report.ok for report in reports)
        )
        response.verify_time.CopyFrom(timestamp(self._clock.wall_ns()))
        return response

    async def _verified(self, name: str) -> audit_pb2.VerifyLogsResponse.Report:
        checkpoint = ""
        try:
            checkpoint = await self._logs.checkpoint(name)
            report = await self._logs.verify(name, held=[checkpoint])
        except (HoldfastError, OSError) as exc:
            what = exc.message if isinstance(exc, HoldfastError) else "the log cannot be read"
            return audit_pb2.VerifyLogsResponse.Report(
                log=name, ok=False, problems=[what], checkpoint=checkpoint
            )
        return audit_pb2.VerifyLogsResponse.Report(
            log=name,
            ok=report.ok,
            size=report.size,
            problems=[
                f"{problem.what}{'' if problem.index is None else f' (entry {problem.index})'}"
                for problem in report.problems[:_MAX_PROBLEMS]
            ],
            checkpoint=checkpoint,
        )

    async def ExportEvidence(  # noqa: N802
        self, request: audit_pb2.ExportEvidenceRequest, context: grpc.aio.ServicerContext
    ) -> audit_pb2.ExportEvidenceResponse:
        """Return what was recorded of an agent, each entry with its proof."""
        return await self._evidence.export(request)

    async def _read(self, read: Callable[..., _T], *arguments: Path) -> _T:
        try:
            return await asyncio.to_thread(read, *arguments)
        except ValueError as exc:
            raise _invalid(str(exc)) from exc


def _moment(message: timestamp_pb2.Timestamp) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as exc:
        raise _invalid("since and until must be times between the years 1 and 9999") from exc


def _invalid(message: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT)
