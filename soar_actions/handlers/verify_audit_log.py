# SPDX-License-Identifier: Apache-2.0
"""verify audit log."""

from __future__ import annotations

from collections.abc import Mapping

from soar_actions.handlers.listing import without_empty
from soar_actions.handlers.reading import flag, messages, number, text, texts
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["verify_audit_log"]


def verify_audit_log(values: Mapping[str, str], _key: str) -> Steps:
    """Have logs verified from their files; FAILED on anything but a full pass of at least one."""
    answer = yield Call(
        "AuditService/VerifyLogs", without_empty(log=values["log"]), patience_s=45.0
    )
    reports = [
        {
            "log": text(report, "log"),
            "ok": flag(report, "ok"),
            "size": number(report, "size"),
            "problems": texts(report, "problems"),
            "checkpoint": text(report, "checkpoint"),
        }
        for report in messages(answer, "reports")
    ]
    bad = [report["log"] for report in reports if not report["ok"]]
    is_ok = flag(answer, "ok") and bool(reports) and not bad
    if is_ok:
        said = f"{len(reports)} logs are whole: every entry, hash and signature"
    else:
        said = f"NOT verified: {', '.join(map(str, bad)) or 'no log was looked at'}"
    return Result(
        status=Status.SUCCESS if is_ok else Status.FAILED,
        summary=said,
        data={"ok": is_ok, "reports": reports, "verify_time": text(answer, "verifyTime")},
    )
