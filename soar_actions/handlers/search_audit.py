# SPDX-License-Identifier: Apache-2.0
"""search audit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from soar_actions.errors import ActionError, ErrorClass
from soar_actions.handlers.listing import pages, without_empty
from soar_actions.handlers.reading import bytes_of, number, text
from soar_actions.steps import Result, Status, Steps

__all__ = ["search_audit"]


def search_audit(values: Mapping[str, str], _key: str) -> Steps:
    """Return log entries, newest first."""
    items, is_more = yield from pages(
        "AuditService/ListEntries",
        without_empty(
            log=values["log"],
            agent=values["agent"],
            tool=values["tool"],
            decisionId=values["decision_id"],
            kind=values["entry_kind"],
            effect=values["effect"],
            since=values["since"],
            until=values["until"],
        ),
        "entries",
        int(values["limit"]),
    )
    entries = [_entry(item) for item in items]
    log = values["log"] or "control"
    return Result(
        status=Status.SUCCESS,
        summary=f"{len(entries)} entries of log {log}{' and more' if is_more else ''}",
        data={"entries": entries, "count": len(entries), "truncated": is_more},
    )


def _entry(item: Mapping[str, Any]) -> dict[str, Any]:
    try:
        entry = json.loads(bytes_of(item, "json"))
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise ActionError(
            ErrorClass.FAILED,
            f"entry {number(item, 'index')} of log {text(item, 'log')} is no JSON object",
            reason="MALFORMED_ANSWER",
            remedy="run `verify audit log`",
        )
    return {
        "log": text(item, "log"),
        "index": number(item, "index"),
        "kind": str(entry.get("kind", "")),
        "time": str(entry.get("time", "")),
        "entry": entry,
    }
