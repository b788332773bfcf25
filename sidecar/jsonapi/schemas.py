# SPDX-License-Identifier: Apache-2.0
"""Proto messages as JSON schemas, in the two dialects that platforms import."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from sidecar.jsonapi.proto_text import Field, Source

__all__ = ["Dialect", "Schemas"]

F = FieldDescriptorProto
_REQUIRED: Final = re.compile(r"\brequired\b(?! to\b)")
_MOST: Final = re.compile(r"the most is ([0-9][0-9,]*)")
_REQUEST_ID: Final = {"minLength": 8, "maxLength": 128, "pattern": "^[A-Za-z0-9._:-]+$"}
_MAX_LENGTH: Final = re.compile(r"at most ([0-9][0-9,]*) characters")
_INTEGERS: Final = {
    F.TYPE_INT32: "int32",
    F.TYPE_SINT32: "int32",
    F.TYPE_SFIXED32: "int32",
    F.TYPE_UINT32: "uint32",
    F.TYPE_FIXED32: "uint32",
}
_LONG: Final = {
    F.TYPE_INT64: "int64",
    F.TYPE_SINT64: "int64",
    F.TYPE_SFIXED64: "int64",
    F.TYPE_UINT64: "uint64",
    F.TYPE_FIXED64: "uint64",
}
_BASE64: Final = "^([A-Za-z0-9+/_-]{4})*([A-Za-z0-9+/_-]{2}==|[A-Za-z0-9+/_-]{3}=)?$"
_TIME: Final = {"type": "string", "format": "date-time", "pattern": "Z$"}
_SPAN: Final = {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"}
_ADVANCED: Final = frozenset({"page_size", "page_token", "request_id", "validate_only"})


class Dialect(Enum):
    """How schemas are written."""

    OPENAPI_31 = "3.1"
    SWAGGER_20 = "2.0"


class Schemas:
    """Collects the schemas that are referred to, each once, by name."""

    def __init__(self, source: Source, dialect: Dialect) -> None:
        self._source = source
        self._is_31 = dialect is Dialect.OPENAPI_31
        self._found: dict[str, dict[str, Any]] = {}

    def all(self) -> dict[str, Any]:
        """Return every schema, by name in alphabetical order."""
        return {name: self._found[name] for name in sorted(self._found)}

    def add(self, name: str, schema: dict[str, Any]) -> None:
        """Add a schema that no message stands for."""
        self._found[name] = schema

    def named(self, name: str) -> dict[str, Any]:
        """Return a reference to the schema *name*."""
        place = "components/schemas" if self._is_31 else "definitions"
        return {"$ref": f"#/{place}/{name}"}

    def reference(self, type_name: str, *, is_request: bool = False) -> dict[str, Any]:
        """Return a reference to a message or an enum, which is added if it is not there yet."""
        name = type_name.removeprefix(".").split(".", 3)[-1].replace(".", "_")
        if name not in self._found:
            self._found[name] = {}  # a message may hold itself
            if self._source.message(type_name) is None:
                self._found[name] = self._enum(name, type_name)
            else:
                self._found[name] = self._message(name, type_name, is_request=is_request)
        return self.named(name)

    # -- messages -----------------------------------------------------------------------------

    def _message(self, name: str, type_name: str, *, is_request: bool) -> dict[str, Any]:
        fields = list(self._source.fields(type_name))
        text = self._source.comment(type_name)
        schema: dict[str, Any] = {"type": "object", "title": _words(name.rsplit("_", 1)[-1])}
        for oneof in dict.fromkeys(field.oneof for field in fields if field.oneof):
            members = [_json_name(field) for field in fields if field.oneof == oneof]
            listed = ", ".join(f"`{member}`" for member in members)
            text = f"{text}\n\nAt most one of {listed} is set.".strip()
            if len(members) == len(fields):
                schema["maxProperties"] = 1
        if text:
            schema["description"] = text
        needed = [_json_name(field) for field in fields if _REQUIRED.search(field.comment)]
        if is_request and needed:
            schema["required"] = needed
        schema["properties"] = {_json_name(field): self._field(field) for field in fields}
        if is_request:
            schema["additionalProperties"] = False
        return schema

    def _field(self, field: Field) -> dict[str, Any]:
        schema = self._kind(field)
        comment = field.comment
        schema |= _bounds(field, schema)
        if "$ref" in schema and not self._is_31:
            schema = {"allOf": [schema]}  # beside a reference nothing counts in 2.0
        if comment:
            schema["description"] = comment
        if not self._is_31:
            schema["x-ms-summary"] = _words(field.proto.name)
            if field.proto.name in _ADVANCED:
                schema["x-ms-visibility"] = "advanced"
            elif _REQUIRED.search(comment):
                schema["x-ms-visibility"] = "important"
        return schema

    def _kind(self, field: Field) -> dict[str, Any]:
        proto = field.proto
        if proto.label != F.LABEL_REPEATED:
            return self._single(proto)
        entry = self._source.message(proto.type_name) if proto.type == F.TYPE_MESSAGE else None
        if entry is not None and entry.options.map_entry:
            value = next(one for one in entry.field if one.name == "value")
            return {"type": "object", "additionalProperties": self._single(value)}
        return {"type": "array", "items": self._single(proto)}

    def _single(self, proto: FieldDescriptorProto) -> dict[str, Any]:
        if proto.type == F.TYPE_MESSAGE:
            if proto.type_name == ".google.protobuf.Timestamp":
                return dict(_TIME)
            if proto.type_name == ".google.protobuf.Duration":
                return dict(_SPAN)
            return self.reference(proto.type_name)
        if proto.type == F.TYPE_ENUM:
            return self.reference(proto.type_name)
        if proto.type == F.TYPE_BOOL:
            return {"type": "boolean"}
        if proto.type == F.TYPE_STRING:
            return {"type": "string"}
        if proto.type == F.TYPE_BYTES:
            if self._is_31:
                return {"type": "string", "contentEncoding": "base64", "pattern": _BASE64}
            return {"type": "string", "format": "byte"}
        if proto.type in _INTEGERS:
            return {"type": "integer", "format": _INTEGERS[proto.type]}
        if proto.type in _LONG:
            form = _LONG[proto.type]
            sign = "-?" if form == "int64" else ""
            pattern = f"^(0|{sign}[1-9][0-9]{{0,19}})$"
            return {"type": "string", "format": form, "pattern": pattern}
        return {"type": "number", "format": "double"}

    def _enum(self, name: str, type_name: str) -> dict[str, Any]:
        values = [
            (value, text)
            for value, text in self._source.values(type_name)
            if not value.endswith("_UNSPECIFIED")  # left out of answers, refused in orders
        ]
        listed = "\n".join(f"* `{value}`: {text}" for value, text in values)
        return {
            "type": "string",
            "title": _words(name.rsplit("_", 1)[-1]),
            "description": f"{self._source.comment(type_name)}\n\n{listed}".strip(),
            "enum": [value for value, _ in values],
        }


def _bounds(field: Field, schema: dict[str, Any]) -> dict[str, Any]:
    """Return what a field's comment says about its values."""
    kind, found = schema.get("type"), dict[str, Any]()
    if kind == "string" and "format" not in schema and "pattern" not in schema:
        length = _MAX_LENGTH.search(field.comment)
        if length:
            found["maxLength"] = int(length[1].replace(",", ""))
        if _REQUIRED.search(field.comment):
            found["minLength"] = 1
        if field.proto.name == "request_id" and field.comment.startswith("Makes a retry safe"):
            found |= _REQUEST_ID
    most = _MOST.search(field.comment)
    if kind == "integer" and most:
        found |= {"minimum": 0, "maximum": int(most[1].replace(",", ""))}
    return found


def _json_name(field: Field) -> str:
    return field.proto.json_name


def _words(name: str) -> str:
    """Return a name as people read it: ``page_token`` and ``PageToken`` are "Page token"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).lower()
    return spaced[:1].upper() + spaced[1:]
