# SPDX-License-Identifier: Apache-2.0
"""Taking evidence out leaves an entry in control's log, or nothing is taken out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.v1 import audit_pb2
from sidecar.audit.entry import format_time
from sidecar.audit.reader import read_entries
from sidecar.clock import NS_PER_SECOND
from sidecar.control import evidence
from sidecar.control.evidence import EvidenceSource
from sidecar.errors import EnvironmentFailure, ErrorReason, IntegrityError
from sidecar.model import Operator, OperatorKind, Role
from tests.unit.investigate.test_investigate_traces import Host, call

CAROL = Operator(
    name="carol",
    identity="spiffe://x/carol",
    kind=OperatorKind.HUMAN,
    roles=frozenset({Role.AUDIT_READ}),
    human_id="carol",
)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host(tmp_path)
    monkeypatch.setattr(evidence, "caller", lambda: CAROL)
    yield made
    made.close()


async def _pages(host: Host, **fields: Any) -> list[Any]:
    source = EvidenceSource(logs=host.host_logs, traces=host.traces)
    pages: list[Any] = []
    token = ""
    while True:
        request = audit_pb2.ExportEvidenceRequest(agent="alpha", page_token=token, **fields)
        pages.append(await source.export(request))
        token = pages[-1].next_page_token
        if not token:
            return pages


def _logged(host: Host) -> list[dict[str, Any]]:
    entries = read_entries(host.root / "control", is_unsigned_included=True)
    return [entry.fields() for entry in entries if entry.fields()["kind"] == "evidence"]


async def test_every_page_is_logged_before_it_leaves(host: Host) -> None:
    """Who, what window, out of which trees, how many entries and their SHA-256; no entry itself."""
    await host.write("gate", *(call(n, session="s-canary") for n in range(5)))
    host.serve("gate", "alpha")

    pages = await _pages(host, page_size=3)

    logged = _logged(host)
    assert [entry["sha256"] for entry in logged] == [page.sha256 for page in pages]
    assert [entry["items"] for entry in logged] == [len(page.items) for page in pages]
    assert [entry["is_last"] for entry in logged] == [False] * (len(pages) - 1) + [True]
    assert {(entry["operator"], entry["agent"]) for entry in logged} == {("carol", "alpha")}
    assert logged[0]["trees"] == [{"log": "control", "size": 0}, {"log": "gate", "size": 5}]
    since, until = pages[0].since, pages[0].until
    assert {(entry["since"], entry["until"]) for entry in logged} == {
        (
            format_time(since.seconds * NS_PER_SECOND + since.nanos),
            format_time(until.seconds * NS_PER_SECOND + until.nanos),
        )
    }
    assert "canary" not in json.dumps(logged)


async def test_entry_names_the_token_that_was_used(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of an operator's tokens, by its id."""
    monkeypatch.setattr(evidence, "caller", lambda: replace(CAROL, token="abc"))
    await host.write("gate", call(1))
    host.serve("gate", "alpha")

    await _pages(host)

    assert {entry["api_token"] for entry in _logged(host)} == {"abc"}


async def test_what_cannot_be_logged_is_not_taken_out(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """AUDIT_UNAVAILABLE, and where to look."""
    await host.write("gate", call(1))
    host.serve("gate", "alpha")

    async def fail(kind: str, body: Any) -> int:
        raise OSError("disk full")

    monkeypatch.setattr(host.host_logs, "note", fail)
    with pytest.raises(EnvironmentFailure) as failed:
        await _pages(host)

    assert failed.value.reason is ErrorReason.AUDIT_UNAVAILABLE
    assert "disk" in failed.value.hint


async def test_earlier_exports_are_evidence_too(host: Host) -> None:
    """Whoever looks later sees who looked before; of another agent's nothing."""
    await host.write("gate", call(1), call(2, "beta"))
    host.serve("gate", "alpha", "beta")
    await _pages(host)
    await host.control.checkpoint()
    host.clock.advance(seconds=1)

    again = await _pages(host)

    kinds = [json.loads(item.entry.json)["kind"] for page in again for item in page.items]
    assert kinds == ["evidence", "decision"]


async def test_g01_log_that_was_changed_between_two_pages_gives_no_evidence(host: Host) -> None:
    """What is not in the tree that the first page chose is an error, not an entry."""
    await host.write("gate", *(call(n) for n in range(5)))
    host.serve("gate", "alpha")
    source = EvidenceSource(logs=host.host_logs, traces=host.traces)
    request = audit_pb2.ExportEvidenceRequest(agent="alpha", page_size=2)
    request.page_token = (await source.export(request)).next_page_token
    first = await source.export(request)
    for file in sorted((host.root / "gate" / "tile").rglob("*")):
        if file.is_file() and "entries" in file.parts:
            file.chmod(0o600)
            file.write_bytes(file.read_bytes().replace(b"note.read", b"note.send"))
    request.page_token = first.next_page_token

    with pytest.raises(IntegrityError):
        await source.export(request)


@pytest.mark.parametrize("page", [1, 2], ids=str)
async def test_log_that_was_deleted_is_broken_integrity(host: Host, page: int) -> None:
    """Not NOT_FOUND: that is what is said of an agent that nobody knows. Nothing is taken out."""
    await host.write("gate", *(call(n) for n in range(5)))
    host.serve("gate", "alpha")
    source = EvidenceSource(logs=host.host_logs, traces=host.traces)
    request = audit_pb2.ExportEvidenceRequest(agent="alpha", page_size=2)
    if page == 2:
        request.page_token = (await source.export(request)).next_page_token
    before = len(_logged(host))
    shutil.rmtree(host.root / "gate")

    with pytest.raises(IntegrityError, match="gone"):
        await source.export(request)

    assert len(_logged(host)) == before
