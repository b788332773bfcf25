# SPDX-License-Identifier: Apache-2.0
"""An approval, as data for ``--json`` and as text for the human who must decide.

Laws:

1. The text has the order of the console's page: one sentence; state, tier, deadline, votes, who may
   decide; exactly what will run; why it is held; the link; earlier votes; what came of it.
2. What will run is shown whole, from the canonical bytes and nothing else. White space is put
   between their tokens; no token is parsed and written again, so none can change on the way. Texts
   of several lines are shown once more below it, line by line, each behind a bar.
3. What is shown must hash to the fingerprint. If it does not, that is said, and nothing is granted.
4. Digits and words of the fingerprint are computed here, not taken from the answer.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, Final

from sidecar.api.v1 import approval_pb2
from sidecar.canonical import fingerprint_words
from sidecar.cli.output import Page
from sidecar.cli.terminal import escape
from sidecar.cli.views import enum_name, remaining_text, time_text

__all__ = [
    "approval_data",
    "pretty_canonical",
    "problem_of",
    "show_approval",
    "show_brief",
    "state_name",
    "words_of",
]

Approval = approval_pb2.Approval
_PARTS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^"{}\[\],:]+', re.DOTALL)
_INDENT: Final = "  "
_LIVE: Final = {Approval.STATE_PENDING, Approval.STATE_GRANTED}
_NO_WORDS: Final = "(this is no fingerprint)"


def state_name(approval: approval_pb2.Approval) -> str:
    """Return ``PENDING``, …."""
    return enum_name(Approval.State, approval.state, "STATE_")


def words_of(fingerprint: str) -> str:
    """Return what people compare, or that there is nothing to compare."""
    try:
        return fingerprint_words(fingerprint)
    except ValueError:
        return _NO_WORDS


def problem_of(approval: approval_pb2.Approval) -> str:
    """Return what is wrong with what control shows, in one sentence; empty if nothing is (law 3)."""
    if words_of(approval.fingerprint) == _NO_WORDS:
        return "control names no fingerprint"
    if approval.canonical and sha256(approval.canonical).hexdigest() != approval.fingerprint:
        return "what control shows is not what the fingerprint names"
    return ""


def approval_data(approval: approval_pb2.Approval) -> dict[str, Any]:
    """Return *approval* as data; ``canonical_text`` is the JSON text of ``canonical``."""
    canonical = bytes(approval.canonical)
    return {
        "name": approval.name,
        "state": state_name(approval),
        "summary": approval.summary,
        "tier": approval.tier,
        "create_time": time_text(approval.create_time),
        "expire_time": time_text(approval.expire_time),
        "end_time": time_text(approval.end_time),
        "fingerprint": approval.fingerprint,
        "fingerprint_words": words_of(approval.fingerprint),
        "canonical": base64.b64encode(canonical).decode() or None,
        "canonical_text": canonical.decode(errors="backslashreplace") or None,
        "agent": approval.agent or None,
        "session": approval.session or None,
        "tool": approval.tool or None,
        "requester": approval.requester or None,
        "operation": approval.operation or None,
        "reason": approval.reason,
        "policies": list(approval.policies),
        "policy_digest": approval.policy_digest,
        "epoch": approval.epoch,
        "decision_id": approval.decision_id or None,
        "consuming_decision_id": approval.consuming_decision_id or None,
        "approver_role": approval.approver_role,
        "approvers": list(approval.approvers),
        "quorum": approval.quorum,
        "passkey_required": approval.passkey_required,
        "reason_required": approval.reason_required,
        "passkey_challenge": base64.b64encode(approval.passkey_challenge).decode() or None,
        "votes": [
            {
                "operator": vote.operator,
                "verdict": _verdict(vote),
                "reason": vote.reason,
                "create_time": time_text(vote.create_time),
                "signed": vote.signed,
                "channel": vote.channel,
            }
            for vote in approval.votes
        ],
        "url": approval.url or None,
        "detail": approval.detail or None,
        "folded_count": approval.folded_count,
    }


def _verdict(vote: approval_pb2.Approval.Vote) -> str:
    return enum_name(Approval.Verdict, vote.verdict, "VERDICT_")


def show_brief(page: Page, approval: approval_pb2.Approval, *, now_ns: int) -> None:
    """Show *approval* in a list: names are never cut or folded, so that they can be copied."""
    parts = [approval.name, state_name(approval), approval.tier]
    if approval.state in _LIVE:
        parts.append(remaining_text(approval.expire_time, now_ns=now_ns))
    parts.append(_grants(approval))
    page.line("  ".join(parts))
    page.line(f"    {approval.summary}")


def show_approval(page: Page, approval: approval_pb2.Approval, *, now_ns: int) -> None:
    """Show all of *approval*, in the order in which a human decides (law 1)."""
    page.line(approval.summary, style="bold")
    page.line()
    page.fields(_standing(approval, now_ns=now_ns))
    page.line()
    _show_call(page, approval)
    page.line()
    page.fields(
        [
            ("why held", approval.reason or "-"),
            ("by policy", ", ".join(approval.policies) or "-"),
            ("bundle", f"{approval.policy_digest or '-'}, epoch {approval.epoch}"),
            ("decide at", approval.url or "control has no console"),
        ]
    )
    if approval.votes:
        page.line()
        page.table(
            ("TIME", "OPERATOR", "VERDICT", "BY", "PASSKEY", "REASON"),
            [
                (
                    time_text(vote.create_time) or "-",
                    vote.operator,
                    _verdict(vote),
                    vote.channel,
                    "signed" if vote.signed else "-",
                    vote.reason or "-",
                )
                for vote in approval.votes
            ],
        )
    if approval.state != Approval.STATE_PENDING:
        page.line()
        page.fields(_result(approval))


def _standing(approval: approval_pb2.Approval, *, now_ns: int) -> Iterator[tuple[str, object]]:
    yield "approval", approval.name
    yield "state", state_name(approval)
    yield "tier", approval.tier
    if approval.state in _LIVE:
        what = "refused by itself" if approval.state == Approval.STATE_PENDING else "grant lapses"
        left = remaining_text(approval.expire_time, now_ns=now_ns)
        yield what, f"{time_text(approval.expire_time) or '-'} ({left})"
    yield "votes", _grants(approval) + _conditions(approval)
    if approval.state == Approval.STATE_PENDING:
        who = ", ".join(approval.approvers) or "nobody"
        yield "may decide", f"{who} (role {approval.approver_role})"
    if approval.agent:
        yield "asked by", f"agent {approval.agent}, session {approval.session or '-'}"
    else:
        yield "asked by", approval.requester or "-"
    yield "asked at", time_text(approval.create_time) or "-"
    if approval.folded_count:
        yield "asked again", f"{approval.folded_count} times for the identical call"


def _grants(approval: approval_pb2.Approval) -> str:
    granted = [v.operator for v in approval.votes if v.verdict == Approval.VERDICT_GRANT]
    by = f" (by {', '.join(granted)})" if granted else ""
    return f"{len(granted)} of {approval.quorum} granted{by}"


def _conditions(approval: approval_pb2.Approval) -> str:
    needed = [
        word
        for word, is_needed in (
            ("a reason", approval.reason_required),
            ("a passkey", approval.passkey_required),
        )
        if is_needed
    ]
    return f"; each needs {' and '.join(needed)}" if needed else ""


def _show_call(page: Page, approval: approval_pb2.Approval) -> None:
    if not approval.canonical:
        who = f"members of the role {approval.approver_role}"
        kept = "" if approval.state in _LIVE else ", and not kept for ever"
        page.line(f"what would run is shown to {who} only{kept}")
        page.line(f"fingerprint  {words_of(approval.fingerprint)}")
        return
    text = bytes(approval.canonical).decode(errors="backslashreplace")
    lines = pretty_canonical(text)
    page.line(f"exactly what would run ({len(approval.canonical)} bytes, {len(lines)} lines):")
    page.block("\n".join(f"{_INDENT}{line}" for line in lines))
    for path, rows in _texts_in(text):
        page.line(f"{path}, line by line:")
        page.block("\n".join(f"{_INDENT}│ {row}" for row in rows))
    hidden = sum(escape(char) != char for char in text) if escape(text) != text else 0
    if hidden:
        page.mark(None, f"{hidden} characters that cannot be seen are written as \\u{{…}}")
    page.line(f"fingerprint  {words_of(approval.fingerprint)}")
    problem = problem_of(approval)
    if problem:
        page.mark(False, f"{problem}: do not grant this")


def pretty_canonical(text: str) -> list[str]:
    """Return the JSON *text* as indented lines that hold every one of its tokens (law 2).

    Each line is escaped, so that a line break inside a token cannot pass for one of ours.
    """
    parts = _PARTS.findall(text)
    if "".join(parts) != text:
        return [escape(text)]
    lines: list[str] = []
    line, depth, previous = "", 0, ""
    for part in parts:
        if part in ("}", "]"):
            depth = max(0, depth - 1)
        if _is_break(previous, part):
            lines.append(line)
            line = _INDENT * depth
        line += ": " if part == ":" else escape(part)
        if part in ("{", "["):
            depth += 1
        previous = part
    return [*lines, line]


def _texts_in(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield place and lines of every string in *text* that has several; each line is escaped."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    waiting: list[tuple[str, Any]] = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            waiting += [(f"{path}.{key}", item) for key, item in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(f"{path}[{at}]", value[at]) for at in reversed(range(len(value)))]
        elif isinstance(value, str) and "\n" in value:
            yield path.removeprefix("."), [escape(row) for row in value.split("\n")]


def _is_break(previous: str, part: str) -> bool:
    if previous in ("{", "["):
        return part not in ("}", "]")
    return previous == "," or (part in ("}", "]") and previous != "")


def _result(approval: approval_pb2.Approval) -> Iterator[tuple[str, object]]:
    yield "result", approval.detail or state_name(approval)
    if approval.HasField("end_time"):
        yield "at", time_text(approval.end_time) or "-"
    if approval.consuming_decision_id:
        yield "used by", f"decision {approval.consuming_decision_id}"
    if approval.operation:
        yield "carried out", f"see `holdfast operations show {approval.operation}`"
