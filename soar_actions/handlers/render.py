# SPDX-License-Identifier: Apache-2.0
"""Messages of the contract as the plain data that playbooks read."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import timestamp_pb2

from sidecar.api.v1 import types_pb2

__all__ = ["LEVELS", "directive_data", "receipt_data", "target_text", "time_text"]

LEVELS: Final = {
    "OBSERVE": types_pb2.LEVEL_OBSERVE,
    "THROTTLE": types_pb2.LEVEL_THROTTLE,
    "HOLD": types_pb2.LEVEL_HOLD,
    "READ_ONLY": types_pb2.LEVEL_READ_ONLY,
    "FREEZE": types_pb2.LEVEL_FREEZE,
    "KILL": types_pb2.LEVEL_KILL,
}


def time_text(time: timestamp_pb2.Timestamp) -> str:
    """Return *time* in RFC 3339, or nothing if it is not set."""
    return time.ToJsonString() if time.seconds or time.nanos else ""


def target_text(target: types_pb2.Target) -> str:
    """Return *target* as people write it."""
    match target.WhichOneof("kind"):
        case "session":
            return f"session {target.session.session} of agent {target.session.agent}"
        case "tool_at_agent":
            return f"tool {target.tool_at_agent.tool} of agent {target.tool_at_agent.agent}"
        case "labels":
            return "labels " + ",".join(f"{k}={v}" for k, v in sorted(target.labels.labels.items()))
        case "all" | None:
            return "all"
        case kind:
            return f"{kind} {getattr(target, kind)}"


def directive_data(directive: types_pb2.Directive) -> dict[str, Any]:
    """Return *directive* as data."""
    return {
        "name": directive.name,
        "epoch": directive.epoch,
        "target": target_text(directive.target),
        "level": types_pb2.Level.Name(directive.level).removeprefix("LEVEL_"),
        "reason": directive.reason,
        "author": directive.author,
        "state": types_pb2.Directive.State.Name(directive.state).removeprefix("STATE_"),
        "create_time": time_text(directive.create_time),
        "expire_time": time_text(directive.expire_time),
    }


def receipt_data(receipt: types_pb2.Receipt) -> dict[str, Any]:
    """Return *receipt* as data, its signed form included."""
    directive = directive_data(receipt.directive)
    return {
        "directive": directive["name"],
        "epoch": directive["epoch"],
        "target": directive["target"],
        "level": directive["level"],
        "author": directive["author"],
        "durable": receipt.durable,
        "contained": receipt.contained,
        "gates": [
            {
                "gate": item.gate,
                "state": types_pb2.Receipt.GateItem.State.Name(item.state).removeprefix("STATE_"),
                "applied_epoch": item.applied_epoch,
                "ack_time": time_text(item.ack_time),
                "last_allow_time": time_text(item.last_allow_time),
            }
            for item in receipt.gates
        ],
        "isolation": [
            {
                "driver": item.driver,
                "subject": item.subject,
                "result": item.result,
                "detail": item.detail,
            }
            for item in receipt.isolation
        ],
        "last_allow_time": time_text(receipt.last_allow_time),
        "log_index": receipt.log_index,
        "checkpoint": receipt.checkpoint,
        "key_id": receipt.key_id,
        "signed_json": receipt.signed_json.decode(),
        "signature": receipt.signature.hex(),
    }
