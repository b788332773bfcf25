# SPDX-License-Identifier: Apache-2.0
"""``holdfast audit``: have control verify its logs, take evidence out, and check evidence offline."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from sidecar.api.v1 import audit_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import command
from sidecar.cli.exits import Exit
from sidecar.cli.keyfiles import read_input, verifier_key
from sidecar.cli.output import Page, emit
from sidecar.cli.views import entry_time, time_text
from sidecar.cli.windows import set_window, windowed
from sidecar.errors import EnvironmentFailure, ErrorReason, IntegrityError, UntrustedInputError

__all__ = ["check_evidence_", "evidence", "verify_server"]

_FILE = click.Path(path_type=Path, allow_dash=True)
_MAX_EVIDENCE: Final = 512 * 1024 * 1024
_MAX_REST: Final = 1024 * 1024
"""What a file of evidence may hold beside its items."""
_INDENT: Final = 4
"""What a line of an item gains in the file, at most."""
_VERIFYING_S: Final = 50.0


@command(
    name="verify-server",
    examples=(
        "holdfast audit verify-server",
        "holdfast audit verify-server --log control --timeout 60 --json",
    ),
)
@click.option("--log", default="", help="control or a gate's id; default: every log of the host.")
@connected
def verify_server(options: ClientOptions, log: str) -> Exit:
    """Have control verify its host's logs. It is control's word: `audit verify` asks nobody.

    Exits 0 if every log is whole, 6 if one is not.
    """
    return asyncio.run(_verify_server(options, audit_pb2.VerifyLogsRequest(log=log)))


async def _verify_server(options: ClientOptions, request: audit_pb2.VerifyLogsRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.audit.VerifyLogs, request, longer_s=_VERIFYING_S)

    def show(page: Page) -> None:
        for report in answer.reports:
            verdict = "whole" if report.ok else "NOT whole"
            page.mark(report.ok, f"{report.log}: {verdict}, {report.size} entries")
            for problem in report.problems:
                page.line(f"    {problem}")

    data = {
        "ok": answer.ok,
        "verify_time": time_text(answer.verify_time),
        "reports": [
            {
                "log": report.log,
                "ok": report.ok,
                "size": report.size,
                "problems": list(report.problems),
                "checkpoint": report.checkpoint,
            }
            for report in answer.reports
        ],
    }
    emit("LogVerification", data, show)
    return Exit.OK if answer.ok else Exit.INTEGRITY


@command(
    name="evidence",
    examples=(
        "holdfast audit evidence --agent banking --since 24h --file banking.json",
        "holdfast audit evidence --agent banking --since 2026-11-22T00:00:00Z --file b.json",
    ),
)
@click.option("--agent", required=True, help="Whose.")
@windowed
@click.option(
    "--file", "file", required=True, type=click.Path(path_type=Path, dir_okay=False),
    help="File to write, mode 0600; it must not exist.",
)  # fmt: skip
@connected
def evidence(
    options: ClientOptions, agent: str, since: str | None, until: str | None, file: Path
) -> Exit:
    """Write what was recorded of an agent, with a proof for every entry.

    `holdfast audit check-evidence` checks it anywhere. Keep the SHA-256 that is printed elsewhere:
    it shows later that nothing was taken out. That evidence was taken, and by whom, is in control's
    log.
    """
    request = set_window(audit_pb2.ExportEvidenceRequest(agent=agent), since, until)
    with _new_private(file) as write:  # before anything is taken out, and logged as taken
        document = asyncio.run(_evidence(options, request))
        write(json.dumps(document, indent=1, ensure_ascii=True) + "\n")
    data = {
        "file": str(file),
        "agent": agent,
        "items": len(document["items"]),
        "logs": [head["log"] for head in document["heads"]],
        "sha256": document["sha256"],
    }

    def show(page: Page) -> None:
        page.mark(True, f"{len(document['items'])} entries of agent {agent} are in {file}")
        page.line(f"SHA-256 {document['sha256']}")
        if data["logs"] == ["control"]:
            page.mark(
                None,
                "no gate's log is in it: none that serves the agent, or served it, has connected "
                "since control started",
            )

    emit("EvidenceFile", data, show)
    return Exit.OK


async def _evidence(
    options: ClientOptions, request: audit_pb2.ExportEvidenceRequest
) -> dict[str, Any]:
    """Return every page as one document (``sidecar.audit.evidence``).

    Raises:
        UntrustedInputError: It is more than ``check-evidence`` would read.
    """
    from sidecar.audit.evidence import MAX_ITEMS, document_sha256

    heads: dict[str, dict[str, Any]] = {}
    items: list[dict[str, Any]] = []
    size = 0
    async with connect(options) as client:
        while True:
            answer = await client.ask(client.audit.ExportEvidence, request, longer_s=_VERIFYING_S)
            for item in map(_item, answer.items):
                items.append(item)
                text = json.dumps(item, indent=1)
                size += len(text) + _INDENT * (text.count("\n") + 1)
            if len(items) > MAX_ITEMS or size > _MAX_EVIDENCE - _MAX_REST:
                raise UntrustedInputError(
                    f"it is more than {len(items) - 1:,} entries: too much for one file of evidence",
                    reason=ErrorReason.INVALID_ARGUMENT,
                    hint="take several, of shorter windows: --since, --until",
                )
            for head in answer.heads:
                heads.setdefault(
                    head.log,
                    {
                        "log": head.log,
                        "tree_size": head.tree_size,
                        "checkpoint": head.checkpoint,
                        "verifier_key": head.verifier_key,
                    },
                )
            if not answer.next_page_token:
                break
            request.page_token = answer.next_page_token
    document: dict[str, Any] = {
        "version": 1,
        "agent": answer.agent,
        "since": entry_time(answer.since),
        "until": entry_time(answer.until),
        "heads": list(heads.values()),
        "items": items,
    }
    return document | {"sha256": document_sha256(document)}


def _item(item: audit_pb2.ExportEvidenceResponse.Item) -> dict[str, Any]:
    return {
        "log": item.entry.log,
        "index": item.entry.index,
        "entry": item.entry.json.decode("utf-8", errors="replace"),
        "path": [base64.b64encode(node).decode("ascii") for node in item.hashes],
    }


@contextmanager
def _new_private(path: Path) -> Iterator[Callable[[str], None]]:
    """Make the file *path* anew, for its owner alone; take it away again if it is not written."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError as exc:
        raise UntrustedInputError(
            f"{path} cannot be made: {exc.strerror}",
            reason=ErrorReason.INVALID_ARGUMENT,
            hint="name a file that is not there yet, in a directory of yours",
        ) from exc

    def write(text: str) -> None:
        rest = memoryview(text.encode("ascii"))
        try:
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError as exc:
            raise EnvironmentFailure(
                f"{path} cannot be written: {exc.strerror}", hint="see the disk, and take it again"
            ) from exc

    try:
        yield write
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


@command(
    name="check-evidence",
    examples=(
        "holdfast audit check-evidence banking.json --verifier-key control.vkey",
        "holdfast audit check-evidence banking.json --verifier-key control.vkey "
        "--verifier-key gate.vkey --sha256 9f86d081…",
    ),
)
@click.argument("file", type=_FILE)
@click.option(
    "--verifier-key", "keys", multiple=True,
    help="A log's verifier key kept elsewhere, or the file that holds it. May be repeated.",
)  # fmt: skip
@click.option("--sha256", default="", help="SHA-256 of the whole that was kept elsewhere.")
def check_evidence_(file: Path, keys: tuple[str, ...], sha256: str) -> Exit:
    """Check a file of evidence, offline: every entry is in the tree that a log's key signed.

    Exits 0 for a full pass and nothing else, 6 if anything is wrong. Without a --verifier-key from
    elsewhere the file only agrees with itself; without --sha256 entries may have been taken out.
    """
    from sidecar.audit.evidence import check_evidence

    document = _document(read_input(file, max_bytes=_MAX_EVIDENCE))
    report = check_evidence(
        document, verifier_keys=[verifier_key(key) for key in keys], sha256=sha256
    )

    def show(page: Page) -> None:
        for problem in report.problems:
            page.mark(False, problem)
        verdict = "every entry is proven" if report.ok else "NOT proven"
        page.mark(report.ok, f"{verdict}: agent {report.agent or '-'}, {report.items} entries")
        page.line(f"logs {', '.join(report.logs) or '-'}; SHA-256 {report.sha256 or '-'}")
        if not report.pinned:
            page.mark(None, "by keys that the file brings along: give --verifier-key to be sure")
        if not sha256:
            page.mark(None, "whether entries were taken out is not known: give --sha256")

    data = {
        "ok": report.ok,
        "agent": report.agent,
        "items": report.items,
        "logs": list(report.logs),
        "sha256": report.sha256,
        "verifier_keys_pinned": report.pinned,
        "sha256_pinned": bool(sha256),
        "problems": list(report.problems),
    }
    emit("EvidenceCheck", data, show)
    return Exit.OK if report.ok else Exit.INTEGRITY


def _document(data: bytes) -> dict[str, Any]:
    """Return the JSON object in *data*; what is none is evidence that does not pass."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise IntegrityError("the evidence is no JSON") from exc
    return found if isinstance(found, dict) else {}
