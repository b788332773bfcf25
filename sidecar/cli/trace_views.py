# SPDX-License-Identifier: Apache-2.0
"""Timelines, blast radii and incidents, as plain data for ``--json`` and as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sidecar.api.v1 import incident_pb2, investigation_pb2, types_pb2
from sidecar.cli.output import Page
from sidecar.cli.views import (
    directive_data,
    effect_name,
    enum_name,
    show_directives,
    time_text,
)

__all__ = [
    "event_data",
    "incident_data",
    "radius_data",
    "show_events",
    "show_incident",
    "show_radius",
]

Incident = incident_pb2.Incident


def _class_name(tool_class: int) -> str | None:
    return enum_name(types_pb2.ToolClass, tool_class, "TOOL_CLASS_").lower() or None


def event_data(event: investigation_pb2.TimelineEvent) -> dict[str, Any]:
    """Return *event* as data."""
    return {
        "time": time_text(event.time),
        "kind": event.kind,
        "log": event.log,
        "index": event.index,
        "session": event.session or None,
        "tool": event.tool or None,
        "tool_class": _class_name(event.tool_class),
        "effect": effect_name(event.effect) or None,
        "reason": event.reason or None,
        "destination": event.destination or None,
        "decision_id": event.decision_id or None,
        "fingerprint": event.fingerprint or None,
        "outcome": event.outcome or None,
        "operator": event.operator or None,
        "summary": event.summary,
    }


def show_events(page: Page, events: Sequence[investigation_pb2.TimelineEvent]) -> None:
    """Show *events*, one to a line."""
    rows = []
    for event in events:
        told = event.summary
        if event.outcome and event.kind == "decision":
            told += f"; it ended {event.outcome}, says the agent"
        rows.append(
            (
                time_text(event.time) or "-",
                f"{event.log}:{event.index}",
                event.kind,
                event.session or "-",
                told,
            )
        )
    page.table(("TIME", "ENTRY", "KIND", "SESSION", "WHAT"), rows)


def radius_data(radius: investigation_pb2.BlastRadius) -> dict[str, Any]:
    """Return a blast radius as data."""
    return {
        "agent": radius.agent,
        "since": time_text(radius.since),
        "until": time_text(radius.until),
        "statement": radius.statement,
        "tools": [
            {
                "tool": use.tool,
                "tool_class": _class_name(use.tool_class),
                "data_class": use.data_class or None,
                "undo": use.undo or None,
                "allow_count": use.allow_count,
                "deny_count": use.deny_count,
                "hold_count": use.hold_count,
                "destinations": list(use.destinations),
                "last_allow_time": time_text(use.last_allow_time),
            }
            for use in radius.tools
        ],
        "data_classes": list(radius.data_classes),
        "destinations": list(radius.destinations),
        "credentials": list(radius.credentials),
        "humans": list(radius.humans),
        "sessions": list(radius.sessions),
        "decision_counts": dict(sorted(radius.decision_counts.items())),
        "irreversible_count": radius.irreversible_count,
        "first_call_time": time_text(radius.first_call_time),
        "last_allow_time": time_text(radius.last_allow_time),
        "truncated": radius.truncated,
    }


def show_radius(page: Page, radius: investigation_pb2.BlastRadius) -> None:
    """Show a blast radius: the sentence first."""
    data = radius_data(radius)
    page.mark(None if radius.truncated else True, data["statement"])
    page.fields(
        [
            ("window", f"{data['since']} to {data['until']}"),
            ("destinations", _joined(data["destinations"])),
            ("data", _joined(data["data_classes"])),
            ("credentials", _joined(data["credentials"])),
            ("humans", _joined(data["humans"])),
            ("sessions", _joined(data["sessions"])),
            ("last allowed", data["last_allow_time"] or "never"),
        ]
    )
    if not data["tools"]:
        return
    page.table(
        ("TOOL", "CLASS", "DATA", "ALLOW", "DENY", "HOLD", "DESTINATIONS", "HOW TO UNDO"),
        [
            (
                use["tool"],
                use["tool_class"] or "undeclared",
                use["data_class"] or "-",
                use["allow_count"],
                use["deny_count"],
                use["hold_count"],
                _joined(use["destinations"]),
                use["undo"] or "-",
            )
            for use in data["tools"]
        ],
    )


def incident_data(incident: incident_pb2.Incident) -> dict[str, Any]:
    """Return *incident* as data."""
    return {
        "name": incident.name,
        "state": enum_name(Incident.State, incident.state, "STATE_"),
        "title": incident.title,
        "severity": incident.severity,
        "agent": incident.agent,
        "owner": incident.owner or None,
        "verdict": enum_name(Incident.Verdict, incident.verdict, "VERDICT_") or None,
        "techniques": list(incident.techniques),
        "author": incident.author,
        "create_time": time_text(incident.create_time),
        "update_time": time_text(incident.update_time),
        "end_time": time_text(incident.end_time),
        "external_reference": incident.external_reference or None,
        "notes": [
            {
                "author": note.author,
                "create_time": time_text(note.create_time),
                "text": note.text,
            }
            for note in incident.notes
        ],
        "since": time_text(incident.since),
        "until": time_text(incident.until),
        "policy_digest": incident.policy_digest or None,
        "policy_digests": list(incident.policy_digests),
        "prompts": incident.prompts,
        "directives": [directive_data(directive) for directive in incident.directives],
        "blast_radius": radius_data(incident.blast_radius),
        "events": [event_data(event) for event in incident.events],
        "truncated": incident.truncated,
        "log_index": incident.log_index,
        "sha256": incident.sha256,
    }


def show_incident(page: Page, incident: incident_pb2.Incident) -> None:
    """Show *incident*: what people say of it, then what was gathered."""
    data = incident_data(incident)
    page.mark(None if data["state"] == "OPEN" else True, f"{data['state']}: {data['title']}")
    page.fields(
        [
            ("incident", data["name"]),
            ("agent", f"{data['agent']}, owner {data['owner'] or 'unknown'}"),
            ("severity", data["severity"]),
            ("verdict", data["verdict"] or "UNDETERMINED"),
            ("techniques", _joined(data["techniques"])),
            ("opened", f"by {data['author']} at {data['create_time']}"),
            ("closed", data["end_time"] or "no"),
            ("elsewhere", data["external_reference"] or "-"),
            ("window", f"{data['since']} to {data['until']}"),
            ("policy", data["policy_digest"] or "-"),
            ("prompts", data["prompts"]),
            ("recorded", f"control's log, entry {data['log_index']}, SHA-256 {data['sha256']}"),
        ]
    )
    for note in data["notes"]:
        page.line(f"{note['create_time']}  {note['author']}:")
        for line in note["text"].split("\n"):
            page.line(f"  | {line}")  # so that no line of a note looks like one of ours
    if incident.directives:
        show_directives(page, incident.directives)
    show_radius(page, incident.blast_radius)
    if incident.events:
        show_events(page, incident.events)
    if incident.truncated:
        page.mark(None, "the window holds more calls than are listed, or a log cannot be read")


def _joined(items: Sequence[str]) -> str:
    return ", ".join(items) or "-"
