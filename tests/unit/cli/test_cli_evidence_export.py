# SPDX-License-Identifier: Apache-2.0
"""``holdfast audit evidence``: the file, and what becomes of it when something fails."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import audit_pb2, audit_pb2_grpc
from sidecar.cli import evidence
from sidecar.cli.exits import Exit
from sidecar.errors import EnvironmentFailure
from sidecar.layout import StateLayout
from tests.unit.cli.cli_server import ServerThread

HOSTILE = "\x1b[31mred\x1b[0m \u202eturned"


class Recorder(audit_pb2_grpc.AuditServiceServicer):
    """Answers with two pages."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.is_broken = False
        self.logs = ("control", "gate")

    async def ExportEvidence(self, request: Any, context: Any) -> Any:
        self.asked.append(audit_pb2.ExportEvidenceRequest.FromString(request.SerializeToString()))
        if self.is_broken and request.page_token:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the log is gone")
        number = len(self.asked) - 1
        answer = audit_pb2.ExportEvidenceResponse(agent=request.agent)
        for log in self.logs:
            answer.heads.add(log=log, tree_size=9, checkpoint=HOSTILE, verifier_key="k")
        entry = audit_pb2.Entry(log=self.logs[0], index=number, json=b'{"a":1}')
        answer.items.add(entry=entry, hashes=[bytes(32)])
        answer.next_page_token = "" if request.page_token else "more"
        return answer


@pytest.fixture
def control(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """A control that serves on its local socket, where the commands look for it."""
    layout = StateLayout.of(short_dir / "s", short_dir / "r")
    for directory in (layout.control, layout.local_socket.parent):
        directory.mkdir(parents=True, mode=0o700, exist_ok=True)
    monkeypatch.setenv("HOLDFAST_STATE_DIR", str(layout.root))
    monkeypatch.setenv("HOLDFAST_RUNTIME_DIR", str(layout.runtime))
    recorder, thread = Recorder(), ServerThread()

    def register(server: grpc.aio.Server) -> None:
        audit_pb2_grpc.add_AuditServiceServicer_to_server(recorder, server)

    thread.serve(register, f"unix:{layout.local_socket}")
    yield recorder
    thread.stop()


def _take(holdfast: Any, file: Path, *more: str) -> Any:
    return holdfast("audit", "evidence", "--agent", "alpha", "--file", str(file), *more)


def test_every_page_is_in_one_private_file(control: Recorder, holdfast, tmp_path: Path) -> None:
    """For its owner alone, in ASCII; the SHA-256 that is printed is the file's."""
    file = tmp_path / "e.json"

    result = _take(holdfast, file, "--json")

    document = json.loads(file.read_text("ascii"))
    assert result.code == Exit.OK
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [item["index"] for item in document["items"]] == [0, 1]
    assert result.json()["sha256"] == document["sha256"]
    assert [request.page_token for request in control.asked] == ["", "more"]


@pytest.mark.parametrize("what", ["file", "link"])
def test_file_that_exists_is_not_touched_and_nothing_is_asked_for(
    control: Recorder, holdfast, tmp_path: Path, what: str
) -> None:
    """What is taken out is logged as taken, so it is not taken out for nothing."""
    file = tmp_path / "e.json"
    if what == "file":
        file.write_text("mine")
    else:
        file.symlink_to(tmp_path / "elsewhere")

    result = _take(holdfast, file)

    assert result.code == Exit.USAGE
    assert "not there yet" in result.err
    assert control.asked == []
    assert file.is_symlink() or file.read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


def test_half_of_the_evidence_leaves_no_file(control: Recorder, holdfast, tmp_path: Path) -> None:
    """A second page that does not come: an error, and the same command works again."""
    file = tmp_path / "e.json"
    control.is_broken = True
    failed = _take(holdfast, file)
    control.is_broken = False
    control.asked.clear()
    again = _take(holdfast, file)

    assert failed.code == Exit.UNAVAILABLE
    assert again.code == Exit.OK


def test_more_than_can_be_checked_is_not_written(
    control: Recorder, holdfast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before all of it is held in memory, and with the remedy."""
    file = tmp_path / "e.json"
    written = tmp_path / "whole.json"
    assert _take(holdfast, written).code == Exit.OK
    monkeypatch.setattr(evidence, "_MAX_REST", 600)
    monkeypatch.setattr(evidence, "_MAX_EVIDENCE", 600 + 100)
    control.asked.clear()

    result = _take(holdfast, file)

    assert result.code == Exit.USAGE
    assert "shorter windows" in result.err
    assert len(control.asked) == 1
    assert not file.exists()


def test_evidence_without_a_gate_says_so(control: Recorder, holdfast, tmp_path: Path) -> None:
    """Control alone has no calls of the agent: whoever takes it is told."""
    whole = _take(holdfast, tmp_path / "a.json")
    control.logs = ("control",)
    control.asked.clear()
    alone = _take(holdfast, tmp_path / "b.json")

    assert "no gate" not in whole.out
    assert "no gate's log is in it" in alone.out


def test_g08_hostile_evidence_does_not_steer_the_terminal(holdfast, tmp_path: Path) -> None:
    """Names of logs and of the agent come out of a file that anybody may have made."""
    file = tmp_path / "e.json"
    head = {"log": HOSTILE, "tree_size": 1, "checkpoint": HOSTILE, "verifier_key": HOSTILE}
    time = "2026-11-22T14:00:00.000000000Z"
    file.write_text(
        json.dumps(
            {
                "version": 1, "agent": HOSTILE, "since": time, "until": time, "heads": [head],
                "items": [{"log": HOSTILE, "index": 1, "entry": HOSTILE, "path": []}],
                "sha256": HOSTILE,
            }
        )
    )  # fmt: skip

    result = holdfast("audit", "check-evidence", str(file))

    assert result.code == Exit.INTEGRITY
    assert not {"\x1b", "\u202e"} & set(result.out + result.err)
    assert "\\u{202e}turned" in result.out


def test_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that names the file, and nothing that looks like evidence."""
    file = tmp_path / "e.json"
    file.touch()
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(evidence.os, "open", lambda *_: full)

    with (
        pytest.raises(EnvironmentFailure, match=r"e\.json cannot be written"),
        evidence._new_private(file) as write,
    ):
        write("x" * 100_000)

    assert not file.exists()
