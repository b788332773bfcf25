# SPDX-License-Identifier: Apache-2.0
"""A control that answers handlers from the contract itself: every field of an answer is filled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from sidecar.api.v1 import (  # noqa: F401 - found by name
    agent_pb2,
    approval_pb2,
    audit_pb2,
    containment_pb2,
    incident_pb2,
    investigation_pb2,
    operation_pb2,
    token_pb2,
)
from soar_actions.errors import ActionError
from soar_actions.run import ACTIONS, HANDLERS, run_action
from soar_actions.steps import Call

TIME = "2026-01-31T09:30:00Z"
ID = "a" * 32
FINGERPRINT = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
WORDS = "9f86d081884c7d65 basket-cactus-falcon-iceberg"
LINK = f"https://console.example/approvals/apr_{ID}"

Answer = Mapping[str, Any] | ActionError


class FakeControl:
    """Answers calls from *answers* (by method; a list is one after the other) and keeps them.

    What is asked must be of the contract: it is parsed as the request of the method, strictly.
    """

    def __init__(self, **answers: Any) -> None:
        self.answers = {name.replace("__", "/"): answer for name, answer in answers.items()}
        self.calls: list[Call] = []

    def send(self, call: Call) -> Mapping[str, Any]:
        self.calls.append(call)
        request = message_of(call.method, is_answer=False)
        json_format.ParseDict(json.loads(json.dumps(call.body)), request)
        answer = self.answers[call.method]
        if isinstance(answer, list):
            answer = answer.pop(0)
        if callable(answer):
            answer = answer(call)
        if isinstance(answer, ActionError):
            raise answer
        return json.loads(json.dumps(answer))  # type: ignore[no-any-return]

    def run(
        self, slug: str, parameters: Mapping[str, str] | None = None, *, key: str = "run-00000001"
    ) -> dict[str, Any]:
        """Run an action against this control."""
        result = run_action(
            ACTIONS[slug], HANDLERS[slug], transport=self, parameters=parameters or {}, key=key
        )
        assert json.dumps(result)
        return result


def message_of(method: str, *, is_answer: bool) -> Message:
    """Return an empty request or answer of *method*."""
    service, _, name = method.partition("/")
    pool = descriptor_pool.Default()
    found = pool.FindServiceByName(f"sidecar.api.v1.{service}").methods_by_name[name]
    return message_factory.GetMessageClass(found.output_type if is_answer else found.input_type)()


def filled(method: str, **changes: Any) -> dict[str, Any]:
    """Return an answer of *method* with every field filled, but as *changes* say."""
    message = message_of(method, is_answer=True)
    _fill(message)
    data: dict[str, Any] = json_format.MessageToDict(message)
    data["nextPageToken"] = ""
    return {name: value for name, value in {**data, **changes}.items() if value is not None}


def operation(state: str, **changes: Any) -> dict[str, Any]:
    """Return an operation in *state*, in proto3 JSON."""
    return {
        "name": f"operations/apr_{ID}",
        "state": f"STATE_{state}",
        "action": "release",
        "summary": "soar wants to release directive 42",
        "requester": "soar",
        "approval": f"approvals/apr_{ID}",
        "approvers": ["alice", "bob"],
        "url": LINK,
        "fingerprint": FINGERPRINT,
        "fingerprintWords": WORDS,
        "expireTime": TIME,
        "detail": "asked",
        **changes,
    }


def _fill(message: Message, depth: int = 0) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            kind = field.message_type.fields_by_name["value"].cpp_type
            value = "x" if kind == FieldDescriptor.CPPTYPE_STRING else 3
            getattr(message, field.name)["ALLOW"] = value
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner = inner.add() if field.is_repeated else inner
            if field.message_type.full_name == "google.protobuf.Timestamp":
                inner.FromJsonString(TIME)
            elif depth < 6 and field.containing_oneof is None:
                _fill(inner, depth + 1)
            elif field.name == "agent" or depth >= 6:
                inner.SetInParent()
        elif field.containing_oneof is None or field.name == "agent":
            value = _scalar(field)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)


def _scalar(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[1].number
    samples: dict[int, Callable[[], Any]] = {
        FieldDescriptor.CPPTYPE_STRING: lambda: field.name,
        FieldDescriptor.CPPTYPE_BOOL: lambda: True,
    }
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b'{"kind":"contain","time":"2026-01-31T09:30:00Z"}'
    return samples.get(field.cpp_type, lambda: 7)()
