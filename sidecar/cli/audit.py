# SPDX-License-Identifier: Apache-2.0
"""``holdfast audit``: read the logs, prove what is in them, and find out if they were touched.

Each reads from control, or, given a directory, from the log's own files without any process.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import click

from sidecar.api.v1 import audit_pb2
from sidecar.cli.client import ClientOptions, connect, connected
from sidecar.cli.command import group
from sidecar.cli.evidence import check_evidence_, evidence, verify_server
from sidecar.cli.exits import Exit
from sidecar.cli.keyfiles import read_input, verifier_key
from sidecar.cli.output import Page, emit, talk
from sidecar.cli.views import entry_data, show_entries
from sidecar.errors import IntegrityError, UntrustedInputError

__all__ = ["audit"]

_DIRECTORY = click.Path(path_type=Path, file_okay=False)
_FILE = click.Path(path_type=Path, allow_dash=True)
_MAX_PROOF: Final = 4 * 1024 * 1024


@group(name="audit")
def audit() -> None:
    """Read, prove and verify the logs."""


for _command in (verify_server, evidence, check_evidence_):
    audit.add_command(_command)


# -- verify ---------------------------------------------------------------------------------------


@audit.command(
    name="verify",
    examples=(
        "holdfast audit verify /var/lib/holdfast/control/audit --key control.vkey",
        "holdfast audit verify ./audit --key control.vkey --checkpoint /mnt/anchors/control.jsonl",
        "holdfast audit verify --proof entry-41.json --key control.vkey",
    ),
)
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@click.option("--proof", type=_FILE, help="Verify one entry's proof instead of a directory.")
@click.option("--key", required=True, help="The log's verifier key, or the file that holds it.")
@click.option(
    "--checkpoint", "held", multiple=True, type=_FILE,
    help="Checkpoints kept elsewhere: a note, or an anchor file. May be repeated.",
)  # fmt: skip
def verify(directory: Path | None, proof: Path | None, key: str, held: tuple[Path, ...]) -> Exit:
    """Verify a log, offline: every entry, every tile, every signature, and that nothing is cut off.

    Exits 0 for a full pass and nothing else; 6 if the log was touched; 1 if a crash left half a
    frame at its end, which is not a pass either. Without a --checkpoint from elsewhere, a log that
    was cut back to an older state of its own looks whole.
    """
    from sidecar.audit.verify import verify_directory, verify_proof

    if (directory is None) == (proof is None):
        raise click.UsageError("name a log's directory, or a --proof")
    vkey = verifier_key(key)
    if proof is not None:
        report = verify_proof(_json_object(read_input(proof, max_bytes=_MAX_PROOF)), vkey=vkey)
    else:
        assert directory is not None  # noqa: S101 - one of the two is given
        checkpoints = [text for path in held for text in _held(path)]
        report = verify_directory(directory, vkey=vkey, held_checkpoints=checkpoints)

    def show(page: Page) -> None:
        for problem in report.problems:
            where = f"entry {problem.index}: " if problem.index is not None else ""
            page.mark(False, f"{where}{problem.what}")
        verdict = "verified" if report.ok else "NOT verified"
        page.mark(report.ok, f"{verdict}: {report.origin or 'no log'}, {report.size} entries")
        if report.ok:
            page.line(f"root {report.root}")
        if report.unsigned_entries:
            page.line(f"{report.unsigned_entries} durable entries behind it are not signed yet")

    data = {
        "ok": report.ok,
        "origin": report.origin,
        "size": report.size,
        "root": report.root,
        "unsigned_entries": report.unsigned_entries,
        "torn_tail_bytes": report.torn_tail_bytes,
        "first_bad_index": report.first_bad_index,
        "problems": [{"index": item.index, "what": item.what} for item in report.problems],
    }
    emit("AuditVerification", data, show)
    if report.ok:
        return Exit.OK
    if report.is_torn_only:
        talk("only a torn tail is wrong: start the log's process once, it cuts it; verify again")
        return Exit.FAILURE
    return Exit.INTEGRITY


def _held(path: Path) -> list[str]:
    """Return the checkpoints in *path*: one note, or an anchor file's lines of JSON."""
    try:
        text = read_input(path).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UntrustedInputError(f"{path} holds no checkpoint") from exc
    if not text.lstrip().startswith("{"):
        return [text]
    found = []
    for line in text.splitlines():
        try:
            note = json.loads(line)["checkpoint"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue  # a crash can leave half a line in an anchor file
        if isinstance(note, str):
            found.append(note)
    if not found:
        raise UntrustedInputError(f"{path} holds no checkpoint")
    return found


def _json_object(data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise UntrustedInputError("the proof is no JSON") from exc
    if not isinstance(found, dict):
        raise UntrustedInputError("the proof is no JSON object")
    # What `audit prove --json` prints wraps it.
    inner = found.get("proof", found)
    return inner if isinstance(inner, dict) else found


# -- show -----------------------------------------------------------------------------------------


@audit.command(
    name="show",
    examples=(
        "holdfast audit show --agent banking --effect DENY",
        "holdfast audit show --log banking --limit 20 --json",
        "holdfast audit show ./audit --kind contain",
    ),
)
@click.argument("directory", required=False, type=_DIRECTORY)
@click.option("--log", default="", help="control (the default) or a gate's id.")
@click.option("--agent", default="", help="Only this agent's entries.")
@click.option("--tool", default="", help="Only this tool's.")
@click.option("--decision", default="", help="Only this decision's.")
@click.option("--kind", default="", help="decision, outcome, contain, release, …")
@click.option("--effect", type=click.Choice(["ALLOW", "DENY", "HOLD"], case_sensitive=False))
@click.option("--since", metavar="TIME", help="Not before, RFC 3339.")
@click.option("--until", metavar="TIME", help="Before, RFC 3339.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True)
@click.option("--page-token", default="", help="From an earlier answer.")
@connected
def show_log(
    options: ClientOptions,
    directory: Path | None,
    log: str,
    agent: str,
    tool: str,
    decision: str,
    kind: str,
    effect: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    page_token: str,
) -> Exit:
    """Show entries of control's log, newest first, or of a log's DIRECTORY, oldest first.

    Reading does not verify: `holdfast audit verify` does. Exits 1 if nothing fits.
    """
    bounds = (_moment("--since", since), _moment("--until", until))
    if directory is not None:
        rows = _offline_rows(directory, agent, tool, decision, kind, effect, bounds, limit)
        return _tell_entries(rows, None)
    request = audit_pb2.ListEntriesRequest(
        log=log,
        page_size=limit,
        page_token=page_token,
        agent=agent,
        tool=tool,
        decision_id=decision,
        kind=kind,
        effect=effect or "",
    )
    if bounds[0] is not None:
        request.since.FromDatetime(bounds[0])
    if bounds[1] is not None:
        request.until.FromDatetime(bounds[1])
    return asyncio.run(_show(options, request))


def _offline_rows(
    directory: Path,
    agent: str,
    tool: str,
    decision: str,
    kind: str,
    effect: str | None,
    bounds: tuple[datetime | None, datetime | None],
    limit: int,
) -> list[dict[str, Any]]:
    from sidecar.audit.reader import EntryFilter, show

    wanted = EntryFilter(
        agent=agent or None,
        tool=tool or None,
        decision_id=decision or None,
        kind=kind or None,
        effect=effect,
        since=bounds[0],
        until=bounds[1],
    )
    found = show(directory, wanted, limit=limit, is_unsigned_included=True)
    return [
        entry_data(audit_pb2.Entry(log=str(directory), index=entry.seq, json=entry.line))
        for entry in found
    ]


async def _show(options: ClientOptions, request: audit_pb2.ListEntriesRequest) -> Exit:
    async with connect(options) as client:
        answer = await client.ask(client.audit.ListEntries, request)
    rows = [entry_data(entry) for entry in answer.entries]
    return _tell_entries(rows, answer.next_page_token or None)


def _tell_entries(rows: list[dict[str, Any]], next_page_token: str | None) -> Exit:
    def show(page: Page) -> None:
        if not rows:
            page.line("no entry fits")
            return
        show_entries(page, rows)
        if next_page_token:
            page.line(f"there are more: --page-token {next_page_token}")

    emit("EntryList", {"entries": rows, "next_page_token": next_page_token}, show)
    return Exit.OK if rows else Exit.FAILURE


def _moment(flag: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as exc:
        raise click.UsageError(f"{flag} is no time like 2026-11-22T14:00:00Z") from exc
    if moment.tzinfo is None:
        raise click.UsageError(f"{flag} needs a zone: end it with Z or +01:00")
    return moment


# -- prove, checkpoint ----------------------------------------------------------------------------


@audit.command(
    name="prove",
    examples=(
        "holdfast audit prove 41 --json > entry-41.json",
        "holdfast audit prove 41 ./audit --verify control.vkey",
    ),
)
@click.argument("index", type=click.IntRange(0))
@click.argument("directory", required=False, type=_DIRECTORY)
@click.option("--log", default="", help="control (the default) or a gate's id.")
@click.option("--verify", "key", metavar="KEY", help="Verify it too, with this verifier key.")
@connected
def prove(
    options: ClientOptions, index: int, directory: Path | None, log: str, key: str | None
) -> Exit:
    """Prove that entry INDEX is in a log.

    With --json, prints what `holdfast audit verify --proof` verifies anywhere, with nothing but the
    key. With --verify, exits 6 if the proof does not hold.
    """
    if directory is not None:
        from sidecar.audit.reader import prove as prove_offline

        proof = prove_offline(directory, index)
    else:
        request = audit_pb2.GetInclusionProofRequest(log=log, index=index)
        proof = asyncio.run(_fetch_proof(options, request))
    if key is not None:
        from sidecar.audit.verify import verify_proof

        report = verify_proof(proof, vkey=verifier_key(key))
        if not report.ok:
            raise IntegrityError(f"the proof does not hold: {report.problems[0].what}")

    def show(page: Page) -> None:
        page.mark(
            True if key is not None else None,
            f"entry {index} of {proof['origin']} "
            + (
                f"is in the tree of {proof['size']} entries that its checkpoint signs"
                if key is not None
                else "has a proof; give --verify KEY to check it"
            ),
        )
        page.line(proof["entry"])
        page.block(proof["checkpoint"])

    emit("InclusionProof", {"verified": key is not None, "proof": proof}, show)
    return Exit.OK


async def _fetch_proof(
    options: ClientOptions, request: audit_pb2.GetInclusionProofRequest
) -> dict[str, Any]:
    async with connect(options) as client:
        answer = await client.ask(client.audit.GetInclusionProof, request)
    try:
        entry = answer.entry.json.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise IntegrityError("control's entry is no text") from exc
    return {
        "version": 1,
        "origin": answer.checkpoint.split("\n", 1)[0],
        "index": answer.entry.index,
        "size": answer.tree_size,
        "entry": entry,
        "path": [base64.b64encode(node).decode("ascii") for node in answer.hashes],
        "checkpoint": answer.checkpoint,
    }


@audit.command(
    name="checkpoint",
    examples=(
        "holdfast audit checkpoint > control.checkpoint",
        "holdfast audit checkpoint --log banking --json",
    ),
)
@click.argument("directory", required=False, type=_DIRECTORY)
@click.option("--log", default="", help="control (the default) or a gate's id.")
@connected
def checkpoint(options: ClientOptions, directory: Path | None, log: str) -> Exit:
    """Print a log's signed head, to be kept elsewhere: it shows later if the log was cut."""
    if directory is not None:
        from sidecar.audit.reader import checkpoint_text

        text, vkey = checkpoint_text(directory), None
    else:
        answer = asyncio.run(_checkpoint(options, audit_pb2.GetCheckpointRequest(log=log)))
        text, vkey = answer.checkpoint, answer.verifier_key
    data = {"checkpoint": text, "verifier_key": vkey}
    emit("Checkpoint", data, lambda page: page.block(text.removesuffix("\n")))
    if vkey:
        talk(f"verifier key: {vkey}")
    return Exit.OK


async def _checkpoint(
    options: ClientOptions, request: audit_pb2.GetCheckpointRequest
) -> audit_pb2.GetCheckpointResponse:
    async with connect(options) as client:
        answer: audit_pb2.GetCheckpointResponse = await client.ask(
            client.audit.GetCheckpoint, request
        )
    return answer
