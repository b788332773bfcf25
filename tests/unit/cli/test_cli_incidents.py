# SPDX-License-Identifier: Apache-2.0
"""``investigate``, ``incidents`` and ``operations ask``, over answers with hostile words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidecar.api.v1 import (
    incident_pb2,
    incident_pb2_grpc,
    investigation_pb2,
    investigation_pb2_grpc,
    operation_pb2,
    operation_pb2_grpc,
    types_pb2,
)
from sidecar.cli.exits import Exit
from sidecar.layout import StateLayout
from tests.unit.cli.cli_server import ServerThread

ESC = "\x1b[31mred\x1b[0m \u202eturned\r\nline"
NAME = "incidents/inc_" + "0" * 32


class Recorder(
    investigation_pb2_grpc.InvestigationServiceServicer,
    incident_pb2_grpc.IncidentServiceServicer,
    operation_pb2_grpc.OperationServiceServicer,
):
    """Keeps what was asked, and answers with words that would steer a terminal."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.is_empty = False
        self.note = ESC
        self.state = types_pb2.Operation.STATE_PENDING_APPROVAL

    async def GetAgentTimeline(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        if self.is_empty:
            return investigation_pb2.GetAgentTimelineResponse()
        return investigation_pb2.GetAgentTimelineResponse(events=[_event()], next_page_token="more")

    async def GetBlastRadius(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        return investigation_pb2.GetBlastRadiusResponse(blast_radius=_radius())

    async def OpenIncident(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        return incident_pb2.OpenIncidentResponse(incident=_incident())

    async def GetIncident(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        return incident_pb2.GetIncidentResponse(incident=_incident(self.note))

    async def ListIncidents(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        incidents = [] if self.is_empty else [_incident()]
        return incident_pb2.ListIncidentsResponse(incidents=incidents)

    async def UpdateIncident(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        return incident_pb2.UpdateIncidentResponse(incident=_incident())

    async def RequestConfirmation(self, request: Any, context: Any) -> Any:
        self.asked.append(request)
        return operation_pb2.RequestConfirmationResponse(
            operation=types_pb2.Operation(
                name="" if request.validate_only else "operations/apr_" + "0" * 32,
                state=self.state,
                action="confirm",
                summary=f"soar asks: “{ESC}”",
                approvers=["bob"],
                fingerprint="ab" * 32,
            )
        )


def _event() -> investigation_pb2.TimelineEvent:
    return investigation_pb2.TimelineEvent(
        kind="decision", log="gate", index=7, session=ESC, tool=ESC, summary=ESC, outcome="ERROR"
    )


def _radius() -> investigation_pb2.BlastRadius:
    return investigation_pb2.BlastRadius(
        agent="banking",
        statement=ESC,
        tools=[investigation_pb2.BlastRadius.ToolUse(tool=ESC, undo=ESC, destinations=[ESC])],
        humans=[ESC],
        credentials=[ESC],
    )


def _incident(note: str = ESC) -> incident_pb2.Incident:
    return incident_pb2.Incident(
        name=NAME,
        state=incident_pb2.Incident.STATE_OPEN,
        title=ESC,
        severity="HIGH",
        agent="banking",
        notes=[incident_pb2.Incident.Note(author="soar", text=note)],
        events=[_event()],
        blast_radius=_radius(),
        prompts=ESC,
        external_reference=ESC,
    )


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
        investigation_pb2_grpc.add_InvestigationServiceServicer_to_server(recorder, server)
        incident_pb2_grpc.add_IncidentServiceServicer_to_server(recorder, server)
        operation_pb2_grpc.add_OperationServiceServicer_to_server(recorder, server)

    thread.serve(register, f"unix:{layout.local_socket}")
    yield recorder
    thread.stop()


COMMANDS = {
    "timeline": ("investigate", "timeline", "banking"),
    "blast-radius": ("investigate", "blast-radius", "banking"),
    "open": ("incidents", "open", "banking", "--title", "it"),
    "list": ("incidents", "list"),
    "show": ("incidents", "show", NAME),
    "update": ("incidents", "update", NAME, "--note", "n"),
    "close": ("incidents", "close", NAME),
    "ask": ("operations", "ask", "May it?"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_g08_hostile_words_do_not_steer_the_terminal(
    control: Recorder, holdfast, name: str
) -> None:
    """No control character, nothing that turns text around; each is shown as a mark."""
    result = holdfast(*COMMANDS[name])

    assert result.code in (Exit.OK, Exit.HELD)
    assert not {"\x1b", "\u202e", "\r"} & set(result.out)
    assert "\\u{1b}[31mred" in result.out
    assert "\\u{202e}turned" in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_json_holds_the_words_as_they_are(control: Recorder, holdfast, name: str) -> None:
    """One object on stdout, ASCII alone, in which nothing is lost."""
    result = holdfast(*COMMANDS[name], "--json")

    document = json.loads(result.out)
    assert result.out.isascii()
    assert document["apiVersion"] == "holdfast/v1"
    assert any(ESC in text for text in _texts(document))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def test_orders_are_what_the_command_line_says(control: Recorder, holdfast) -> None:
    """Window, severity, techniques, verdict, note, reference, request id."""
    holdfast(
        "incidents", "open", "banking", "--title", "T", "--severity", "high", "--since",
        "2026-11-22T14:00:00Z", "--until", "2026-11-22T16:00:00+01:00", "--technique", "T1041",
        "--technique", "AML.T0053", "--verdict", "threat", "--note", "N", "--reference", "R",
        "--request-id", "request-1",
    )  # fmt: skip
    holdfast("incidents", "close", "inc_" + "0" * 32, "--verdict", "false_positive")

    opened, closed = control.asked
    assert (opened.agent, opened.title, opened.severity) == ("banking", "T", "HIGH")
    assert (opened.since.seconds, opened.until.seconds) == (1795356000, 1795359600)
    assert list(opened.techniques) == ["T1041", "AML.T0053"]
    assert opened.verdict == incident_pb2.Incident.VERDICT_THREAT
    assert (opened.note, opened.external_reference) == ("N", "R")
    assert opened.request_id == "request-1"
    assert (closed.name, closed.close) == (NAME, True)
    assert closed.verdict == incident_pb2.Incident.VERDICT_FALSE_POSITIVE
    assert closed.request_id.startswith("cli_")


def test_span_before_now_is_a_window(control: Recorder, holdfast) -> None:
    """``--since 2h`` begins two hours ago; without it control chooses."""
    holdfast("investigate", "timeline", "banking", "--since", "2h")
    holdfast("investigate", "blast-radius", "banking")

    timeline, radius = control.asked
    assert timeline.HasField("since")
    assert not timeline.HasField("until")
    assert not radius.HasField("since")


@pytest.mark.parametrize(
    "arguments",
    [
        ("incidents", "show", "inc_12"),
        ("incidents", "show", "approvals/apr_" + "0" * 32),
        ("incidents", "open", "banking"),
        ("incidents", "open", "banking", "--title", "T", "--severity", "worst"),
        ("investigate", "timeline", "banking", "--since", "yesterday"),
        ("investigate", "timeline", "banking", "--since", "2026-11-22T14:00:00"),
        ("operations", "ask", "Q?", "--details", "@/no/such/file"),
    ],
    ids=["cut", "collection", "title", "severity", "since", "zone", "details"],
)
def test_what_is_no_order_asks_nobody(control: Recorder, holdfast, arguments) -> None:
    """Exit 2, and control is not called."""
    result = holdfast(*arguments)

    assert result.code == Exit.USAGE
    assert control.asked == []


def test_nothing_known_and_nothing_open(control: Recorder, holdfast) -> None:
    """An empty timeline exits 1; an empty list of incidents is one."""
    control.is_empty = True

    timeline = holdfast("investigate", "timeline", "banking")
    listed = holdfast("incidents", "list")
    all_of_them = holdfast("incidents", "list", "--all")

    assert (timeline.code, timeline.out.strip()) == (1, "nothing is known of this window")
    assert (listed.code, listed.out.strip()) == (0, "no incident is open")
    assert all_of_them.out.strip() == "there is no incident"


@pytest.mark.parametrize(
    ("state", "code"), [("PENDING_APPROVAL", 4), ("DONE", 0), ("REFUSED", 3), ("EXPIRED", 3)]
)
def test_answer_of_a_question_is_the_exit_code(
    control: Recorder, holdfast, state: str, code: int
) -> None:
    """Yes is 0, no is 3, not yet is 4."""
    control.state = types_pb2.Operation.State.Value(f"STATE_{state}")

    result = holdfast("operations", "ask", "May it?")

    assert result.code == code
    assert ("the answer is" in result.out) is (state in ("DONE", "REFUSED"))


def test_details_come_from_a_file_and_a_rehearsal_asks_nobody(
    control: Recorder, holdfast, tmp_path: Path
) -> None:
    """``@FILE`` is read; ``--dry-run`` says who could answer."""
    file = tmp_path / "why.txt"
    file.write_text("one\ntwo\n")

    result = holdfast("operations", "ask", "Q?", "--details", f"@{file}", "--dry-run")

    assert control.asked[0].details == "one\ntwo\n"
    assert control.asked[0].validate_only
    assert result.code == Exit.OK
    assert "may answer: bob" in result.out


def test_g08_note_does_not_look_like_the_record_around_it(control: Recorder, holdfast) -> None:
    """Each of its lines is marked as one of a note."""
    control.note = "seen\n✓ CLOSED: a false alarm\nverdict  FALSE_POSITIVE"

    shown = holdfast("incidents", "show", NAME).out.splitlines()

    assert [line for line in shown if "CLOSED" in line or "FALSE" in line or "seen" in line] == [
        "  | seen", "  | ✓ CLOSED: a false alarm", "  | verdict  FALSE_POSITIVE"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("2026-11-22T14:00:00", "needs a zone"), ("2026-11-22", "needs a zone"),
        ("0001-01-01T00:00:00+10:00", "between the years"),
        ("9999-12-31T23:59:59-10:00", "between the years"), ("999999999d", "neither a time"),
        ("-2h", "neither a time"), ("yesterday", "neither a time"),
    ],
    ids=["no-zone", "date", "first", "last", "long", "future", "word"],
)  # fmt: skip
def test_time_that_is_none_is_wrong_use(control: Recorder, holdfast, text: str, says: str) -> None:
    """The flag is named, and nothing is asked."""
    result = holdfast("investigate", "timeline", "banking", f"--since={text}")

    assert result.code == Exit.USAGE
    assert "--since" in result.err
    assert says in result.err
    assert control.asked == []
