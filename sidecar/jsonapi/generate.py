# SPDX-License-Identifier: Apache-2.0
"""Makes ``openapi.json`` (3.1) and ``swagger.json`` (2.0) from the protos, comments and all.

Comments exist only where the protos are compiled, so this runs in ``make gen``, on the descriptors that
protoc writes, and needs nothing but protobuf:

    python -m sidecar.jsonapi.generate descriptors.binpb sidecar/jsonapi

Laws:

1. Whatever has a ``permission`` and answers with one message is in both documents; nothing else is.
2. What the documents say about a field is what its comment says: ``required`` and ``at most N
   characters`` become constraints, the rest stays text.
3. The same descriptors make the same bytes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from sidecar import __version__
from sidecar.api.v1 import options_pb2
from sidecar.jsonapi.document_text import ERROR, GENERATED, HEALTH, INTRODUCTION, OPENC2, TEXT
from sidecar.jsonapi.proto_text import Method, Source
from sidecar.jsonapi.schemas import Dialect, Schemas

__all__ = ["documents", "main"]

_PACKAGE: Final = "sidecar.api.v1"


def documents(files: FileDescriptorSet) -> dict[str, str]:
    """Return the documents by file name.

    Raises:
        ValueError: *files* has no comments in it.
    """
    return {
        name: json.dumps(document, indent=1, ensure_ascii=False) + "\n"
        for name, document in (
            ("openapi.json", _Document(files, Dialect.OPENAPI_31).build()),
            ("swagger.json", _Document(files, Dialect.SWAGGER_20).build()),
        )
    }


class _Document:
    """One document in one dialect."""

    def __init__(self, files: FileDescriptorSet, dialect: Dialect) -> None:
        self._source = Source(files, _PACKAGE)
        self._schemas = Schemas(self._source, dialect)
        self._is_31 = dialect is Dialect.OPENAPI_31

    def build(self) -> dict[str, Any]:
        methods = [
            method
            for method in self._source.methods()
            if _permissions(method) and not method.proto.server_streaming
        ]
        paths: dict[str, Any] = {}
        for method in methods:
            paths[f"/{_PACKAGE}.{method.service}/{method.proto.name}"] = {
                "post": self._call(method)
            }
        paths["/v1/operations/{operation}"] = {"get": self._operation()}
        paths["/.well-known/openc2"] = {"post": self._openc2()}
        paths["/healthz"] = {"get": self._health()}
        self._schemas.add("Error", ERROR)
        self._schemas.add("Health", HEALTH)
        self._schemas.add("OpenC2Message", OPENC2)
        tags = [
            {"name": service, "description": text}
            for service, text in self._source.services()
            if any(method.service == service for method in methods)
        ]
        tags.append({"name": "Holdfast", "description": "What is no method of a service."})
        info = {
            "title": "Holdfast control",
            "version": __version__,
            "description": INTRODUCTION,
            "license": {
                "name": "Apache-2.0",
                **({"identifier": "Apache-2.0"} if self._is_31 else {}),
            },
        }
        if self._is_31:
            address = {"default": "localhost:7445", "description": "control's `api_listen`"}
            return {
                "openapi": "3.1.0",
                "x-generated": GENERATED,
                "info": info,
                "servers": [{"url": "https://{address}", "variables": {"address": address}}],
                "security": [{"bearer": []}, {"mutualTLS": []}],
                "tags": tags,
                "paths": paths,
                "components": {
                    "schemas": self._schemas.all(),
                    "securitySchemes": {
                        "bearer": {
                            "type": "http",
                            "scheme": "bearer",
                            "bearerFormat": "hfat_…",
                            "description": "An API token: scoped, expiring, revocable. Never approves.",
                        },
                        "mutualTLS": {
                            "type": "mutualTLS",
                            "description": "A client certificate with the operator's one URI SAN.",
                        },
                    },
                },
            }
        return {
            "swagger": "2.0",
            "x-generated": GENERATED,
            "info": info,
            "host": "localhost:7445",
            "basePath": "/",
            "schemes": ["https"],
            "consumes": ["application/json"],
            "produces": ["application/json"],
            "security": [{"bearer": []}],
            "securityDefinitions": {
                "bearer": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "`Bearer hfat_…`: an API token.",
                }
            },
            "tags": tags,
            "paths": paths,
            "definitions": self._schemas.all(),
        }

    # -- operations ---------------------------------------------------------------------------

    def _call(self, method: Method) -> dict[str, Any]:
        options: Any = method.proto.options.Extensions
        request = self._schemas.reference(method.proto.input_type, is_request=True)
        answer = self._schemas.reference(method.proto.output_type)
        is_change = bool(options[options_pb2.mutates])
        parameters = [self._header("Connect-Timeout-Ms", TEXT["timeout"], "integer", 1, 60000)]
        if is_change:
            parameters.insert(0, self._key())
        responses = {"200": self._response("The answer.", answer)}
        if self._source.has_operation(method.proto.output_type):
            responses["202"] = self._response(TEXT["wait"], answer, is_waiting=True)
        responses["default"] = self._response(TEXT["default"], self._schemas.named("Error"))
        found: dict[str, Any] = {
            "operationId": method.proto.name,
            "tags": [method.service],
            "summary": _summary(method.comment),
            "description": method.comment,
            "parameters": parameters,
            "responses": responses,
            "x-holdfast-permissions": _permissions(method),
            "x-holdfast-mutates": is_change,
        }
        if self._is_31:
            found["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": request}},
            }
        else:
            found["x-ms-visibility"] = "important" if is_change else "none"
            found["parameters"] = [self._body(request), *parameters]
        return found

    def _operation(self) -> dict[str, Any]:
        answer = self._schemas.reference(f".{_PACKAGE}.Operation")
        name: dict[str, Any] = {
            "name": "operation",
            "in": "path",
            "required": True,
            "description": "The operation's name without `operations/`.",
        }
        form = {"type": "string", "pattern": "^[A-Za-z0-9_]{1,64}$"}
        name |= {"schema": form} if self._is_31 else {**form, "x-ms-summary": "Operation"}
        return {
            "operationId": "PollOperation",
            "tags": ["Holdfast"],
            "summary": "Tells how an operation stands.",
            "description": "Tells how an operation stands: 202 while humans decide or it is carried "
            "out, 200 when it has ended. Read `state` to know how.",
            "parameters": [name],
            "responses": {
                "200": self._response("It has ended.", answer),
                "202": self._response("It has not ended.", answer, is_waiting=True),
                "default": self._response(TEXT["default"], self._schemas.named("Error")),
            },
            "x-holdfast-permissions": _permissions(
                next(one for one in self._source.methods() if one.proto.name == "GetOperation")
            ),
            "x-holdfast-mutates": False,
        }

    def _health(self) -> dict[str, Any]:
        answer = self._schemas.named("Health")
        return {
            "operationId": "GetHealth",
            "tags": ["Holdfast"],
            "summary": "Tells whether control serves.",
            "description": "Tells whether control serves. Needs no credential.",
            "security": [],
            "responses": {
                "200": self._response("It does.", answer),
                "503": self._response("It does not.", answer),
                "default": self._response(TEXT["default"], self._schemas.named("Error")),
            },
        }

    def _openc2(self) -> dict[str, Any]:
        media_type = "application/openc2+json;version=1.0"
        message = self._schemas.named("OpenC2Message")
        found: dict[str, Any] = {
            "operationId": "SendOpenC2Command",
            "tags": ["Holdfast"],
            "summary": "Carries out an OpenC2 command.",
            "description": "OpenC2 Language Specification 1.0 over the HTTPS transfer 1.1, actuator "
            "profile `x-holdfast`; `query features` names the pairs. What waits for a human is status "
            "102 in the body and 200 in HTTP.",
            "responses": {
                "200": self._response("What came of it.", message, media_type=media_type),
                "204": {"description": "Done; the producer wanted no response."},
                "default": self._response("What was wrong.", message, media_type=media_type),
            },
        }
        if self._is_31:
            content = {media_type: {"schema": message}}
            found["requestBody"] = {"required": True, "content": content}
        else:
            found |= {"consumes": [media_type], "produces": [media_type]}
            found["parameters"] = [self._body(message)]
            found["x-ms-visibility"] = "advanced"
        return found

    # -- parts --------------------------------------------------------------------------------

    def _key(self) -> dict[str, Any]:
        return self._header("Idempotency-Key", TEXT["key"], "string", 8, 128)

    def _header(self, name: str, text: str, kind: str, low: int, high: int) -> dict[str, Any]:
        form: dict[str, Any] = {"type": kind}
        if kind == "string":
            form |= {"minLength": low, "maxLength": high, "pattern": "^[A-Za-z0-9._:-]+$"}
        else:
            form |= {"minimum": low, "maximum": high}
        found = {"name": name, "in": "header", "required": False, "description": text}
        if self._is_31:
            return {**found, "schema": form}
        return {**found, **form, "x-ms-summary": name, "x-ms-visibility": "advanced"}

    @staticmethod
    def _body(schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "name": "body",
            "in": "body",
            "required": True,
            "schema": schema,
            "x-ms-summary": "Request",
            "x-ms-visibility": "important",
        }

    def _response(
        self,
        text: str,
        schema: dict[str, Any],
        *,
        is_waiting: bool = False,
        media_type: str = "application/json",
    ) -> dict[str, Any]:
        found: dict[str, Any] = {"description": text}
        if is_waiting:
            found["headers"] = {
                "Location": self._answer_header(TEXT["location"], "string"),
                "Retry-After": self._answer_header(TEXT["retry"], "integer"),
            }
        if self._is_31:
            return {**found, "content": {media_type: {"schema": schema}}}
        return {**found, "schema": schema}

    def _answer_header(self, text: str, kind: str) -> dict[str, Any]:
        form = {"type": kind}
        return {"description": text, **({"schema": form} if self._is_31 else form)}


def _permissions(method: Method) -> list[str]:
    options: Any = method.proto.options.Extensions
    return list(options[options_pb2.permission])


def _summary(comment: str) -> str:
    """Return the first sentence, without its end."""
    return comment.split("\n", 1)[0].split(". ", 1)[0].split(": ", 1)[0].rstrip(".")


def main(arguments: list[str]) -> int:
    """Write the documents of a descriptor set into a directory."""
    descriptors, into = Path(arguments[0]), Path(arguments[1])
    files = FileDescriptorSet.FromString(descriptors.read_bytes())
    for name, text in documents(files).items():
        (into / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
