# SPDX-License-Identifier: Apache-2.0
"""The logs: search, one decision, verification, export.

Laws: only ``audit-read`` sees them; what is shown is what the log holds, redacted as it is there; an
export that breaks off ends the connection, so it can never look complete; one verification at a time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from aiohttp import web

from sidecar.audit.reader import EntryFilter
from sidecar.errors import HoldfastError, NotFoundError, UntrustedInputError
from sidecar.web.access import AUDIT_ROLES, require, visitor_of
from sidecar.web.console import Console
from sidecar.web.fields import FieldLine, field_lines
from sidecar.web.ports import Explanation, LogEntry
from sidecar.web.render import iso_text, see_other, wants_json
from sidecar.web.twins import entry_twin, policy_twin

__all__ = ["AuditPages"]

log = structlog.get_logger("holdfast.control")
_PAGE: Final = 50
_MAX_VALUE: Final = 256
_TIMEOUT_S: Final = 3.0
_EQUALITIES: Final = ("agent", "tool", "decision_id", "kind", "effect")
_EFFECTS: Final = ("ALLOW", "DENY", "HOLD")
_HIDDEN: Final = frozenset({"arguments", "v"})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """What the form asks for; ``errors`` by field."""

    wanted: EntryFilter
    log: str
    token: str
    given: dict[str, str]
    errors: dict[str, str]

    def query(self, **more: str) -> str:
        """Return the search as the query of an address."""
        given = {name: value for name, value in self.given.items() if value}
        return urlencode({**given, **more})


class AuditPages:
    """``/audit…`` and ``/decisions/…``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._verifying = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/audit", self.search),
            web.get("/audit/export.jsonl", self.export, allow_head=False),
            web.get("/audit/verify", self.back),
            web.post("/audit/verify", self.verify),
            web.get("/decisions/{id}", self.decision),
        ]

    async def search(self, request: web.Request) -> web.Response:
        """Answer ``GET /audit``."""
        require(visitor_of(request), AUDIT_ROLES)
        return await self._page(request, self._read(request), {})

    async def back(self, request: web.Request) -> web.Response:
        """Answer ``GET /audit/verify``: looking verifies nothing."""
        return see_other("/audit#verify")

    async def verify(self, request: web.Request) -> web.Response:
        """Answer ``POST /audit/verify``."""
        require(visitor_of(request), AUDIT_ROLES)
        if self._verifying.locked():
            raise web.HTTPTooManyRequests(reason="The logs are being verified already.")
        async with self._verifying:
            report = await self._console.ports.audit.verify()
        if wants_json(request):
            logs = [
                {"log": log.log, "ok": log.is_ok, "size": log.size, "detail": log.detail}
                for log in report.logs
            ]
            return web.json_response(
                {"ok": report.is_ok, "time": iso_text(report.time_ns), "logs": logs}
            )
        return await self._console.page(request, "audit_verify.html", {"report": report})

    async def export(self, request: web.Request) -> web.StreamResponse:
        """Answer ``GET /audit/export.jsonl``."""
        require(visitor_of(request), AUDIT_ROLES)
        search = self._read(request)
        if search.errors:
            raise UntrustedInputError("the search is not well-formed")
        lines = self._console.ports.audit.export(search.wanted, log=search.log)
        first = await anext(lines, b"")  # what fails at once becomes a page
        name = f"holdfast-audit-{iso_text(self._console.clock.wall_ns()).replace(':', '')}.jsonl"
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/x-ndjson; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{name}"',
            }
        )
        await response.prepare(request)
        try:
            await response.write(first)
            async for line in lines:
                await response.write(line)
        except ConnectionResetError:
            return response  # the reader is gone
        except Exception:
            # A page cannot follow half a file: the connection ends, so it never looks complete.
            log.exception("export broke off")
            if request.transport is not None:
                request.transport.abort()
            return response
        await response.write_eof()
        return response

    async def decision(self, request: web.Request) -> web.Response:
        """Answer ``GET /decisions/{id}``."""
        require(visitor_of(request), AUDIT_ROLES)
        entries = await self._console.ports.timeline.of_decision(request.match_info["id"])
        if not entries:
            raise NotFoundError(
                "No log that can be read here holds that decision.",
                hint="A decision shows up once a checkpoint covers it, within a second or two.",
            )
        entry, related = entries[0], entries[1:]
        explanation, problem = await self._explain(entry)
        if wants_json(request):
            return web.json_response(
                {
                    "decision": entry_twin(entry),
                    "related": [entry_twin(item) for item in related],
                    "policies": [policy_twin(item) for item in explanation.policies]
                    if explanation
                    else [],
                    "reads": list(explanation.reads) if explanation else [],
                }
            )
        context = {
            "entry": entry,
            "lines": field_lines(entry.fields, without=_HIDDEN),
            "arguments": field_lines(_mapping(entry.fields.get("arguments"))),
            "related": [(item, field_lines(item.fields, without=_HIDDEN)) for item in related],
            "explanation": explanation,
            "problem": problem,
        }
        return await self._console.page(request, "decision.html", context)

    async def _explain(self, entry: LogEntry) -> tuple[Explanation | None, str]:
        tool, named = entry.fields.get("tool"), entry.fields.get("policies")
        policies = [str(item) for item in named] if isinstance(named, list) else []
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                return (
                    await self._console.ports.explain.find(tool=str(tool or ""), policies=policies),
                    "",
                )
        except (HoldfastError, TimeoutError):
            return None, "The policies could not be asked at the moment."

    async def _page(
        self, request: web.Request, search: _Search, errors: dict[str, str]
    ) -> web.Response:
        errors = {**search.errors, **errors}
        entries: tuple[LogEntry, ...] = ()
        next_token = ""
        if not errors:
            page = await self._console.ports.audit.query(
                search.wanted, log=search.log, limit=_PAGE, token=search.token
            )
            entries, next_token = page.entries, page.next_token
        if wants_json(request):
            body = {"entries": [entry_twin(item) for item in entries], "next_token": next_token}
            return web.json_response(
                {**body, "errors": errors} if errors else body, status=400 if errors else 200
            )
        rows = [(item, _line(item)) for item in entries]
        context = {
            "rows": rows,
            "search": search,
            "errors": errors,
            "logs": self._console.ports.audit.logs(),
            "effects": _EFFECTS,
            "next_url": f"/audit?{search.query(token=next_token)}" if next_token else "",
            "export_url": f"/audit/export.jsonl?{search.query()}",
            "has_search": any(search.given.values()),
            "is_first": not search.token,
        }
        return await self._console.page(
            request, "audit.html", context, status=400 if errors else 200
        )

    def _read(self, request: web.Request) -> _Search:
        query = request.query
        errors: dict[str, str] = {}
        given = {
            name: query.get(name, "").strip() for name in (*_EQUALITIES, "log", "since", "until")
        }
        for name, value in given.items():
            if len(value) > _MAX_VALUE or len(query.getall(name, [])) > 1:
                errors[name] = f"At most {_MAX_VALUE} characters, once."
                given[name] = ""
        if given["log"] and given["log"] not in self._console.ports.audit.logs():
            errors["log"] = "There is no log of that name here."
        times = {name: _time(name, given, errors) for name in ("since", "until")}
        values: dict[str, Any] = {name: given[name] or None for name in _EQUALITIES}
        return _Search(
            wanted=EntryFilter(**values, since=times["since"], until=times["until"]),
            log=given["log"] if "log" not in errors else "",
            token=query.get("token", "")[:_MAX_VALUE],
            given=given,
            errors=errors,
        )


def _time(name: str, given: dict[str, str], errors: dict[str, str]) -> datetime | None:
    """Return the time that a field says; without a zone it is UTC, as everything here."""
    if not given[name]:
        return None
    try:
        moment = datetime.fromisoformat(given[name])
    except ValueError:
        errors[name] = "Write a time as 2026-11-22T16:58, in UTC."
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _line(entry: LogEntry) -> tuple[FieldLine, ...]:
    known = {
        "v",
        "seq",
        "time",
        "boot_ns",
        "origin",
        "kind",
        "agent",
        "tool",
        "effect",
        "arguments",
    }
    return field_lines(entry.fields, without=frozenset(known))
