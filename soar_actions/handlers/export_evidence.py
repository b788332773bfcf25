# SPDX-License-Identifier: Apache-2.0
"""export evidence."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from soar_actions.handlers.listing import without_empty
from soar_actions.handlers.reading import malformed, message, messages, text
from soar_actions.steps import Call, Result, Status, Steps

__all__ = ["export_evidence"]

_PAGE: Final = 500


def export_evidence(values: Mapping[str, str], _key: str) -> Steps:
    """Return what was recorded of an agent, with the proofs; PARTIAL if there is more than asked.

    ``evidence`` holds control's answers as they came, because that is what the proofs are of.
    """
    limit = int(values["limit"])
    answers: list[Mapping[str, Any]] = []
    count, token = 0, ""
    while True:
        body = {
            "agent": values["agent"],
            **without_empty(since=values["since"], until=values["until"], pageToken=token),
            "pageSize": min(_PAGE, limit - count),
        }
        answer = yield Call("AuditService/ExportEvidence", body, patience_s=15.0)
        if not text(answer, "until"):  # control always says of which window it is, also of nothing
            raise malformed("until")
        answers.append(answer)
        got = len(messages(answer, "items"))
        count += got
        token = text(answer, "nextPageToken")
        if not token or not got or count >= limit:
            break
    evidence = {"agent": values["agent"], "pages": answers}
    canonical = json.dumps(evidence, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    heads = {text(head, "log"): head for page in answers for head in messages(page, "heads")}
    logs = sorted(
        {
            text(message(item, "entry"), "log")
            for page in answers
            for item in messages(page, "items")
        }
    )
    said = f"{count} entries of {len(logs)} logs about agent {values['agent']}, with proofs"
    if token:
        said += "; NOT all: the window holds more"
    return Result(
        status=Status.PARTIAL if token else Status.SUCCESS,
        summary=said,
        data={
            "evidence": evidence,
            "sha256": hashlib.sha256(canonical.encode()).hexdigest(),
            "page_sha256": [text(page, "sha256") for page in answers],
            "count": count,
            "logs": logs,
            "checkpoints": [
                {"log": log, "checkpoint": text(head, "checkpoint")}
                for log, head in sorted(heads.items())
            ],
            "since": text(answers[0], "since"),
            "until": text(answers[0], "until"),
            "truncated": bool(token),
        },
    )
