# SPDX-License-Identifier: Apache-2.0
"""Evidence about one agent, a page at a time, for somebody who does not trust this host.

Laws:

1. Every entry comes with the way to one signed tree head of its log, the same on every page: the
   token carries the heads that the first page chose.
2. The entries are those of ``tracing``: of control's log what concerns the agent, of a gate's log what
   that gate recorded of an agent it serves or served. They are bytes as they lie in the log, with the
   redaction they have there.
3. A log that cannot be read is an error: evidence with a hole in it is none.
4. A token opens nothing: a head that it carries is taken only with the signature of that log's key.
5. No page leaves before control's log says who took it: the window, the trees, how many entries, and
   their SHA-256. Whoever holds the entries can compute that again, page by page.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from sidecar.api.v1 import audit_pb2
from sidecar.audit.entry import format_time
from sidecar.audit.evidence import items_sha256
from sidecar.audit.export import Extract, extract
from sidecar.audit.index_sqlite import AuditIndex
from sidecar.audit.verify import verify_checkpoint
from sidecar.control.convert import instant_of, timestamp
from sidecar.control.interceptor import caller
from sidecar.control.investigation import window_of
from sidecar.control.logs import HostLogs
from sidecar.control.tracing import Traces, Window
from sidecar.errors import (
    EnvironmentFailure,
    ErrorReason,
    HoldfastError,
    IntegrityError,
    NotFoundError,
    UntrustedInputError,
)
from sidecar.identifiers import CONTROL_LOG, check_agent_id

__all__ = ["KIND", "EvidenceSource"]

KIND: Final = "evidence"
_VERSION: Final = 1
_DEFAULT_PAGE: Final = 200
_MAX_PAGE: Final = 500
_MAX_LOOKED_AT: Final = 5_000
_MAX_TOKEN: Final = 256 * 1024
_MAX_INTEGER: Final = 2**63 - 1
_REMEDY: Final = "verify the logs: holdfast audit verify"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tree:
    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a page begins: the window, the heads of the logs that are left, the last entry told."""

    window: Window
    heads: Mapping[str, str]
    after: int

    def token(self, agent: str) -> str:
        body = {
            "v": _VERSION,
            "q": _question(agent),
            "s": self.window.since_ns,
            "u": self.window.until_ns,
            "h": list(self.heads.items()),
            "a": self.after,
        }
        return base64.urlsafe_b64encode(json.dumps(body).encode()).decode("ascii")


class EvidenceSource:
    """Takes evidence out of the logs of this host."""

    def __init__(self, *, logs: HostLogs, traces: Traces) -> None:
        self._logs = logs
        self._traces = traces

    async def export(
        self, request: audit_pb2.ExportEvidenceRequest
    ) -> audit_pb2.ExportEvidenceResponse:
        """Return one page.

        Raises:
            UntrustedInputError: The request is malformed, or its token is of another question.
            NotFoundError: Nobody knows the agent.
            IntegrityError, EnvironmentFailure: A log cannot be read (law 3), or control's not written
                (law 5).
        """
        agent = check_agent_id(request.agent)
        if not 0 <= request.page_size <= _MAX_PAGE:
            raise _invalid(f"page_size must be between 0 and {_MAX_PAGE}")
        window = window_of(self._traces, request)
        self._traces.require(agent)
        try:
            response = await self._page(request, agent, window)
        except NotFoundError as exc:  # law 3; whoever asks must not take it for an unknown agent
            raise IntegrityError(f"{exc.message}: what it held is gone", hint=_REMEDY) from exc
        await self._note(response)
        return response

    async def _page(
        self, request: audit_pb2.ExportEvidenceRequest, agent: str, window: Window
    ) -> audit_pb2.ExportEvidenceResponse:
        if request.page_token:
            place = self._place(request.page_token, agent)
        else:
            names = self._traces.logs_of(agent)
            heads = {name: await self._logs.checkpoint(name) for name in names}
            place = _Place(window=window, heads=heads, after=-1)
        response = audit_pb2.ExportEvidenceResponse(agent=agent)
        response.since.CopyFrom(timestamp(place.window.since_ns))
        response.until.CopyFrom(timestamp(place.window.until_ns))
        trees: dict[str, _Tree] = {}
        for name, checkpoint in place.heads.items():
            trees[name] = await self._tree(name, checkpoint)
            response.heads.add(
                log=name,
                tree_size=trees[name].size,
                checkpoint=checkpoint,
                verifier_key=self._logs.key(name),
            )
        response.next_page_token = await self._fill(
            response, place, trees, limit=request.page_size or _DEFAULT_PAGE
        )
        response.sha256 = items_sha256(
            (item.entry.log, item.entry.index, item.entry.json, item.hashes)
            for item in response.items
        )
        return response

    async def _note(self, page: audit_pb2.ExportEvidenceResponse) -> None:
        """Record that the caller takes *page* (law 5)."""
        operator = caller()
        body: dict[str, Any] = {
            "operator": operator.name,
            "agent": page.agent,
            "since": format_time(instant_of(page.since)),
            "until": format_time(instant_of(page.until)),
            "trees": [{"log": head.log, "size": head.tree_size} for head in page.heads],
            "items": len(page.items),
            "sha256": page.sha256,
            "is_last": not page.next_page_token,
        }
        if operator.token:
            body["api_token"] = operator.token
        try:
            await self._logs.note(KIND, body)
        except (OSError, HoldfastError) as exc:
            raise EnvironmentFailure(
                "control's log did not take the entry that evidence was taken",
                reason=ErrorReason.AUDIT_UNAVAILABLE,
                hint="see control's log directory and its disk, and ask again",
            ) from exc

    async def _fill(
        self,
        response: audit_pb2.ExportEvidenceResponse,
        place: _Place,
        trees: Mapping[str, _Tree],
        *,
        limit: int,
    ) -> str:
        """Add up to *limit* items, all of one log or of several; return the next page's token."""
        left, after = dict(place.heads), place.after
        for name in place.heads:
            found = await self._extract(
                name,
                response.agent,
                place.window,
                after=after,
                tree=trees[name],
                limit=limit - len(response.items),
            )
            for item in found.items:
                response.items.add(
                    entry=audit_pb2.Entry(log=name, index=item.seq, json=item.line),
                    hashes=item.path,
                )
            if not found.is_whole:
                rest = _Place(window=place.window, heads=left, after=found.looked_to)
                return rest.token(response.agent)
            del left[name]
            after = -1
            if left and found.items:  # a page of several logs could be too long for a message
                return _Place(window=place.window, heads=left, after=-1).token(response.agent)
        return ""

    async def _extract(
        self, name: str, agent: str, window: Window, *, after: int, tree: _Tree, limit: int
    ) -> Extract:
        is_own = name == CONTROL_LOG
        wanted = window.filter() if is_own else window.filter(agent=agent)
        concerns = self._traces.concerning(agent)
        _, directory = self._logs.directory(name)

        def keep(fields: Mapping[str, Any]) -> bool:
            return not is_own or concerns(fields)

        def work(index: AuditIndex) -> Extract:
            return extract(
                index, directory, wanted, keep,
                after=after, size=tree.size, root=tree.root, limit=limit, most=_MAX_LOOKED_AT,
            )  # fmt: skip

        return await self._logs.read(name, work)

    async def _tree(self, name: str, checkpoint: str) -> _Tree:
        """Return the tree that *checkpoint* signs (law 4)."""
        key = self._logs.key(name)
        report = await asyncio.to_thread(verify_checkpoint, checkpoint, vkey=key or None)
        if not report.ok:
            what = "; ".join(problem.what for problem in report.problems)
            raise IntegrityError(
                f"the tree head of log {name} does not hold: {what}",
                hint=_REMEDY,
            )
        return _Tree(size=report.size, root=bytes.fromhex(report.root))

    def _place(self, token: str, agent: str) -> _Place:
        known = self._traces.logs_of(agent)
        try:
            if len(token) > _MAX_TOKEN:
                raise _foreign()
            text = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            body = json.loads(text)
            heads = {str(name): str(note) for name, note in body["h"]}
            numbers = [body["s"], body["u"], body["a"]]
            is_ours = body["v"] == _VERSION and body["q"] == _question(agent)
        except (binascii.Error, ValueError, TypeError, KeyError, RecursionError) as exc:
            raise _foreign() from exc
        is_sane = all(type(number) is int and abs(number) <= _MAX_INTEGER for number in numbers)
        if not is_ours or not is_sane or not heads or not set(heads) <= set(known):
            raise _foreign()
        if not 0 <= body["s"] < body["u"] or body["a"] < -1:
            raise _foreign()
        window = Window(since_ns=body["s"], until_ns=body["u"])
        return _Place(window=window, heads=heads, after=body["a"])


def _question(agent: str) -> str:
    return sha256(f"evidence {agent}".encode()).hexdigest()[:16]


def _foreign() -> UntrustedInputError:
    return _invalid("page_token is not one that an earlier answer to this question gave")


def _invalid(message: str) -> UntrustedInputError:
    return UntrustedInputError(message, reason=ErrorReason.INVALID_ARGUMENT)
