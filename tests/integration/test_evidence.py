# SPDX-License-Identifier: Apache-2.0
"""Logs verified by control, and evidence that somebody else can check without it."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, timestamp_pb2

from sidecar.api.v1 import audit_pb2
from sidecar.audit.evidence import check_evidence, document_sha256
from sidecar.canonical import canonicalise
from sidecar.cli.views import entry_time
from tests.support.clients import ControlClient, refused
from tests.support.polling import eventually
from tests.support.testbed import Testbed

SECRET = "canary-77aa-secret"


async def _pages(client: ControlClient, agent: str, **fields: Any) -> list[Any]:
    """Read every page of the evidence of *agent*."""
    pages: list[Any] = []
    token = ""
    while True:
        request = audit_pb2.ExportEvidenceRequest(agent=agent, page_token=token, **fields)
        pages.append(await client.audit.ExportEvidence(request, timeout=10))
        token = pages[-1].next_page_token
        if not token:
            return pages


def _document(pages: list[Any]) -> dict[str, Any]:
    """Return pages as the file that ``holdfast audit evidence`` writes."""
    items = [item for page in pages for item in page.items]
    heads = {head.log: head for page in pages for head in page.heads}
    document: dict[str, Any] = {
        "version": 1,
        "agent": pages[0].agent,
        "since": entry_time(pages[0].since),
        "until": entry_time(pages[0].until),
        "heads": [
            {
                "log": head.log,
                "tree_size": head.tree_size,
                "checkpoint": head.checkpoint,
                "verifier_key": head.verifier_key,
            }
            for head in heads.values()
        ],
        "items": [
            {
                "log": item.entry.log,
                "index": item.entry.index,
                "entry": item.entry.json.decode(),
                "path": [base64.b64encode(node).decode() for node in item.hashes],
            }
            for item in items
        ],
    }
    return document | {"sha256": document_sha256(document)}


async def _scene(bed: Testbed, name: str, calls: int = 3) -> None:
    """Let an agent do something, be held and be released."""
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        for number in range(calls):
            decision = await agent.ask("note.read", {"text": f"{SECRET} {number}"})
        await agent.report(decision.decision_id)
        epoch = (await alice.contain(name)).receipt.directive.epoch
        await alice.release(epoch)

        async def is_recorded() -> bool:
            request = audit_pb2.ListEntriesRequest(log="gate", agent=name, page_size=1000)
            return len((await alice.audit.ListEntries(request)).entries) >= calls + 1

        await eventually(is_recorded)


def _keys(bed: Testbed) -> list[str]:
    """Return the verifier keys as they lie on the host, not as control tells them."""
    return [
        (bed.layout.control / "audit.vkey").read_text(),
        (bed.layout.gate_audit("gate").parent / "audit.vkey").read_text(),
    ]


async def test_evidence_is_checked_without_the_host(bed: Testbed) -> None:
    """Calls, outcome, containment, approval and release: each proven, by keys pinned elsewhere."""
    name = bed.fresh_agent()
    await _scene(bed, name)
    async with bed.operator("alice") as alice:
        pages = await _pages(alice, name)
    document = _document(pages)

    report = check_evidence(document, verifier_keys=_keys(bed), sha256=document["sha256"])

    kinds = [json.loads(item["entry"])["kind"] for item in document["items"]]
    assert report.ok, report.problems
    assert (report.agent, report.items, report.logs) == (name, len(kinds), ("control", "gate"))
    assert kinds.count("decision") == 3
    assert {"contain", "release", "outcome"} <= set(kinds)
    assert SECRET not in json.dumps(document)


async def test_taking_evidence_out_is_in_controls_log(bed: Testbed) -> None:
    """One entry a page, with its SHA-256, by the name of whoever took it; a refusal takes nothing."""
    name = bed.fresh_agent()
    await _scene(bed, name)
    async with bed.operator("alice") as alice, bed.operator("soar") as soar:
        pages = await _pages(alice, name, page_size=2)
        await refused(soar.audit.ExportEvidence(audit_pb2.ExportEvidenceRequest(agent=name)))
        request = audit_pb2.ListEntriesRequest(kind="evidence", agent=name, page_size=1000)
        answer = await alice.audit.ListEntries(request)

    logged = [json.loads(entry.json) for entry in reversed(answer.entries)]
    assert [entry["sha256"] for entry in logged] == [page.sha256 for page in pages]
    assert [entry["items"] for entry in logged] == [len(page.items) for page in pages]
    assert {entry["operator"] for entry in logged} == {"alice"}


async def test_pages_lead_to_one_checkpoint_a_log_though_the_logs_grow(bed: Testbed) -> None:
    """Three entries a page, with calls and orders in between: one head a log, and it still holds."""
    name = bed.fresh_agent()
    await _scene(bed, name, calls=8)
    pages: list[Any] = []
    token = ""
    async with bed.operator("alice") as alice, bed.agent(name) as agent:
        while True:
            request = audit_pb2.ExportEvidenceRequest(agent=name, page_size=3, page_token=token)
            pages.append(await alice.audit.ExportEvidence(request, timeout=10))
            await agent.ask("note.read")
            await alice.contain(name, "OBSERVE")
            token = pages[-1].next_page_token
            if not token:
                break
    document = _document(pages)
    heads = {(head.log, head.checkpoint) for page in pages for head in page.heads}

    report = check_evidence(document, verifier_keys=_keys(bed))

    assert report.ok, report.problems
    assert len(heads) == 2
    assert len(pages) > 3
    assert max(len(page.items) for page in pages) == 3
    gate = [item for item in document["items"] if item["log"] == "gate"]
    assert len(gate) == 9
    for page in pages:
        as_json = [json_format.MessageToDict(item) for item in page.items]
        assert page.sha256 == hashlib.sha256(canonicalise(as_json)).hexdigest()


def _flip(document: dict[str, Any]) -> None:
    line = document["items"][1]["entry"]
    at = line.index("time") + 12
    document["items"][1]["entry"] = f"{line[:at]}{'1' if line[at] != '1' else '2'}{line[at + 1 :]}"


def _drop(document: dict[str, Any]) -> None:
    del document["items"][1]


def _swap_paths(document: dict[str, Any]) -> None:
    one, other = document["items"][0], document["items"][-1]
    one["path"], other["path"] = other["path"], one["path"]


def _swap_indexes(document: dict[str, Any]) -> None:
    document["items"][0]["index"] += 1


def _repeat(document: dict[str, Any]) -> None:
    document["items"].insert(1, document["items"][0])


def _reorder(document: dict[str, Any]) -> None:
    document["items"][0], document["items"][1] = document["items"][1], document["items"][0]


def _other_log(document: dict[str, Any]) -> None:
    document["items"][0]["log"] = "gate"


def _smaller_tree(document: dict[str, Any]) -> None:
    document["heads"][0]["tree_size"] -= 1


def _flip_signature(document: dict[str, Any]) -> None:
    text = document["heads"][0]["checkpoint"]
    document["heads"][0]["checkpoint"] = text[:-8] + ("A" if text[-8] != "A" else "B") + text[-7:]


def _swap_heads(document: dict[str, Any]) -> None:
    one, other = document["heads"]
    one["checkpoint"], other["checkpoint"] = other["checkpoint"], one["checkpoint"]


def _other_window(document: dict[str, Any]) -> None:
    document["until"] = document["since"]


def _other_agent(document: dict[str, Any]) -> None:
    document["agent"] = "somebody-else"


def _no_head(document: dict[str, Any]) -> None:
    del document["heads"][0]


def _more(document: dict[str, Any]) -> None:
    document["comment"] = "trust me"


@pytest.mark.parametrize(
    "change",
    [
        _flip, _drop, _swap_paths, _swap_indexes, _repeat, _reorder, _other_log, _smaller_tree,
        _flip_signature, _swap_heads, _other_window, _other_agent, _no_head, _more,
    ],
    ids=lambda change: change.__name__.strip("_"),
)  # fmt: skip
async def test_g01_g02_changed_evidence_does_not_pass(
    bed: Testbed, change: Callable[[dict[str, Any]], None]
) -> None:
    """Whatever is changed in the file is found; where the SHA-256 is made to fit, by the proofs."""
    name = bed.fresh_agent()
    await _scene(bed, name)
    async with bed.operator("alice") as alice:
        document = _document(await _pages(alice, name))
    kept = document["sha256"]
    changed = copy.deepcopy(document)
    change(changed)
    fitted = copy.deepcopy(changed)
    fitted["sha256"] = document_sha256(fitted)

    reports = [
        check_evidence(changed, verifier_keys=_keys(bed)),
        check_evidence(changed),
        check_evidence(fitted, verifier_keys=_keys(bed), sha256=kept),
    ]
    by_proofs = check_evidence(fitted, verifier_keys=_keys(bed))

    assert [report.ok for report in reports] == [False] * 3
    assert by_proofs.ok is (change is _drop)  # what is gone only a SHA-256 kept elsewhere shows


async def test_g06_evidence_of_another_key_does_not_pass(bed: Testbed) -> None:
    """A key that was not pinned signs nothing, though the file brings it along."""
    name = bed.fresh_agent()
    await _scene(bed, name)
    async with bed.operator("alice") as alice:
        document = _document(await _pages(alice, name))
    control, gate = _keys(bed)

    only_one = check_evidence(document, verifier_keys=[control])
    crossed = check_evidence(document, verifier_keys=[control, control.replace("A", "B", 1)])
    by_its_own = check_evidence(document)

    assert not only_one.ok
    assert not crossed.ok
    assert by_its_own.ok
    assert not by_its_own.pinned
    assert check_evidence(document, verifier_keys=[control, gate]).ok


@pytest.mark.parametrize("document", [{}, {"version": 1}, {"items": 3}], ids=["none", "v", "items"])
def test_g07_what_is_no_evidence_does_not_pass(document: dict[str, Any]) -> None:
    """Garbage is a report that is not ok, never an exception and never a pass."""
    report = check_evidence(document)

    assert not report.ok
    assert report.problems


async def test_evidence_requests_that_are_refused(bed: Testbed) -> None:
    """SOAR may not export; unknown agents, foreign tokens and forged heads get nothing."""
    name, other = bed.fresh_agent(), bed.fresh_agent()
    await _scene(bed, name)
    async with bed.operator("alice") as alice, bed.operator("soar") as soar:

        async def ask(client: ControlClient, **fields: Any) -> Any:
            request = audit_pb2.ExportEvidenceRequest(**{"agent": name, **fields})
            return await refused(client.audit.ExportEvidence(request, timeout=10))

        first = await alice.audit.ExportEvidence(
            audit_pb2.ExportEvidenceRequest(agent=name, page_size=1)
        )
        body = json.loads(base64.urlsafe_b64decode(first.next_page_token))
        lines = body["h"][0][1].split("\n")
        lines[2] = base64.b64encode(bytes(32)).decode()  # the root hash
        body["h"][0][1] = "\n".join(lines)
        forged = base64.urlsafe_b64encode(json.dumps(body).encode()).decode()
        now = timestamp_pb2.Timestamp(seconds=int(time.time()))
        codes = {
            "role": (await ask(soar)).code.name,
            "unknown": (await ask(alice, agent="no-such-agent")).code.name,
            "none": (await ask(alice, agent="")).code.name,
            "size": (await ask(alice, page_size=501)).code.name,
            "window": (await ask(alice, since=now, until=now)).code.name,
            "other": (await ask(alice, agent=other, page_token=first.next_page_token)).code.name,
            "nonsense": (await ask(alice, page_token="////")).code.name,
        }
        forgery = await ask(alice, page_token=forged)

    assert codes == {
        "role": "PERMISSION_DENIED",
        "unknown": "NOT_FOUND",
        "none": "INVALID_ARGUMENT",
        "size": "INVALID_ARGUMENT",
        "window": "INVALID_ARGUMENT",
        "other": "INVALID_ARGUMENT",
        "nonsense": "INVALID_ARGUMENT",
    }
    assert forgery.reason == "INTEGRITY_BROKEN"


async def test_control_verifies_logs_and_finds_one_that_was_changed(
    make_bed: Callable[..., Testbed],
) -> None:
    """Whole at first; after one byte of a gate's entries was changed that log is not, others are."""
    own = make_bed().begin(["alpha"])
    await _scene(own, "alpha")
    async with own.operator("soar") as soar:
        whole = await soar.audit.VerifyLogs(audit_pb2.VerifyLogsRequest(), timeout=20)
        one = await soar.audit.VerifyLogs(audit_pb2.VerifyLogsRequest(log="control"), timeout=20)
        unknown = await refused(
            soar.audit.VerifyLogs(audit_pb2.VerifyLogsRequest(log="none"), timeout=20)
        )
        own.gates["gate"].stop()
        _change_a_byte(own.layout.gate_audit("gate") / "tile" / "entries")
        changed = await soar.audit.VerifyLogs(audit_pb2.VerifyLogsRequest(), timeout=20)

    assert whole.ok
    assert [report.log for report in whole.reports] == ["control", "gate"]
    assert all(report.checkpoint and report.size for report in whole.reports)
    assert whole.HasField("verify_time")
    assert [report.log for report in one.reports] == ["control"]
    assert unknown.code.name == "NOT_FOUND"
    assert not changed.ok
    assert {report.log: report.ok for report in changed.reports} == {"control": True, "gate": False}
    assert changed.reports[1].problems


def _change_a_byte(directory: Path) -> None:
    for path in sorted(item for item in directory.rglob("*") if item.is_file()):
        data = bytearray(path.read_bytes())
        data[20] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)


async def test_evidence_by_command_line(bed: Testbed, tmp_path: Path) -> None:
    """Written 0600, checked offline; a changed file exits 6, an existing one is not overwritten."""
    name = bed.fresh_agent()
    await _scene(bed, name)
    file = tmp_path / "evidence.json"
    control, gate = _keys(bed)
    reach = ["--local", "--state-dir", str(bed.layout.root)]
    reach += ["--runtime-dir", str(bed.layout.runtime)]

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "sidecar.cli.main", "audit", *arguments],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    written = run("evidence", "--agent", name, "--since", "1h", "--file", str(file), *reach)
    again = run("evidence", "--agent", name, "--file", str(file), *reach)
    assert written.returncode == 0, written.stderr
    sha256 = json.loads(file.read_text())["sha256"]
    pins = ["--verifier-key", control.strip(), "--verifier-key", gate.strip()]
    good = run("check-evidence", str(file), *pins, "--sha256", sha256, "--json")
    document = json.loads(file.read_text())
    _flip(document)
    file.chmod(0o600)
    file.write_text(json.dumps(document))
    bad = run("check-evidence", str(file), *pins)

    assert sha256 in written.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert again.returncode == 2
    assert (good.returncode, json.loads(good.stdout)["ok"]) == (0, True)
    assert (bad.returncode, "NOT proven" in bad.stdout) == (6, True)
