# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI documents say what the protos and their comments say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

from sidecar.api.v1 import operation_pb2, options_pb2, types_pb2
from sidecar.jsonapi.generate import documents, main

F = FieldDescriptorProto


def _field(number: int, name: str, kind: int, **more: Any) -> FieldDescriptorProto:
    return F(
        name=name,
        json_name=name.title().replace("_", "")[:1].lower() + name.title().replace("_", "")[1:],
        number=number,
        type=F.Type.ValueType(kind),
        label=more.pop("label", F.LABEL_OPTIONAL),
        **more,
    )


def _own() -> FileDescriptorProto:
    """Return a file with one service of three methods: for operators, a stream, and closed."""
    file = FileDescriptorProto(name="own.proto", package="sidecar.api.v1", syntax="proto3")
    request = DescriptorProto(name="PullRequest")
    request.field.extend(
        [
            _field(1, "request_id", F.TYPE_STRING),
            _field(2, "reason", F.TYPE_STRING),
            _field(3, "page_size", F.TYPE_INT32),
            _field(4, "agent", F.TYPE_STRING, oneof_index=0),
            _field(5, "tool", F.TYPE_STRING, oneof_index=0),
            _field(6, "data", F.TYPE_BYTES),
            _field(7, "epoch", F.TYPE_UINT64),
            _field(8, "until", F.TYPE_MESSAGE, type_name=".google.protobuf.Timestamp"),
            _field(9, "span", F.TYPE_MESSAGE, type_name=".google.protobuf.Duration"),
            _field(10, "levels", F.TYPE_ENUM, type_name=".sidecar.api.v1.Level",
                   label=F.LABEL_REPEATED),
        ]
    )  # fmt: skip
    request.oneof_decl.add(name="kind")
    answer = DescriptorProto(name="PullResponse")
    answer.field.append(
        _field(1, "operation", F.TYPE_MESSAGE, type_name=".sidecar.api.v1.Operation")
    )
    file.message_type.extend([request, answer])
    service = file.service.add(name="LeverService")
    for name, roles, is_stream in (
        ("Pull", ["contain", "release"], False),
        ("Watch", ["contain"], True),
        ("Hidden", [], False),
    ):
        method = service.method.add(
            name=name,
            input_type=".sidecar.api.v1.PullRequest",
            output_type=".sidecar.api.v1.PullResponse",
            server_streaming=is_stream,
        )
        options: Any = method.options.Extensions
        options[options_pb2.permission].extend(roles)
        options[options_pb2.mutates] = name == "Pull"
    comments = {
        (6, 0): "Levers.\n",
        (6, 0, 2, 0): " Pulls a lever. It\n stays pulled.\n",
        (4, 0): " What to pull.\n",
        (4, 0, 2, 0): " Makes a retry safe.\n",
        (4, 0, 2, 1): " Why; at most 1,000 characters, required.\n",
        (4, 0, 2, 2): " At most this many; 0 means 100, the most is 1,000.\n",
        (4, 0, 2, 3): " An agent; required to pull at night.\n",
    }
    for path, text in comments.items():
        file.source_code_info.location.add(path=path, leading_comments=text)
    return file


def _files() -> FileDescriptorSet:
    files = FileDescriptorSet()
    for module in (types_pb2, operation_pb2):
        module.DESCRIPTOR.CopyToProto(files.file.add())
    files.file.append(_own())
    return files


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    """Both documents, read."""
    return {name: json.loads(text) for name, text in documents(_files()).items()}


def test_only_what_operators_may_call_is_in_it(made: dict[str, Any]) -> None:
    """No stream, and nothing without a permission."""
    for document in made.values():
        calls = {path for path in document["paths"] if "LeverService" in path}
        assert calls == {"/sidecar.api.v1.LeverService/Pull"}


def test_an_operation_says_what_its_comment_says(made: dict[str, Any]) -> None:
    """The first sentence is the summary; roles, key and 202 come from options and types."""
    post = made["openapi.json"]["paths"]["/sidecar.api.v1.LeverService/Pull"]["post"]

    assert post["summary"] == "Pulls a lever"
    assert post["description"] == "Pulls a lever. It stays pulled."
    assert post["x-holdfast-permissions"] == ["contain", "release"]
    assert post["x-holdfast-mutates"] is True
    assert set(post["responses"]) == {"200", "202", "default"}
    assert set(post["responses"]["202"]["headers"]) == {"Location", "Retry-After"}
    assert [one["name"] for one in post["parameters"]] == ["Idempotency-Key", "Connect-Timeout-Ms"]


def test_fields_are_what_json_makes_of_them(made: dict[str, Any]) -> None:
    """Types, formats, and the constraints that stand in comments."""
    schema = made["openapi.json"]["components"]["schemas"]["PullRequest"]
    fields = schema["properties"]

    assert (schema["required"], schema["additionalProperties"]) == (["reason"], False)
    assert "At most one of `agent`, `tool` is set." in schema["description"]
    assert fields["reason"] == {
        "type": "string",
        "maxLength": 1000,
        "minLength": 1,
        "description": "Why; at most 1,000 characters, required.",
    }
    assert (fields["requestId"]["minLength"], fields["requestId"]["maxLength"]) == (8, 128)
    assert (fields["pageSize"]["minimum"], fields["pageSize"]["maximum"]) == (0, 1000)
    assert fields["data"]["contentEncoding"] == "base64"
    assert (fields["epoch"]["type"], fields["epoch"]["format"]) == ("string", "uint64")
    assert fields["until"]["format"] == "date-time"
    assert fields["span"]["pattern"] == r"^-?[0-9]+(\.[0-9]{1,9})?s$"
    assert fields["levels"]["items"] == {"$ref": "#/components/schemas/Level"}


def test_swagger_has_its_own_dialect(made: dict[str, Any]) -> None:
    """Body as a parameter, bytes as a format, words for connectors, and nothing beside a reference."""
    document = made["swagger.json"]
    post = document["paths"]["/sidecar.api.v1.LeverService/Pull"]["post"]
    fields = document["definitions"]["PullRequest"]["properties"]
    answer = document["definitions"]["PullResponse"]["properties"]["operation"]

    assert post["parameters"][0]["in"] == "body"
    assert fields["data"] == {"type": "string", "format": "byte", "x-ms-summary": "Data"}
    assert fields["requestId"]["x-ms-summary"] == "Request id"
    assert (fields["reason"]["x-ms-visibility"], fields["requestId"]["x-ms-visibility"]) == (
        "important",
        "advanced",
    )
    assert answer["allOf"] == [{"$ref": "#/definitions/Operation"}]


def test_the_same_descriptors_make_the_same_bytes(tmp_path: Path) -> None:
    """From a file, as make does it, too."""
    source = tmp_path / "descriptors.binpb"
    source.write_bytes(_files().SerializeToString())

    main([str(source), str(tmp_path)])

    made = {name: (tmp_path / name).read_text(encoding="utf-8") for name in documents(_files())}
    assert made == documents(_files())


def test_descriptors_without_comments_are_refused() -> None:
    """Silence about every field would be no documentation."""
    files = _files()
    files.file[-1].ClearField("source_code_info")

    with pytest.raises(ValueError, match="comments"):
        documents(files)
